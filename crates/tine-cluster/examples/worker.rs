//! A worker that takes its connections from the cluster: under `tine run`, or alone.
//!
//! `tine run -i 3 target/debug/examples/worker 127.0.0.1:8003`
#![forbid(unsafe_code)]

use std::{error::Error, io::Write, process};

use tine_cluster::worker::Worker;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8003".to_owned());
    let worker = Worker::from_env()?;
    let listener = worker.listen(address)?;
    worker.ready()?;
    // `None`: the cluster has asked this worker to go, and nothing waits any more.
    while let Some((mut connection, _)) = listener.accept()? {
        // A client that has gone is no reason to end.
        let _ = write!(connection, "{}", process::id());
    }
    println!("left in peace");
    Ok(())
}
