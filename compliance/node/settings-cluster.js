// A cluster program that uses what the other one does not: settings, silent workers, ends of every kind, and
// another worker for each that dies. What it prints is the same in every run, on whatever primary.
'use strict';
const cluster = require('cluster');

const ENDS = ['exit', 'throw', 'kill', 'destroy', 'disconnect', 'leave'];

if (cluster.isPrimary) primary();
else worker();

function primary() {
  cluster.on('setup', () => console.log('setup', cluster.settings.silent, cluster.settings.args.length));
  cluster.setupPrimary({ silent: true, args: ['one', 'two words', ''] });
  next(0);
}

// One after the other: each is forked when the last one has ended.
function next(n) {
  if (n === ENDS.length) return console.log(Object.keys(cluster.workers).length, 'left');
  const worker = cluster.fork({ END: ENDS[n] });
  const events = [`${worker.id} ${ENDS[n]}`];
  let output = '';
  worker.process.stdout.on('data', (data) => output += data);
  for (const name of ['online', 'listening', 'disconnect']) worker.on(name, () => events.push(name));
  worker.on('message', (message) => events.push(JSON.stringify(message)));
  let told = 0;
  const end = () => {
    // Its message and its `listening` come in either order.
    if (++told < 2) return;
    if (ENDS[n] === 'kill') worker.process.kill('SIGHUP');
    else if (ENDS[n] === 'destroy') worker.kill();
    else if (ENDS[n] === 'disconnect') worker.disconnect();
    else worker.send('end');
  };
  worker.on('message', end).on('listening', end);
  worker.on('exit', (code, signal) => {
    events.push(`exit ${code} ${signal} ${worker.isDead()} ${worker.exitedAfterDisconnect}`);
  });
  // When all of its output has come, too.
  worker.process.on('close', () => {
    // The end of the channel and of the process come in either order.
    console.log(events.sort().join(', '), '|', output.trim());
    next(n + 1);
  });
}

function worker() {
  const end = process.env.END;
  console.log('arguments', JSON.stringify(process.argv.slice(2)));
  process.on('message', () => {
    if (end === 'exit') process.exit(3);
    if (end === 'throw') throw new Error('on purpose');
    cluster.worker.disconnect();
  });
  require('net').createServer().listen(0, '127.0.0.1', () => process.send({ end }));
}
