//! A folder, a writer on it, and pipes into the writer.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tine::logs::{LogSettings, LogTrouble, LogWriter, Source, Stream};
use tine::spec::{LogSpec, Rotation};

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tine-log-tests-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(crate) fn settings(&self, change: impl FnOnce(&mut LogSpec)) -> LogSettings {
        let mut spec = LogSpec {
            out_file: Some(self.0.join("app-out.log")),
            error_file: Some(self.0.join("app-error.log")),
            merge: Some(false),
            ..LogSpec::default()
        };
        change(&mut spec);
        LogSettings::of("app", 4, &spec, &self.0)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A keeper may still be at work here: what it makes meanwhile is removed the next time.
        let tries = (0..1000).map(|_| fs::remove_dir_all(&self.0));
        tries.take_while(|_| self.0.exists()).for_each(drop);
    }
}

/// Nothing is removed, whatever comes.
pub(crate) fn keep_all(size: u64) -> Rotation {
    Rotation { size, age: None, keep: u32::MAX, compress: true, total: 0 }
}

pub(crate) fn writer(settings: LogSettings) -> (LogWriter, Receiver<LogTrouble>) {
    let (sender, troubles) = mpsc::channel();
    let report = move |trouble| drop(sender.send(trouble));
    (LogWriter::start(settings, report).expect("a thread"), troubles)
}

/// What a worker would write into.
pub(crate) fn pipe_of(writer: &LogWriter, id: u32, worker: u64, stream: Stream) -> File {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    writer.add(Source { id, worker, stream, fd: read });
    File::from(write)
}

/// Waits until all that was written so far is in its file.
pub(crate) fn settle(writer: &LogWriter) {
    let (sender, done) = mpsc::channel();
    writer.settle(move || sender.send(()).expect("somebody waits"));
    done.recv_timeout(PATIENCE).expect("the writer is at work");
}
