//! Writes lines of 100 bytes as fast as it can: `BYTES` of them, after it has written down in the file `STARTED` when it began.
#![forbid(unsafe_code)]

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const LINE: usize = 100;
/// What a program with a buffer of its own writes at once.
const BLOCK: usize = 80 * LINE;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes: usize = std::env::var("BYTES")?.parse()?;
    let mut line = vec![b'x'; LINE - 1];
    line.push(b'\n');
    let block = line.repeat(BLOCK / LINE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    std::fs::write(std::env::var("STARTED")?, now.to_string())?;
    let mut output = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?);
    for _ in 0..bytes / BLOCK {
        output.write_all(&block)?;
    }
    Ok(())
}
