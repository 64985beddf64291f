//! Cases 1 to 3 and 41 to 43: what a worker is started as.

use std::time::Duration;

use compliance::{Fork, IN_TURN, Primary, get, peer, skip};
use serde_json::json;

on_all! {
    a_worker_with_nothing_to_do_stays,
    the_environment_is_clean_and_children_are_no_workers,
    workers_are_numbered_and_no_number_comes_again,
    a_program_that_forks_by_itself_is_a_worker_at_once,
    modules_options_arguments_and_folder_are_as_asked,
    what_a_wrapper_starts_is_no_worker,
    worker_threads_listen_by_themselves,
}

on_some! {
    typescript_runs_behind_a_loader: compliance::IN_TURN,
}

/// Case 1.
fn a_worker_with_nothing_to_do_stays(primary: &mut Primary) {
    let worker = primary.fork("console.log('ran')", &[]);
    primary.wait_for(worker, "online");
    primary.wait_output(worker, "ran");
    assert!(!primary.ends_within(worker, Duration::from_millis(700)), "it ended by itself");
}

/// Case 2.
fn the_environment_is_clean_and_children_are_no_workers(primary: &mut Primary) {
    let script = "
const cluster = require('cluster');
const mine = Object.keys(process.env).filter((name) => /^NODE_(CHANNEL|UNIQUE|CLUSTER)/.test(name));
if (process.argv[2] === 'child') {
  process.send([cluster.isWorker, cluster.isPrimary, mine]);
} else {
  process.send([cluster.isWorker, cluster.isPrimary, mine, process.env.ADDED]);
  require('child_process').fork(__filename, ['child']).on('message', (told) => {
    process.send({ child: told });
  });
}
";
    let worker = primary.fork(script, &[("ADDED", &"here")]);
    assert_eq!(primary.message(worker), json!([true, false, [], "here"]));
    assert_eq!(primary.message(worker), json!({ "child": [false, true, []] }));
}

/// Case 3.
fn workers_are_numbered_and_no_number_comes_again(primary: &mut Primary) {
    let script = "
const { worker } = require('cluster');
process.send([worker.id, worker.isConnected(), worker.isDead(), worker.process === process]);
";
    for id in 1..=3 {
        let worker = primary.fork(script, &[]);
        assert_eq!(worker, id);
        assert_eq!(primary.message(worker), json!([id, true, false, true]));
    }
    assert_eq!(primary.kill(2).signal.as_deref(), Some("SIGKILL"));
    let worker = primary.fork(script, &[]);
    assert_eq!(primary.message(worker)[0], 4);
}

/// Case 41.
fn a_program_that_forks_by_itself_is_a_worker_at_once(primary: &mut Primary) {
    let script = "
const cluster = require('cluster');
if (cluster.isPrimary) {
  for (let n = 0; n < 4; n++) cluster.fork();
} else {
  require('http').createServer((request, response) => response.end(`worker ${cluster.worker.id}`))
    .listen(+process.env.PORT, '127.0.0.1');
}
";
    let port = primary.port();
    primary.fork_listening(2, script, &[("PORT", &port)]);
    assert!(["worker 1", "worker 2"].contains(&get(port).expect("an answer").as_str()));
}

/// Case 41.
fn modules_options_arguments_and_folder_are_as_asked(primary: &mut Primary) {
    let module = "
import cluster from 'node:cluster';
await new Promise((done) => setImmediate(done));
process.send([cluster.isWorker, globalThis.preloaded, process.argv.slice(2), process.execArgv.length,
              process.cwd()]);
";
    let preload =
        primary.write("preload.js", "globalThis.preloaded = require('cluster').isWorker;");
    let exec = primary.write("module.mjs", module);
    let folder = primary.folder().join("below");
    std::fs::create_dir(&folder).expect("our own folder");
    let preload = preload.display().to_string();
    let fork = Fork::new(exec).exec_argv(&["-r", &preload]).args(&["--a", "b c", ""]).cwd(&folder);
    let worker = primary.fork_with(&fork);
    let told = primary.message(worker);
    assert_eq!(told, json!([true, true, ["--a", "b c", ""], 2, folder]));
}

