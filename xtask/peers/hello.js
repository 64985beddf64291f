'use strict';
// The program that every contender runs: answers with its pid, and blocks its only thread on request.
// LISTEN_FD names an inherited listening socket; without it the program listens on PORT as any program does.
const http = require('node:http');

const server = http.createServer((request, response) => {
  if (request.url === '/block') return block(request.socket);
  response.end(`${process.pid}\n`);
});

// The write goes out at once (libuv tries the socket before it queues), so the client knows who is blocked.
function block(socket) {
  socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${process.pid}\n`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const { LISTEN_FD, PORT } = process.env;
const where = LISTEN_FD === undefined ? { port: Number(PORT), host: '127.0.0.1' } : { fd: Number(LISTEN_FD) };
server.listen(where, () => console.log('hello: ready'));
