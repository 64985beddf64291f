//! Small HTTP clients that show on which connection a request went.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Connecting, each read and each write may take this long; then the request has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// One request on a connection of its own to the loopback address; gives the body of a 200.
pub fn get(port: u16) -> io::Result<String> {
    get_from(Ipv4Addr::LOCALHOST, port)
}

/// Like [`get`], from the address `source`, which must be in 127.0.0.0/8.
pub fn get_from(source: Ipv4Addr, port: u16) -> io::Result<String> {
    let mut stream = connect_from(source, port)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| malformed(&answer))?;
    check_status(head)?;
    Ok(body.to_owned())
}

/// A connection that is kept for many requests.
#[derive(Debug)]
pub struct KeepAlive {
    stream: BufReader<TcpStream>,
}

impl KeepAlive {
    /// Connects, and sends nothing yet.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = BufReader::new(connect_from(Ipv4Addr::LOCALHOST, port)?);
        Ok(Self { stream })
    }

    /// One request; gives the body of a 200 that tells its length.
    pub fn get(&mut self) -> io::Result<String> {
        self.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let head = self.read_head()?;
        check_status(&head)?;
        let mut body = vec![0; content_length(&head).ok_or_else(|| malformed(&head))?];
        self.stream.read_exact(&mut body)?;
        String::from_utf8(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Whether the server closes the connection, without a reset, and has nothing more to say.
    pub fn ends(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|length| length == 0)
    }

    fn read_head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }
}

/// The pid in a hello server's answer, `node 4711`.
#[must_use]
pub fn pid_in(body: &str) -> u32 {
    let pid = body.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    pid.unwrap_or_else(|| panic!("a hello server's answer ends with its pid: {body:?}"))
}

fn connect_from(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(LIMIT))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LIMIT))?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(socket.into())
}

fn check_status(head: &str) -> io::Result<()> {
    let status = head.split_whitespace().nth(1);
    if status == Some("200") { Ok(()) } else { Err(malformed(head)) }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

fn malformed(answer: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not the answer of a hello server: {answer:?}"),
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers every request with the client's address.
    fn server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            for client in listener.incoming() {
                serve(client.expect("a client")).expect("a well-behaved client");
            }
        });
        port
    }

    fn serve(mut client: TcpStream) -> io::Result<()> {
        let body = client.peer_addr()?.ip().to_string();
        let mut requests = BufReader::new(client.try_clone()?);
        let mut head = String::new();
        while requests.read_line(&mut head)? > 0 {
            if !head.ends_with("\r\n\r\n") {
                continue;
            }
            let length = body.len();
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")?;
            if head.contains("Connection: close") {
                break;
            }
            head.clear();
        }
        Ok(())
    }

    #[test]
    fn a_request_comes_from_the_address_that_was_asked_for() {
        let body = get_from(Ipv4Addr::new(127, 0, 0, 9), server()).expect("an answer");
        assert_eq!(body, "127.0.0.9");
    }

    #[test]
    fn a_kept_connection_answers_again_and_again() {
        let mut client = KeepAlive::connect(server()).expect("a connection");
        let answers: Vec<String> = (0..3).map(|_| client.get().expect("an answer")).collect();
        assert_eq!(answers, ["127.0.0.1"; 3]);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let error = get(port).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn another_status_than_200_is_an_error() {
        assert!(check_status("HTTP/1.1 503 Service Unavailable").is_err());
        assert!(check_status("HTTP/1.1 200 OK").is_ok());
    }
}