/// Case 41.
fn typescript_runs_behind_a_loader(primary: &mut Primary) {
    let loader = peer("tsx").join("dist/loader.mjs");
    if !loader.is_file() {
        return skip("no tsx here (compliance/peers/install)");
    }
    let script = "
import cluster from 'node:cluster';
enum Kind { Worker = 'worker', Primary = 'primary' }
const kind: Kind = cluster.isWorker ? Kind.Worker : Kind.Primary;
process.send!(kind);
";
    let exec = primary.write("app.ts", script);
    let loader = format!("file://{}", loader.display());
    let worker = primary.fork_with(&Fork::new(exec).exec_argv(&["--import", &loader]));
    assert_eq!(primary.message(worker), "worker");
}

/// Writes what it is and whether it could listen; ends at its first request.
const WRAPPED: &str = "
const server = require('http').createServer((request, response) => {
  response.end('bye', () => process.exit(3));
});
server.on('error', (error) => { console.log(error.code); process.exit(3); });
server.listen(+process.env.PORT, '127.0.0.1', () => {
  console.log('listens', require('cluster').isWorker, typeof process.send);
});
";

/// Case 42.
fn what_a_wrapper_starts_is_no_worker(primary: &mut Primary) {
    let wrapper = "
const app = require('child_process').spawn(process.execPath, [`${__dirname}/app.js`], { stdio: 'inherit' });
app.on('exit', (code) => process.exit(code));
";
    let exec = primary.write("wrapper.js", wrapper);
    two_wrapped(primary, &Fork::new(exec), "listens false undefined");
}

/// Case 42. It listens itself on a path with its pid, so that no two transcripts are the same.
#[test]
fn the_command_of_tsx_is_such_a_wrapper() {
    let tsx = peer("tsx").join("dist/cli.mjs");
    if !tsx.is_file() {
        return skip("no tsx here (compliance/peers/install)");
    }
    compliance::play(&IN_TURN, |mut primary| {
        let app = primary.folder().join("app.js").display().to_string();
        two_wrapped(&mut primary, &Fork::new(&tsx).args(&[&app]), "listens false ");
    });
}

/// The second of two such workers cannot have the address that the first one has.
fn two_wrapped(primary: &mut Primary, fork: &Fork, words: &str) {
    primary.write("app.js", WRAPPED);
    let port = primary.port();
    let fork = fork.clone().env("PORT", &port);
    let first = primary.fork_with(&fork);
    primary.wait_output(first, words);
    let second = primary.fork_with(&fork);
    primary.wait_output(second, "EADDRINUSE");
    assert_eq!(primary.wait_exit(second).code, Some(3));
    assert_eq!(get(port).expect("an answer"), "bye");
    assert_eq!(primary.wait_exit(first).code, Some(3));
}

/// Case 43.
fn worker_threads_listen_by_themselves(primary: &mut Primary) {
    let script = "
const { Worker, isMainThread, parentPort } = require('worker_threads');
const cluster = require('cluster');
if (isMainThread) {
  new Worker(__filename).on('message', (told) => process.send(told));
} else {
  const told = [cluster.isPrimary, cluster.isWorker, typeof process.send];
  const server = require('net').createServer();
  server.on('error', (error) => parentPort.postMessage([...told, error.code]));
  server.listen(+process.env.PORT, '127.0.0.1', () => parentPort.postMessage([...told, 'listens']));
}
";
    let port = primary.port();
    for wanted in ["listens", "EADDRINUSE"] {
        let worker = primary.fork(script, &[("PORT", &port)]);
        assert_eq!(primary.message(worker), json!([true, false, "undefined", wanted]));
        assert_eq!(primary.count(worker, "listening"), 0);
    }
    primary.kill(1);
}
