//! Many lines of all lengths, with rotation and compression running: none lost, split or mixed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::UNIX_EPOCH;

use tine::logs::{LogReader, Stream};

use crate::common::{Folder, keep_all, pipe_of, writer};

const WORKERS: u32 = 4;
/// Mostly short, up to this.
const LONGEST: usize = 10_000;

/// Of each worker. `TINE_LOG_LINES=1000000` is the full size.
fn lines() -> u64 {
    let said = std::env::var("TINE_LOG_LINES").ok().and_then(|lines| lines.parse().ok());
    said.unwrap_or(50_000)
}

/// The line of a worker with this number; always the same, and one in a hundred is long.
fn line(worker: u32, number: u64, line: &mut Vec<u8>) {
    line.clear();
    let seed = (u64::from(worker) << 40 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let random = seed ^ (seed >> 29);
    let longest = if number.is_multiple_of(100) { LONGEST as u64 } else { 200 };
    let length = usize::try_from(1 + random % longest).expect("a short line");
    // What would be left of a line that lost its beginning or its end is another length.
    write!(line, "{worker} {number} {length} ").expect("room");
    let letter = b'a' + u8::try_from(random % 26).expect("a letter");
    line.resize(length, letter);
}

fn produce(worker: u32, pipe: File) {
    let (mut pipe, mut text) = (BufWriter::with_capacity(8 << 10, pipe), Vec::new());
    for number in 0..lines() {
        line(worker, number, &mut text);
        text.push(b'\n');
        pipe.write_all(&text).expect("the writer reads");
    }
    pipe.flush().expect("the writer reads");
}

#[test]
fn not_a_line_is_lost_or_split_with_a_file_for_each_worker() {
    let folder = Folder::new();
    let (writer, troubles) = writer(folder.settings(|spec| spec.rotation = keep_all(1 << 20)));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let pipe = pipe_of(&writer, worker, worker.into(), Stream::Out);
            scope.spawn(move || produce(worker, pipe));
        }
    });
    writer.close();
    assert_eq!(troubles.try_iter().collect::<Vec<_>>(), []);
    for worker in 0..WORKERS {
        has_all_lines(worker, &folder.0.join(format!("app-out-{worker}.log")));
    }
}

fn has_all_lines(worker: u32, path: &Path) {
    let reader = LogReader::open(path).expect("a log that can be read");
    let (mut all, mut wanted) =
        (reader.since(UNIX_EPOCH).expect("a log that can be read"), Vec::new());
    for number in 0..lines() {
        line(worker, number, &mut wanted);
        assert!(
            all.advance().expect("a log that can be read"),
            "worker {worker}: line {number} is missing"
        );
        assert!(all.line() == wanted, "worker {worker}: not line {number}");
    }
    assert!(!all.advance().expect("a log that can be read"), "worker {worker}: more than it wrote");
    let mut last = reader.last(1).expect("a log that can be read");
    assert!(last.advance().expect("a log that can be read") && last.line() == wanted);
}

#[test]
fn lines_of_all_workers_in_one_file_are_not_mixed_and_a_reader_gets_each_once() {
    let folder = Folder::new();
    let settings = folder.settings(|spec| {
        (spec.merge, spec.rotation) = (Some(true), keep_all(256 << 10));
    });
    let (writer, _) = writer(settings);
    let path = folder.0.join("app-out.log");
    let mut reader = LogReader::from_start(&path).unwrap();
    let mut next = [0_u64; WORKERS as usize];
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let pipe = pipe_of(&writer, worker, worker.into(), Stream::Out);
            scope.spawn(move || produce(worker, pipe));
        }
        // Now behind, now level, while files are set aside and compressed below it.
        while next.iter().sum::<u64>() < u64::from(WORKERS) * lines() {
            reader.follow(&mut |line| in_order(line, &mut next)).unwrap();
            thread::yield_now();
        }
    });
    writer.close();
    assert!(!reader.follow(&mut |line| panic!("one more: {line:?}")).unwrap());
}

/// However short a line is, its first letter says whose it is.
fn in_order(found: &[u8], next: &mut [u64; WORKERS as usize]) {
    let mut wanted = Vec::new();
    let writer = (0..WORKERS).find(|worker| {
        line(*worker, next[*worker as usize], &mut wanted);
        wanted == found
    });
    let Some(writer) = writer else {
        let begin = String::from_utf8_lossy(&found[..found.len().min(40)]);
        panic!("nobody's next line: {begin:?}; next would be {next:?}");
    };
    next[writer as usize] += 1;
}
