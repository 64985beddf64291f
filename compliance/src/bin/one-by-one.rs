//! A server that has at most one connection: it waits for a byte, says `done`, and closes. If it is
//! killed, that one is lost and no other.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let port = env::var("PORT").map_err(io::Error::other)?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    for client in listener.incoming() {
        // An error here means that the client left first.
        drop(serve(&client?));
    }
    Ok(())
}

fn serve(mut client: &TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0])?;
    client.write_all(b"done")
}
