// Node's own primary behind the control protocol of docs/foreign-primary.md, so that one test runs
// against it and against ours.
'use strict';
const cluster = require('cluster');

const tell = (event, worker, more) => {
  const line = { event, ...(worker && { worker: worker.id }), ...more };
  process.stdout.write(JSON.stringify(line) + '\n');
};

// Descriptors that workers may listen on by number. A server would accept from them here.
const bound = [];
const declare = (address) => {
  const { TCP, constants } = process.binding('tcp_wrap');
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const handle = new TCP(constants.SERVER);
  const error = handle.bind(host, +port);
  if (error) throw new Error(`bind ${address}: ${error}`);
  bound.push(handle);
  return handle.fd;
};

// Node forgets workers whose channel has closed; one can still be killed.
const workers = {};
const watch = (worker) => {
  workers[worker.id] = worker;
  worker.on('error', (error) => tell('error', worker, { message: error.message }));
  for (const stream of ['stdout', 'stderr']) {
    const pipe = worker.process[stream];
    if (pipe) pipe.setEncoding('utf8').on('data', (text) => tell('output', worker, { stream, text }));
  }
};

const answer = (id, error, more) => {
  if (id !== undefined) tell('done', null, { id, ...more, ...(error && { error: error.message }) });
};

const commands = {
  setup({ id, policy = 'rr', listen = [] }) {
    cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
    answer(id, null, { descriptors: listen.map(declare) });
  },
  fork({ id, exec, args = [], execArgv = [], execPath, env = {}, cwd, silent = false }) {
    // The only way to another program: child_process.fork() looks here.
    if (execPath) process.execPath = execPath;
    // Standard output is for events.
    const stdio = silent ? undefined : ['ignore', 2, 2, 'ipc'];
    cluster.setupPrimary({ exec, args, execArgv, cwd, silent, stdio });
    const worker = cluster.fork(env);
    watch(worker);
    answer(id, null, { worker: worker.id, pid: worker.process.pid });
  },
  send({ id, worker, message }) {
    workers[worker].send(message, (error) => answer(id, error));
  },
  disconnect({ id, worker }) {
    if (worker === undefined) cluster.disconnect();
    else workers[worker].disconnect();
    answer(id);
  },
  kill({ id, worker, signal = 'SIGTERM' }) {
    workers[worker].process.kill(signal);
    answer(id);
  },
};

cluster.on('fork', (worker) => tell('fork', worker, { pid: worker.process.pid }));
cluster.on('online', (worker) => tell('online', worker));
cluster.on('listening', (worker, { address, addressType, port }) => {
  tell('listening', worker, { address, addressType, port });
});
cluster.on('message', (worker, message, handle) => {
  if (handle && handle.destroy) handle.destroy();
  else if (handle) handle.close();
  tell('message', worker, { message, ...(handle && { handle: true }) });
});
cluster.on('disconnect', (worker) => tell('disconnect', worker));
cluster.on('exit', (worker, code, signal) => {
  const { exitedAfterDisconnect = false } = worker;
  tell('exit', worker, { code, signal, exitedAfterDisconnect: Boolean(exitedAfterDisconnect) });
});

const obey = (line) => {
  const command = JSON.parse(line);
  try {
    commands[command.command](command);
  } catch (error) {
    answer(command.id, error);
  }
};

// Not by readline, which ends lines at U+2028 too.
let rest = [];
process.stdin.setEncoding('utf8').on('data', (text) => {
  const lines = text.split('\n');
  rest.push(lines.shift());
  if (lines.length === 0) return;
  obey(rest.join(''));
  rest = [lines.pop()];
  lines.forEach(obey);
}).on('end', () => process.exit());
