'use strict';
// The smallest worker that node can be: no HTTP, one fixed answer to whatever comes first.
const net = require('node:net');

const body = `${process.pid}\n`;
const answer = `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const server = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', () => socket.end(answer));
});
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
