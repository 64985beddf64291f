//! A program of Node's.

/// Says every message again, and leaves when it is told so.
pub(crate) const ECHO: &str = "
const cluster = require('cluster');
process.on('message', (m) => {
    if (m === 'leave') cluster.worker.disconnect();
    else if (m && m.exit !== undefined) process.exit(m.exit);
    else process.send(m);
});
process.send('up');";
