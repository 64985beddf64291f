//! Reading while files are set aside, emptied, moved and made anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tine::logs::{LogReader, Stream};

use crate::common::{Folder, keep_all, pipe_of, settle, writer};

fn last(path: &Path, count: usize) -> Vec<String> {
    let mut lines = LogReader::open(path)
        .expect("a log that can be read")
        .last(count)
        .expect("a log that can be read");
    let mut texts = Vec::new();
    while lines.advance().expect("a log that can be read") {
        texts.push(String::from_utf8(lines.line().to_vec()).expect("a log that can be read"));
    }
    texts
}

fn news(reader: &mut LogReader) -> Vec<String> {
    let mut texts = Vec::new();
    while reader
        .follow(&mut |line| texts.push(String::from_utf8_lossy(line).into()))
        .expect("a log that can be read")
    {}
    texts
}

fn append(path: &Path, text: &str) {
    let mut file =
        File::options().append(true).create(true).open(path).expect("a log that can be read");
    file.write_all(text.as_bytes()).expect("a log that can be read");
}

#[test]
fn the_last_lines_come_from_what_was_set_aside_where_the_file_has_too_few() {
    let folder = Folder::new();
    let (writer, _) = writer(folder.settings(|spec| spec.rotation = keep_all(12)));
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    for number in 0..10 {
        writeln!(out, "line {number}").unwrap();
    }
    settle(&writer);
    let path = folder.0.join("app-out-0.log");
    assert_eq!(last(&path, 3), ["line 7", "line 8", "line 9"]);
    assert_eq!(last(&path, 100).len(), 10);
    assert_eq!(last(&path, 0), [""; 0]);
    assert_eq!(last(&folder.0.join("none.log"), 3), [""; 0]);
}

#[test]
fn a_follower_gets_each_line_once_through_any_number_of_rotations_between_two_looks() {
    let folder = Folder::new();
    let (writer, _) = writer(folder.settings(|spec| spec.rotation = keep_all(40)));
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    writeln!(out, "before").unwrap();
    settle(&writer);
    let mut reader = LogReader::open(&folder.0.join("app-out-0.log")).unwrap();
    let mut number = 0;
    for many in [1, 2, 50, 3, 17, 0, 100] {
        let wanted: Vec<String> = (number..number + many).map(|n| format!("line {n}")).collect();
        for line in &wanted {
            writeln!(out, "{line}").unwrap();
        }
        settle(&writer);
        assert_eq!(news(&mut reader), wanted);
        number += many;
    }
}

#[test]
fn a_begun_line_is_given_when_it_is_whole() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    append(&path, "old\nbeg");
    let mut reader = LogReader::open(&path).unwrap();
    assert_eq!(news(&mut reader), [""; 0]);
    append(&path, "un\nnext");
    assert_eq!(news(&mut reader), ["begun"]);
}

#[test]
fn an_emptied_file_is_read_from_its_beginning() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    append(&path, "one\ntwo\nthree\n");
    let mut reader = LogReader::open(&path).unwrap();
    File::create(&path).unwrap();
    append(&path, "four\n");
    assert_eq!(news(&mut reader), ["four"]);
}

#[test]
fn a_file_that_logrotate_moved_is_read_to_its_end_before_the_new_one() {
    let folder = Folder::new();
    let (path, moved) = (folder.0.join("a.log"), folder.0.join("a.log.1"));
    append(&path, "one\n");
    let mut reader = LogReader::open(&path).unwrap();
    fs::rename(&path, &moved).unwrap();
    // It makes the new file at once; whoever writes comes to know of it later.
    append(&path, "");
    append(&moved, "two\n");
    assert_eq!(news(&mut reader), ["two"]);
    append(&moved, "three\n");
    append(&path, "four\n");
    assert_eq!(news(&mut reader), ["three", "four"]);
}

#[test]
fn a_file_that_comes_later_is_read_from_its_beginning() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let mut reader = LogReader::open(&path).unwrap();
    assert_eq!(news(&mut reader), [""; 0]);
    append(&path, "one\n");
    assert_eq!(news(&mut reader), ["one"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(news(&mut reader), [""; 0]);
    append(&path, "two\n");
    assert_eq!(news(&mut reader), ["two"]);
}
