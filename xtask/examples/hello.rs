//! The smallest server worth measuring: one thread, one request a connection, its pid for an answer.
//!
//! `PORT` says where it listens, on loopback. With `REUSEPORT=1` it sets `SO_REUSEPORT` itself, and
//! several of them share the port without anyone's help: the limit that a manager is held against.
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

#[path = "shared/answer.rs"]
mod answer;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

fn main() -> io::Result<()> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = open(port, env::var_os("REUSEPORT").is_some())?;
    println!("hello: ready");
    let answer = answer::own();
    loop {
        let (client, _) = listener.accept()?;
        // A client that went away is its own business.
        let _ = answer::serve(client, &answer);
    }
}

fn open(port: u16, shared: bool) -> io::Result<TcpListener> {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if shared {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&fd, 511)?;
    Ok(TcpListener::from(fd))
}
