//! axum in a cluster: under `tine run`, or alone.
//!
//! `tine run -i 3 target/debug/examples/axum 127.0.0.1:8003`
#![forbid(unsafe_code)]

use std::{error::Error, io, net::SocketAddr, process};

use axum::{Router, routing::get};
use tine_cluster::worker::{AsyncListener, Worker};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8003".to_owned());
    let worker = Worker::from_env()?;
    let stopped = worker.stop().into_async()?;
    let listener = Clustered(worker.listen(address)?.into_async()?);
    let app = Router::new().route("/", get(async || process::id().to_string()));
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    Ok(())
}

/// What axum takes connections from.
struct Clustered(AsyncListener);

impl axum::serve::Listener for Clustered {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match self.0.accept().await {
            Ok(Some(accepted)) => accepted,
            // The worker is to stop, or its primary has gone: none will come.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
