//! What stands in the files.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tine::logs::{LogWriter, Stream};
use tine::spec::LogType;

use crate::common::{Folder, pipe_of, settle, writer};

#[test]
fn each_worker_and_stream_has_its_file_and_both_are_in_the_combined_one() {
    let folder = Folder::new();
    let combined = folder.0.join("sub/all.log");
    let (writer, _) = writer(folder.settings(|spec| spec.combined_file = Some(combined)));
    let mut out = pipe_of(&writer, 3, 1, Stream::Out);
    let mut error = pipe_of(&writer, 3, 1, Stream::Error);
    out.write_all(b"one\n").unwrap();
    settle(&writer);
    error.write_all(b"two\nthr").unwrap();
    settle(&writer);
    out.write_all(b"four\n").unwrap();
    settle(&writer);
    drop((out, error));
    settle(&writer);
    assert_eq!(folder.text("app-out-3.log"), "one\nfour\n");
    assert_eq!(folder.text("app-error-3.log"), "two\nthr\n");
    assert_eq!(folder.text("sub/all-3.log"), "one\ntwo\nfour\nthr\n");
}

#[test]
fn files_are_there_before_anything_is_written_but_none_that_nobody_wants() {
    let folder = Folder::new();
    let (writer, _) = writer(folder.settings(|spec| spec.error_file = Some("/dev/null".into())));
    let _out = pipe_of(&writer, 0, 1, Stream::Out);
    let mut error = pipe_of(&writer, 0, 1, Stream::Error);
    error.write_all(b"oh\n").unwrap();
    settle(&writer);
    let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["app-out-0.log"]);
    let last = writer.last_lines(1, 5);
    assert_eq!(last.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["oh"]);
}

#[test]
fn json_and_timestamps_go_by_the_clock_of_the_writer_and_change_when_told() {
    let folder = Folder::new();
    let clock: fn() -> SystemTime = || UNIX_EPOCH + Duration::from_secs(1_795_385_465);
    let settings = folder.settings(|spec| spec.kind = LogType::Json);
    let writer = LogWriter::start_with_clock(settings, |_| {}, Box::new(clock)).unwrap();
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    out.write_all(b"echo\n").unwrap();
    settle(&writer);
    writer.configure(folder.settings(|spec| spec.date_format = Some("X".into())));
    out.write_all(b"hello\n").unwrap();
    settle(&writer);
    writer.configure(folder.settings(|spec| spec.date_format = Some("%!nonsense[".into())));
    out.write_all(b"still\n").unwrap();
    settle(&writer);
    let text = folder.text("app-out-0.log");
    let (first, rest) = text.split_once('\n').unwrap();
    let json = r#"{"message":"echo\n","timestamp":"2026-11-22T22:11:05.000Z","type":"out","process_id":0,"app_name":"app"}"#;
    assert_eq!(first, json);
    assert!(rest.starts_with("1795385465: hello\n") && rest.ends_with(": still\n"), "{rest}");
}

#[test]
fn flushed_files_are_empty_also_those_of_workers_that_are_gone() {
    let folder = Folder::new();
    let (writer, troubles) = writer(folder.settings(|_| {}));
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    out.write_all(b"one\n").unwrap();
    drop(out);
    let mut other = pipe_of(&writer, 1, 2, Stream::Out);
    other.write_all(b"two\n").unwrap();
    settle(&writer);
    assert_eq!([folder.text("app-out-0.log"), folder.text("app-out-1.log")], ["one\n", "two\n"]);
    writer.flush(vec![0]);
    settle(&writer);
    assert_eq!([folder.text("app-out-0.log"), folder.text("app-out-1.log")], ["", "two\n"]);
    writer.flush(vec![0, 1]);
    other.write_all(b"three\n").unwrap();
    settle(&writer);
    assert!(folder.text("app-out-1.log").is_empty() || folder.text("app-out-1.log") == "three\n");
    assert!(troubles.try_recv().is_err());
}

#[test]
fn files_that_logrotate_moved_are_made_anew_when_told() {
    let folder = Folder::new();
    let (writer, _) = writer(folder.settings(|_| {}));
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    out.write_all(b"one\n").unwrap();
    settle(&writer);
    fs::rename(folder.0.join("app-out-0.log"), folder.0.join("app-out-0.log.1")).unwrap();
    writer.reopen();
    out.write_all(b"two\n").unwrap();
    settle(&writer);
    assert_eq!(folder.text("app-out-0.log.1"), "one\n");
    assert_eq!(folder.text("app-out-0.log"), "two\n");
}

#[test]
fn what_the_pipes_hold_is_written_before_a_writer_is_closed() {
    let folder = Folder::new();
    let (writer, _) = writer(folder.settings(|_| {}));
    let mut out = pipe_of(&writer, 0, 1, Stream::Out);
    out.write_all(b"one\ntw").unwrap();
    writer.close();
    assert_eq!(folder.text("app-out-0.log"), "one\ntw\n");
}
