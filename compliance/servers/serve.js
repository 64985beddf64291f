// See README.md.
'use strict';
const fs = require('node:fs');
const http = require('node:http');

const version = fs.readFileSync('version', 'utf8').trim();
const { PORT, HOST = '127.0.0.1', HANDLERS, BOOT = '0' } = process.env;
const filler = '0123456789'.repeat(100);

if (version === 'crash') {
  console.error('no licence');
  process.exit(7);
}

const server = http.createServer((request, response) => {
  const answer = () => response.end(`${process.pid} ${version} ${request.url} ${filler}\n`);
  if (request.url.startsWith('/slow')) setTimeout(answer, 300);
  else answer();
});

if (version === 'silent') setInterval(() => {}, 1000);
else if (BOOT === '0') server.listen(PORT, HOST);
else setTimeout(() => server.listen(PORT, HOST), Number(BOOT));

if (HANDLERS) {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => server.close(() => process.exit(0)));
  }
}
