//! The smallest worker of tine's own protocol: it takes one connection after another from its primary.
//!
//! `PORT` says where it listens, on loopback.
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::net::Ipv4Addr;

use tine_cluster::worker;

#[path = "shared/answer.rs"]
mod answer;

fn main() -> io::Result<()> {
    let port: u16 = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = worker::listen((Ipv4Addr::LOCALHOST, port))?;
    let answer = answer::own();
    while let Some((client, _)) = listener.accept()? {
        // A client that went away is its own business.
        let _ = answer::serve(client, &answer);
    }
    Ok(())
}
