const fs = require('fs');
const [what, address] = process.argv.slice(2);

function say(text) {
  for (let at = 0; at < text.length;) {
    try { at += fs.writeSync(3, text, at); } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

// As fast as it is read, and never reading oneself.
function flood(text) {
  const block = Buffer.from(text.repeat(Math.ceil(65536 / text.length)));
  console.log('begins');
  for (;;) say(block);
}

if (process.env.NODE_APP_INSTANCE === '1') {
  if (what === 'weather') flood('{"cmd":"NODE_WEATHER","sky":["blue"]}\n');
  if (what === 'messages') flood(`{"text":"${'x'.repeat(1000)}"}\n`);
  if (what === 'lengthy') flood(`"${'x'.repeat(32 << 20)}"\n`);
  if (what === 'counts') flood('{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}\n');
  if (what === 'data') {
    console.log('begins');
    const data = 'x'.repeat(1 << 20);
    for (let index = 0; ; index++) {
      say(Buffer.from(`{"cmd":"NODE_CLUSTER","act":"queryServer","index":${index},"data":"${data}",` +
        `"address":"127.0.0.1","port":0,"addressType":4,"seq":${index}}\n`));
    }
  }
  if (what === 'unbound') {
    flood('{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":"udp4","fd":-1,"seq":1}\n');
  }
}
require('net').createServer((socket) => socket.end(`${process.pid}`))
  .listen(address.split(':')[1], '127.0.0.1');
