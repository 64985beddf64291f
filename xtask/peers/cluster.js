'use strict';
// Node's own cluster, round robin: WORKERS copies of SCRIPT behind this primary.
const cluster = require('node:cluster');

const wanted = Number(process.env.WORKERS);
let listening = 0;

cluster.schedulingPolicy = cluster.SCHED_RR;
cluster.setupPrimary({ exec: process.env.SCRIPT, silent: true });
cluster.on('listening', () => {
  listening += 1;
  if (listening === wanted) console.log('cluster: ready');
});
for (let i = 0; i < wanted; i += 1) cluster.fork();
