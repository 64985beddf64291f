const fs = require('fs');
const [what, address] = process.argv.slice(2);

// As fast as it is read, and never reading oneself.
function flood(text) {
  const block = Buffer.from(text.repeat(Math.ceil(65536 / text.length)));
  console.log('begins');
  for (let at = 0; ;) {
    try { at = (at + fs.writeSync(3, block, at)) % block.length; } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

if (process.env.NODE_APP_INSTANCE === '1') {
  if (what === 'weather') flood('{"cmd":"NODE_WEATHER","sky":["blue"]}\n');
  if (what === 'messages') flood(`{"text":"${'x'.repeat(1000)}"}\n`);
  if (what === 'lengthy') flood(`"${'x'.repeat(32 << 20)}"\n`);
  if (what === 'counts') flood('{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}\n');
  if (what === 'unbound') {
    flood('{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":"udp4","fd":-1,"seq":1}\n');
  }
}
require('net').createServer((socket) => socket.end(`${process.pid}`))
  .listen(address.split(':')[1], '127.0.0.1');
