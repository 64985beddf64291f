//! The smallest server worth measuring: one thread, one request a connection, its pid for an answer.
//!
//! `PORT` says where it listens, on loopback. With `REUSEPORT=1` it sets `SO_REUSEPORT` itself, and
//! several of them share the port without anyone's help: the limit that a manager is held against.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

fn main() -> io::Result<()> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = open(port, env::var_os("REUSEPORT").is_some())?;
    println!("hello: ready");
    let body = format!("{}\n", std::process::id());
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
    let answer = format!("{head} {}\r\n\r\n{body}", body.len());
    loop {
        let (client, _) = listener.accept()?;
        // A client that went away is its own business.
        let _ = serve(client, answer.as_bytes());
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

fn serve(mut client: TcpStream, answer: &[u8]) -> io::Result<()> {
    let mut request = [0; 2048];
    let mut filled = 0;
    while !request[..filled].ends_with(b"\r\n\r\n") {
        let got = client.read(&mut request[filled..])?;
        if got == 0 {
            return Ok(());
        }
        filled += got;
    }
    client.write_all(answer)
}
