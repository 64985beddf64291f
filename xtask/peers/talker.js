'use strict';
// A worker that takes COUNT messages and says so, then says COUNT messages of its own.
const COUNT = Number(process.env.COUNT);
const fill = 'x'.repeat(1000);
let left = COUNT;

process.on('message', () => {
  left -= 1;
  if (left > 0) return;
  left = COUNT;
  process.send('all');
  for (let i = 0; i < COUNT; i += 1) process.send(fill);
});
process.send('up');
