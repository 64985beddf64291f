// Answers every request with the pid of the process that serves it.
const http = require('node:http');

const { PORT = 8003, HOST = '0.0.0.0' } = process.env;

const server = http.createServer((request, response) => {
  response.end(`node ${process.pid}\n`);
});

server.listen(PORT, HOST);
