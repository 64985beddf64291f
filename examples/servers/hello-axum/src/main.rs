//! Answers every request with the pid of the process that serves it.
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::process;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let host = env::var("HOST").unwrap_or_else(|_| "0.0.0.0".to_owned());
    let port = env::var("PORT").unwrap_or_else(|_| "8003".to_owned());
    let app = Router::new().route("/", get(async || format!("axum {}\n", process::id())));
    axum::serve(TcpListener::bind(format!("{host}:{port}")).await?, app).await
}
