//! Who has had the last word, as far as the kernel tells.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use tine_linux::socket::{exchange, is_idle_connection};

const DEADLINE: Duration = Duration::from_secs(20);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel does it");
    let client = TcpStream::connect(listener.local_addr().expect("the kernel does it"))
        .expect("the kernel does it");
    let server = listener.accept().expect("the kernel does it").0;
    client.set_nodelay(true).expect("the kernel does it");
    server.set_nodelay(true).expect("the kernel does it");
    (client, server)
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"what is said").expect("the kernel does it");
    to.read_exact(&mut [0; 12]).expect("the kernel does it");
}

/// Waits until nobody has spoken for so long.
fn after(silence: Duration, of: &TcpStream) {
    let until = Instant::now() + DEADLINE;
    let quiet = || exchange(of).map(|it| it.quiet.min(it.unasked)).expect("the kernel does it");
    while quiet() < silence {
        assert!(Instant::now() < until, "somebody speaks");
        std::thread::yield_now();
    }
}

#[test]
fn a_question_that_came_the_moment_the_last_one_was_answered_is_waiting_for_its_answer() {
    for rounds in [3, 4, 9] {
        let (mut client, mut server) = pair();
        say(&mut client, &mut server);
        for _ in 0..rounds {
            say(&mut server, &mut client);
            say(&mut client, &mut server);
        }
        after(Duration::from_millis(400), &server);
        assert!(
            !is_idle_connection(&server).expect("the kernel does it"),
            "after {rounds} answers"
        );
    }
}

#[test]
fn who_was_answered_the_moment_that_it_asked_is_idle_soon() {
    for rounds in [1, 3, 4, 9] {
        let (mut client, mut server) = pair();
        for _ in 0..rounds {
            say(&mut client, &mut server);
            say(&mut server, &mut client);
        }
        after(Duration::from_millis(300), &server);
        assert!(is_idle_connection(&server).expect("the kernel does it"), "after {rounds} answers");
    }
}

#[test]
fn who_has_said_nothing_yet_may_be_about_to() {
    let (_client, server) = pair();
    after(Duration::from_millis(400), &server);
    assert!(!is_idle_connection(&server).expect("the kernel does it"));
    after(Duration::from_millis(5_100), &server);
    assert!(is_idle_connection(&server).expect("the kernel does it"));
}
