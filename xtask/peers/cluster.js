'use strict';
// Node's own cluster, round robin: WORKERS copies of hello.js behind this primary.
const cluster = require('node:cluster');
const path = require('node:path');

const wanted = Number(process.env.WORKERS);
let listening = 0;

cluster.schedulingPolicy = cluster.SCHED_RR;
cluster.setupPrimary({ exec: path.join(__dirname, 'hello.js'), silent: true });
cluster.on('listening', () => {
  listening += 1;
  if (listening === wanted) console.log('cluster: ready');
});
for (let i = 0; i < wanted; i += 1) cluster.fork();
