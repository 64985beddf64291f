//! Cases 23 to 25: what is built upon connections.

use std::process::Command;
use std::sync::OnceLock;

use compliance::{Primary, skip, spawn};
use serde_json::Value;

use crate::clients::V4;

on_all! {
    tls_sessions_resume_at_every_worker_and_at_the_next,
    a_taken_address_of_tls_is_an_ordinary_error,
    http2_upgrades_and_event_streams_work,
}

/// A key and a certificate signed with it; `None` without openssl.
fn certificate() -> Option<&'static (String, String)> {
    static MADE: OnceLock<Option<(String, String)>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                         -subj /CN=localhost -keyout - -out -";
        let output =
            spawn::output(Command::new("openssl").args(arguments.split_whitespace())).ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let begin = text.find("-----BEGIN CERTIFICATE-----")?;
        Some((text[..begin].to_owned(), text[begin..].to_owned()))
    });
    made.as_ref()
}

/// Puts key and certificate where workers find them.
fn certify(primary: &Primary) -> bool {
    let Some((key, certificate)) = certificate() else {
        skip("no openssl here");
        return false;
    };
    primary.write("key.pem", key);
    primary.write("cert.pem", certificate);
    true
}

/// Case 23.
pub(crate) fn tls_sessions_resume_at_every_worker_and_at_the_next(primary: &mut Primary) {
    let script = "
const fs = require('fs');
const options = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem'),
                  maxVersion: process.env.VERSION };
require('tls').createServer(options, (socket) => socket.end(String(process.pid)))
  .listen(+process.env.PORT, '127.0.0.1');
";
    // Connects with the session of the first connection ever until enough workers have answered.
    let client = "
const tls = require('tls'), fs = require('fs'), [port, wanted] = process.argv.slice(2).map(Number);
const file = `session-${port}`;
const connect = (session) => new Promise((done, failed) => {
  let pid = '', kept, resumed;
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, session });
  socket.on('session', (given) => kept = given).on('data', (data) => pid += data).on('error', failed);
  socket.on('secureConnect', () => resumed = socket.isSessionReused());
  socket.on('close', () => done({ pid, session: kept, resumed }));
});
(async () => {
  const pids = new Set();
  if (!fs.existsSync(file)) fs.writeFileSync(file, (await connect()).session);
  const session = fs.readFileSync(file);
  for (let turn = 0; turn < 9 || pids.size < wanted; turn++) {
    if (turn === 90) throw new Error(`only ${[...pids]} answered`);
    const next = await connect(session);
    if (!next.resumed) throw new Error(`not resumed at ${next.pid} of ${[...pids]}`);
    pids.add(next.pid);
  }
})();
";
    if !certify(primary) {
        return;
    }
    let wanted = if primary.way().takes_turns() { 3 } else { 1 };
    for version in ["TLSv1.2", "TLSv1.3"] {
        let port = primary.port();
        let env: [(&str, &dyn ToString); 2] = [("PORT", &port), ("VERSION", &version)];
        let workers = primary.fork_listening(3, script, &env);
        let said = primary.run_client(client, &[&port, &wanted]);
        assert_eq!(said, "");
        primary.kill(workers[0]);
        primary.fork_listening(1, script, &env);
        assert_eq!(primary.run_client(client, &[&port, &wanted]), "");
    }
}

/// Case 24.
fn a_taken_address_of_tls_is_an_ordinary_error(primary: &mut Primary) {
    let script = "
const server = require('tls').createServer({});
server.on('error', (error) => process.send(error.code)).listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let taken = std::net::TcpListener::bind((V4, port)).expect("it is free");
    let worker = primary.fork(script, &[("PORT", &port)]);
    assert_eq!(primary.message(worker), "EADDRINUSE");
    drop(taken);
}

/// Case 25.
fn http2_upgrades_and_event_streams_work(primary: &mut Primary) {
    let script = "
const http = require('http'), http2 = require('http2'), fs = require('fs');
const [plain, clear, secure] = JSON.parse(process.env.PORTS);
http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', Connection: 'close' });
  let n = 0;
  const next = () => {
    response.write(`data: ${n}\\n\\n`);
    if (++n === 3) response.end(); else setImmediate(next);
  };
  next();
}).on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n');
  socket.pipe(socket);
}).listen(plain, '127.0.0.1');
const answer = (stream, headers) => stream.respond() || stream.end(headers[':path']);
http2.createServer().on('stream', answer).listen(clear, '127.0.0.1');
const options = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') };
http2.createSecureServer(options).on('stream', answer).listen(secure, '127.0.0.1');
";
    let client = "
const http = require('http'), http2 = require('http2'), [plain, clear, secure] = JSON.parse(process.argv[2]);
const h2 = (url) => new Promise((done, failed) => {
  const session = http2.connect(url, { rejectUnauthorized: false }).on('error', failed);
  let text = '';
  session.request({ ':path': '/path' }).on('data', (data) => text += data).on('end', () => {
    session.close();
    done(text);
  });
});
const events = () => new Promise((done) => http.get({ port: plain, host: '127.0.0.1' }, (response) => {
  let text = '';
  response.on('data', (data) => text += data).on('end', () => done(text.match(/\\d/g).join('')));
}));
const upgrade = () => new Promise((done) => {
  const headers = { Connection: 'Upgrade', Upgrade: 'echo' };
  const request = http.request({ port: plain, host: '127.0.0.1', headers });
  request.on('upgrade', (response, socket) => {
    socket.write('echo');
    socket.once('data', (data) => { socket.destroy(); done(String(data)); });
  }).end();
});
(async () => {
  // Twice, so that both workers are met where they take turns.
  for (let turn = 0; turn < 2; turn++) {
    console.log(await h2(`http://127.0.0.1:${clear}`), await h2(`https://127.0.0.1:${secure}`),
                await events(), await upgrade());
  }
})();
";
    if !certify(primary) {
        return;
    }
    let ports = [(); 3].map(|()| primary.port());
    let ports = Value::from(ports.to_vec());
    let workers = [(); 2].map(|()| primary.fork(script, &[("PORTS", &ports)]));
    for worker in workers {
        primary.wait_count(worker, "listening", 3);
    }
    let said = primary.run_client(client, &[&ports]);
    assert_eq!(said, "/path /path 012 echo\n/path /path 012 echo");
}
