// See README.md: WORKERS copies of serve.js behind Node's own cluster, round robin.
//
// SIGHUP replaces them one by one: a new worker, once it listens, has an old one disconnect; one that
// does not listen within three seconds ends the attempt. SIGUSR2 and SIGWINCH add and take away a worker.
'use strict';
const cluster = require('node:cluster');

const wanted = Number(process.env.WORKERS);
let reloading = false;

cluster.schedulingPolicy = cluster.SCHED_RR;
cluster.setupPrimary({ exec: 'serve.js' });
for (let i = 0; i < wanted; i += 1) cluster.fork();

cluster.on('exit', (worker) => {
  if (!worker.exitedAfterDisconnect && !worker.onTrial) cluster.fork();
});

const replacement = () => new Promise((resolve, reject) => {
  const worker = cluster.fork();
  worker.onTrial = true;
  const timer = setTimeout(() => worker.kill('SIGKILL'), 3000);
  worker.once('exit', () => reject(new Error('the new version does not serve')));
  worker.once('listening', () => {
    clearTimeout(timer);
    worker.onTrial = false;
    resolve();
  });
});

process.on('SIGHUP', async () => {
  if (reloading) return;
  reloading = true;
  const before = Object.values(cluster.workers);
  try {
    for (const old of before) {
      await replacement();
      old.disconnect();
    }
    console.log('reload: done');
  } catch (error) {
    console.log(`reload: failed: ${error.message}`);
  }
  reloading = false;
});

process.on('SIGUSR2', () => cluster.fork());
process.on('SIGWINCH', () => Object.values(cluster.workers)[0].disconnect());
