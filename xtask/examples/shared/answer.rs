//! One request a connection, the process's pid for an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// What this process answers.
pub(crate) fn own() -> String {
    let body = format!("{}\n", std::process::id());
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

/// Reads a request and answers it; the connection is closed with that.
pub(crate) fn serve(mut client: TcpStream, answer: &str) -> io::Result<()> {
    let mut request = [0; 2048];
    let mut filled = 0;
    while !request[..filled].ends_with(b"\r\n\r\n") {
        let got = client.read(&mut request[filled..])?;
        if got == 0 {
            return Ok(());
        }
        filled += got;
    }
    client.write_all(answer.as_bytes())
}
