use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpListener;

use super::*;

/// A server of which each connection is for `serve` to answer; its number comes first.
async fn server<F>(serve: impl Fn(u32, TcpStream) -> F + Send + 'static) -> Place
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let place = Place::Tcp(listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let count = Arc::new(AtomicU32::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(count.fetch_add(1, Ordering::Relaxed), stream));
        }
    });
    place
}

async fn hear(stream: &mut TcpStream) -> usize {
    stream.read(&mut [0; 1024]).await.unwrap_or(0)
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the client reads");
}

fn http(place: Place) -> Question {
    Question { place, path: Some("/".to_owned()) }
}

const WELL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn an_answer_cut_off_is_a_loss_and_an_error_of_the_server_is_an_answer() {
    let answers = ["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", &WELL[..WELL.len() - 1], ""];
    let place = server(move |number, mut stream| async move {
        hear(&mut stream).await;
        say(&mut stream, answers[number as usize]).await;
    });
    let question = http(place.await);
    let fate = async || ask_once(&question).await.fate;
    assert_eq!(fate().await, Fate::Answered { error: true, retried: false });
    assert_eq!(fate().await, Fate::Lost(Loss::Closed));
    assert_eq!(fate().await, Fate::Lost(Loss::Closed));
}

#[tokio::test]
async fn a_kept_connection_that_closes_as_it_is_used_is_tried_once_more() {
    let place = server(|number, mut stream| async move {
        hear(&mut stream).await;
        say(&mut stream, WELL).await;
        if number == 0 {
            // The next request gets no answer.
            hear(&mut stream).await;
        } else {
            while hear(&mut stream).await > 0 {
                say(&mut stream, WELL).await;
            }
        }
    });
    let mut kept = Kept::new(http(place.await));
    let mut retried = Vec::new();
    for _ in 0..3 {
        let sent = kept.ask().await.expect("it is HTTP");
        let Fate::Answered { retried: again, .. } = sent.fate else { panic!("{sent:?}") };
        retried.push(again);
    }
    assert_eq!(retried, [false, true, false]);
}

#[tokio::test]
async fn what_speaks_no_http_is_connected_to_and_what_is_not_there_is_refused() {
    let place = server(|_, mut stream| async move { say(&mut stream, "220 mail\r\n").await });
    let place = place.await;
    let learnt = learn(place.clone(), "/".into()).await;
    assert_eq!(learnt, Ok(Question { place, path: None }));
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let place = Place::Tcp(gone.local_addr().expect("it is bound"));
    drop(gone);
    assert_eq!(learn(place, "/".into()).await, Err(Loss::Refused));
}
