// Puts our primary behind the `cluster` of any Node program:
//
//   FOREIGN_PRIMARY=target/debug/examples/foreign-primary node -r ./compliance/foreign-cluster.js app.js
//
// In a primary it replaces cluster.fork() and what belongs to it by a foreign-primary that it starts; the
// protocol is in docs/foreign-primary.md. Workers inherit the option, and are left alone. The policy is that
// of cluster.schedulingPolicy; FOREIGN_POLICY and FOREIGN_MECHANISM say another. Not to be had: handles in
// worker.send(), `serialization: 'advanced'`, `uid` and `gid`.
'use strict';
const cluster = require('cluster');
const { spawn } = require('child_process');
const { EventEmitter } = require('events');
const { PassThrough } = require('stream');
const fs = require('fs');

if (cluster.isPrimary ?? cluster.isMaster) replace();

function replace() {
  const workers = new Map();
  const waiting = new Map();
  // Of cluster.disconnect().
  const ended = [];
  let foreign, lastCommand = 0, lastWorker = 0;

  // Nothing but workers keeps the program alive, as with Node's own primary.
  const hold = () => {
    const method = workers.size > 0 ? 'ref' : 'unref';
    for (const it of [foreign, foreign.stdout]) it[method]();
  };

  const start = () => {
    const program = process.env.FOREIGN_PRIMARY || 'foreign-primary';
    foreign = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    foreign.on('error', (error) => { throw error; });
    foreign.stdout.on('data', (data) => split(data).forEach(tell));
    foreign.stdin.unref();
    const byNode = cluster.schedulingPolicy === cluster.SCHED_NONE ? 'shared' : 'rr';
    const { FOREIGN_POLICY: policy = byNode, FOREIGN_MECHANISM: mechanism } = process.env;
    ask({ command: 'setup', policy, mechanism });
  };

  // Commands are written, and some answers read, on the descriptors themselves: fork() knows the pid when it
  // returns. They are non-blocking, for they are libuv's.
  const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);

  // What has come; null where nothing has yet.
  const read = () => {
    const chunk = Buffer.alloc(65536);
    try {
      const length = fs.readSync(foreign.stdout._handle.fd, chunk);
      if (length === 0) throw new Error('foreign-primary has ended');
      return split(chunk.subarray(0, length));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      return null;
    }
  };

  // Nobody is told anything before this call into cluster has returned.
  const later = (events) => events && events.length > 0 && setImmediate(() => events.forEach(tell));

  const say = (command) => {
    let bytes = Buffer.from(JSON.stringify(command) + '\n');
    while (bytes.length > 0) {
      try {
        bytes = bytes.subarray(fs.writeSync(foreign.stdin._handle.fd, bytes));
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        // It may be waiting for us in turn.
        later(read());
        pause();
      }
    }
  };

  const ask = (command) => {
    const id = ++lastCommand;
    say({ ...command, id });
    for (;;) {
      const events = read();
      if (!events) {
        pause();
        continue;
      }
      const place = events.findIndex((event) => event.event === 'done' && event.id === id);
      const [done] = place < 0 ? [] : events.splice(place, 1);
      later(events);
      if (!done) continue;
      if (done.error) throw new Error(done.error);
      return done;
    }
  };

  let rest = [];
  const split = (data) => {
    const events = [];
    let from = 0;
    for (let end; (end = data.indexOf(10, from)) >= 0; from = end + 1) {
      events.push(JSON.parse(Buffer.concat([...rest, data.subarray(from, end)])));
      rest = [];
    }
    rest.push(data.subarray(from));
    return events;
  };

  const tell = (event) => {
    if (event.event === 'done') return waiting.get(event.id)?.(event.error);
    const worker = workers.get(event.worker);
    if (worker) news[event.event]?.(worker, event);
  };

  const both = (worker, name, ...args) => {
    worker.emit(name, ...args);
    cluster.emit(name, worker, ...args);
  };

  const forget = (worker) => {
    const { process } = worker;
    if (cluster.workers[worker.id] === worker && worker.isDead()) delete cluster.workers[worker.id];
    if (!worker.isDead() || process.connected) return;
    workers.delete(worker.id);
    hold();
    process.emit('close', process.exitCode, process.signalCode);
  };

  const areDisconnected = () => [...workers.values()].every((worker) => !worker.isConnected());

  const news = {
    fork: (worker) => cluster.emit('fork', worker),
    online(worker) {
      worker.state = 'online';
      both(worker, 'online');
    },
    listening(worker, { address, addressType, port }) {
      worker.state = 'listening';
      both(worker, 'listening', { addressType, address, port, fd: undefined });
    },
    message(worker, { message }) {
      worker.process.emit('message', message, undefined);
      cluster.emit('message', worker, message, undefined);
    },
    disconnect(worker) {
      worker.process.connected = false;
      worker.state = 'disconnected';
      worker.exitedAfterDisconnect = Boolean(worker.exitedAfterDisconnect);
      worker.process.emit('disconnect');
      both(worker, 'disconnect');
      forget(worker);
      if (areDisconnected()) ended.splice(0).forEach((callback) => callback());
    },
    exit(worker, { code, signal, exitedAfterDisconnect }) {
      Object.assign(worker.process, { exitCode: code, signalCode: signal });
      Object.assign(worker, { exitedAfterDisconnect, state: 'dead' });
      worker.process.emit('exit', code, signal);
      both(worker, 'exit', code, signal);
      forget(worker);
    },
    output(worker, { stream, text }) {
      (worker.process[stream] || process[stream]).write(text);
    },
    error: (worker, { message }) => worker.emit('error', new Error(message)),
  };

  class ForeignProcess extends EventEmitter {
    constructor(id, pid, silent) {
      super();
      Object.assign(this, { id, pid, connected: true, exitCode: null, signalCode: null, killed: false });
      this.stdout = silent ? new PassThrough() : null;
      this.stderr = silent ? new PassThrough() : null;
    }

    send(message, handle, options, callback) {
      const given = [handle, options, callback];
      callback = given.find((it) => typeof it === 'function');
      if (given[0] && given[0] !== callback) throw new Error('handles cannot be sent this way');
      const id = ++lastCommand;
      waiting.set(id, (error) => {
        waiting.delete(id);
        if (callback) callback(error ? new Error(error) : null);
      });
      say({ command: 'send', id, worker: this.id, message });
      return true;
    }

    kill(signal = 'SIGTERM') {
      say({ command: 'kill', worker: this.id, signal });
      return this.killed = true;
    }

    disconnect() {
      say({ command: 'disconnect', worker: this.id });
    }

    ref() {}
    unref() {}
  }

  cluster.fork = (env) => {
    // Only so that cluster.settings are there.
    cluster.setupPrimary ? cluster.setupPrimary() : cluster.setupMaster();
    const { exec, args, execArgv, cwd = process.cwd(), silent = false } = cluster.settings;
    if (!foreign) start();
    const { pid } = ask({
      command: 'fork', exec, args, execArgv, execPath: process.execPath, cwd, silent: true,
      env: { ...process.env, ...env },
    });
    const id = ++lastWorker;
    const worker = new cluster.Worker({ id, process: new ForeignProcess(id, pid, silent) });
    worker.disconnect = function disconnect() {
      this.exitedAfterDisconnect = true;
      delete cluster.workers[this.id];
      this.process.disconnect();
      return this;
    };
    worker.kill = worker.destroy = function destroy(signal) {
      this.process.kill(signal);
    };
    cluster.workers[id] = worker;
    workers.set(id, worker);
    hold();
    return worker;
  };

  cluster.disconnect = (callback) => {
    const all = Object.values(cluster.workers);
    for (const worker of all) if (worker.isConnected()) worker.disconnect();
    if (typeof callback !== 'function') return;
    if (areDisconnected()) process.nextTick(callback);
    else ended.push(callback);
  };
}
