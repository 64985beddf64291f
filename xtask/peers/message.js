'use strict';
// Node's own primary: ROUNDS times COUNT messages of 1 kB to a worker, and as many back. Prints the seconds of each.
const cluster = require('node:cluster');
const path = require('node:path');

const [COUNT, ROUNDS] = [Number(process.env.COUNT), Number(process.env.ROUNDS)];
const fill = 'x'.repeat(1000);
let [round, start, heard] = [0, 0n, -1];
const seconds = () => Number(process.hrtime.bigint() - start) / 1e9;

cluster.setupPrimary({ exec: path.join(__dirname, 'talker.js') });
const worker = cluster.fork();

function tell() {
  start = process.hrtime.bigint();
  for (let i = 0; i < COUNT; i += 1) worker.send(fill);
}

worker.on('message', () => {
  heard += 1;
  if (heard === 0) return tell();
  if (heard === 1) {
    console.log(`down ${seconds()}`);
    start = process.hrtime.bigint();
  }
  if (heard <= COUNT) return undefined;
  console.log(`up ${seconds()}`);
  heard = 0;
  round += 1;
  return round < ROUNDS ? tell() : worker.kill();
});
