//! A primary that does what another program says, in JSON lines: `docs/foreign-primary.md`.
//!
//! `echo '{"command":"fork","exec":"app.js"}' | foreign-primary`
#![forbid(unsafe_code)]

mod command;
mod event;
mod post;
mod primary;
mod signal;

use std::{
    error::Error,
    io::{self, BufRead},
    thread,
};

use tokio::sync::mpsc;

use primary::Primary;

/// Lines that were read ahead.
const LINES: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(obey())
}

/// Obeys until the input ends.
async fn obey() -> Result<(), Box<dyn Error>> {
    let mut lines = input();
    let mut primary = Primary::default();
    loop {
        tokio::select! {
            // What has happened is told before anything new is done.
            biased;
            event = primary.next() => primary.tell(event)?,
            line = lines.recv() => match line {
                Some(line) => primary.obey(&line?).await?,
                None => break,
            },
        }
    }
    primary.end().await;
    Ok(())
}

/// Standard input, line by line. A thread waits for it: it may be a file or a terminal.
fn input() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
