//! Answers every request with the pid of the process that serves it: std alone, a thread for each
//! connection.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::thread;

fn main() -> io::Result<()> {
    let host = env::var("HOST").unwrap_or_else(|_| "0.0.0.0".to_owned());
    let port = env::var("PORT").unwrap_or_else(|_| "8003".to_owned());
    let listener = TcpListener::bind(format!("{host}:{port}"))?;
    for client in listener.incoming() {
        let client = client?;
        // An error here means that the client left first.
        thread::spawn(move || serve(&client));
    }
    Ok(())
}

fn serve(mut client: &TcpStream) -> io::Result<()> {
    let body = format!("rust {}\n", process::id());
    let mut requests = BufReader::new(client);
    while let Some(keeps) = read_head(&mut requests)? {
        let connection = if keeps { "keep-alive" } else { "close" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}"
        );
        client.write_all(answer.as_bytes())?;
        if !keeps {
            break;
        }
    }
    Ok(())
}

/// Whether the client keeps the connection after this request; `None` at the end of the stream.
fn read_head(requests: &mut impl BufRead) -> io::Result<Option<bool>> {
    let mut line = String::new();
    requests.read_line(&mut line)?;
    let mut keeps = line.contains("HTTP/1.1");
    while !line.is_empty() && line != "\r\n" {
        keeps &= !line.to_ascii_lowercase().starts_with("connection: close");
        line.clear();
        requests.read_line(&mut line)?;
    }
    Ok((!line.is_empty()).then_some(keeps))
}
