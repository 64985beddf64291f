// An ordinary cluster program: four workers with express, messages both ways, a graceful end. What it prints
// is the same in every run, on whatever primary.
'use strict';
const cluster = require('cluster');
const express = require('express');
const http = require('http');

const WORKERS = 4;

if (cluster.isPrimary) primary();
else worker();

function primary() {
  const lines = [];
  const note = (worker, ...words) => lines.push(`worker ${worker.id}: ${words.join(' ')}`);
  cluster.on('fork', (worker) => note(worker, 'fork', worker.process.pid > 0));
  cluster.on('online', (worker) => note(worker, 'online', worker.isConnected(), worker.isDead()));
  cluster.on('message', (worker, message) => note(worker, 'message', JSON.stringify(message)));
  cluster.on('disconnect', (worker) => note(worker, 'disconnect', worker.isConnected()));
  cluster.on('exit', (worker, ...how) => note(worker, 'exit', ...how, worker.exitedAfterDisconnect));
  process.on('exit', () => {
    // Each worker's in order; workers among themselves have none.
    for (let id = 1; id <= WORKERS; id++) {
      console.log(lines.filter((line) => line.startsWith(`worker ${id}:`)).join('\n'));
    }
    console.log(Object.keys(cluster.workers).length, 'left');
  });

  let listening = 0, thanks = 0, port;
  for (let n = 0; n < WORKERS; n++) {
    const worker = cluster.fork({ GREETING: `hello ${n}` });
    worker.on('message', (message) => {
      if (message.hello) worker.send({ answer: message.hello }, (error) => error && console.log(error));
      else if (++thanks === WORKERS) ask(port).then(() => cluster.disconnect());
    });
    worker.on('listening', (address) => {
      note(worker, 'listening', address.address, address.addressType);
      port = address.port;
      if (++listening < WORKERS) return;
      for (const worker of Object.values(cluster.workers)) worker.send('begin');
    });
  }
}

async function ask(port) {
  const bodies = [];
  for (let n = 0; n < 2 * WORKERS; n++) {
    bodies.push(await new Promise((done) => {
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        let body = '';
        response.on('data', (data) => body += data).on('end', () => done(body));
      });
    }));
  }
  console.log(bodies.sort().join('\n'));
}

function worker() {
  const app = express();
  app.get('/', (request, response) => response.send(`${process.env.GREETING}, worker ${cluster.worker.id}`));
  process.on('message', (message) => {
    if (message === 'begin') process.send({ hello: cluster.worker.id });
    else process.send({ thanks: message.answer });
  });
  app.listen(0, '127.0.0.1');
}
