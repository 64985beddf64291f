//! The values of what is kept, written down for a manager that comes when nobody is left who keeps
//! anything: what the descriptors are it then finds in the workers.
//!
//! One file, readable by its owner only: a line that says of which boot it is, and a line for each thing
//! that is kept or forgotten. It outlives processes, not the machine, so nothing is synchronized. A thread
//! of its own writes: no cluster waits for a disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::daemon::{boot, say};

/// Of the file.
const VERSION: u32 = 1;
/// It is written anew when it is so much longer than it needs to be.
const SLACK: usize = 1 << 20;
/// In the place of its first byte: what follows is not to be read.
const NOT_VALID: &[u8] = b"#";
/// What could not be written is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
const STACK: usize = 128 << 10;

/// What is kept, by key.
pub(crate) type Values = BTreeMap<String, Vec<u8>>;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    boot: String,
}

impl Head {
    fn is_ours(&self) -> bool {
        self.version == VERSION && self.boot == boot()
    }
}

/// A key with its value in base64; without one it is forgotten.
type Line = (String, Option<String>);

enum Word {
    Line(Vec<u8>),
    /// Nobody is to read it any more.
    End(SyncSender<()>),
}

/// The way to the file.
#[derive(Debug)]
pub(super) struct Journal {
    words: Sender<Word>,
}

impl Journal {
    /// Begins with all that is kept, which `all` knows at any time.
    pub(super) fn begin(
        path: PathBuf,
        all: impl Fn() -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (words, heard) = channel();
        let writer = Writer { path, all: Box::new(all), file: None, room: 0, due: None };
        let thread = thread::Builder::new().name("journal".to_owned()).stack_size(STACK);
        thread.spawn(move || writer.run(&heard))?;
        Ok(Self { words })
    }

    pub(super) fn put(&self, key: &str, value: &[u8]) {
        let _ = self.words.send(Word::Line(line(key, Some(value))));
    }

    pub(super) fn forget(&self, key: &str) {
        let _ = self.words.send(Word::Line(line(key, None)));
    }

    /// Removes the file, and returns when that is done.
    pub(super) fn end(self) {
        let (done, ended) = sync_channel(0);
        if self.words.send(Word::End(done)).is_ok() {
            let _ = ended.recv();
        }
    }
}

/// Everything in a store, as the file has it.
pub(super) fn written(store: &Store) -> Vec<u8> {
    let head = Head { version: VERSION, boot: boot() };
    let mut text = serde_json::to_vec(&head).expect("it has a form in JSON");
    text.push(b'\n');
    for (key, item) in store.items() {
        text.extend(line(key, Some(&item.value)));
    }
    text
}

fn line(key: &str, value: Option<&[u8]>) -> Vec<u8> {
    let line: Line = (key.to_owned(), value.map(|value| BASE64_STANDARD.encode(value)));
    let mut line = serde_json::to_vec(&line).expect("it has a form in JSON");
    line.push(b'\n');
    line
}

struct Writer {
    path: PathBuf,
    all: Box<dyn Fn() -> Vec<u8> + Send>,
    file: Option<File>,
    /// So much is appended at the most.
    room: usize,
    /// When it is tried again, after it could not be written.
    due: Option<Instant>,
}

impl Writer {
    fn run(mut self, heard: &Receiver<Word>) {
        self.write(&[]);
        while let Some(word) = self.next(heard) {
            let mut text = Vec::new();
            for word in std::iter::once(word).chain(heard.try_iter()) {
                match word {
                    Word::Line(line) => text.extend(line),
                    Word::End(done) => {
                        let _ = fs::remove_file(&self.path);
                        let _ = done.send(());
                        return;
                    }
                }
            }
            self.write(&text);
        }
    }

    /// Nothing, when it is time to try again.
    fn next(&self, heard: &Receiver<Word>) -> Option<Word> {
        let Some(due) = self.due else { return heard.recv().ok() };
        match heard.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Timeout) => Some(Word::Line(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// A disk that is full is said once. A file that lacks something is worse than none; but the room that
    /// it takes is not given away, for it will be needed.
    fn write(&mut self, text: &[u8]) {
        let now = Instant::now();
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        if let Err(error) = self.append(text) {
            self.file = None;
            // Of a manager before, perhaps.
            let file = OpenOptions::new().write(true).open(&self.path);
            let _ = file.and_then(|file| file.write_all_at(NOT_VALID, 0));
            if self.due.replace(now + AGAIN).is_none() {
                say(&format!("{} cannot be written: {error}", self.path.display()));
            }
            return;
        }
        self.due = None;
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| text.len() <= self.room) {
            file.write_all(text)?;
            self.room -= text.len();
            return Ok(());
        }
        // All of the text is in it already.
        let all = (self.all)();
        self.file = Some(replaced(&self.path, &all)?);
        self.room = SLACK + 3 * all.len();
        Ok(())
    }
}

/// The file with this in it, to be appended to.
fn replaced(path: &Path, text: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    let result = file.write_all(text).and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result.map(|()| file)
}

/// Whether something is written down there, of this boot.
pub(crate) fn is_there(path: &Path) -> bool {
    let mut head = String::new();
    let read = File::open(path).map(BufReader::new).and_then(|mut it| it.read_line(&mut head));
    read.is_ok() && serde_json::from_str::<Head>(&head).is_ok_and(|head| head.is_ours())
}

/// Whether the list of apps that is there was written in this boot: who ends in good order takes it away.
pub(crate) fn is_list_of_this_boot(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct List {
        boot: String,
    }
    let list = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<List>(&bytes).ok());
    list.is_some_and(|list| list.boot == boot())
}

/// What is written down there; `None` if nothing is, or of another boot. A line that was not written to its
/// end is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Values>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let head = lines.next().and_then(|line| serde_json::from_slice::<Head>(line).ok());
    if !head.is_some_and(|head| head.is_ours()) {
        return Ok(None);
    }
    let mut values = Values::new();
    for line in lines {
        let (key, value): Line = serde_json::from_slice(line)?;
        match value {
            Some(value) => {
                let value = BASE64_STANDARD.decode(value).map_err(io::Error::other)?;
                values.insert(key, value);
            }
            None => drop(values.remove(&key)),
        }
    }
    Ok(Some(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::Item;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tine-journal-{name}-{}", std::process::id()))
    }

    fn store() -> Store {
        let mut store = Store::default();
        store.put("one", Item { value: b"\xff\0".to_vec(), ..Item::default() });
        store
    }

    /// It is written by and by.
    fn until(path: &Path, is_so: impl Fn(&Values) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !read(path).unwrap().is_some_and(|values| is_so(&values)) {
            assert!(Instant::now() < deadline, "{:?}", read(path));
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_written_down_is_what_is_kept_until_it_is_removed() {
        let path = path("whole");
        let journal = Journal::begin(path.clone(), || written(&store())).unwrap();
        journal.put("two", b"2");
        journal.put("three", b"3");
        journal.forget("three");
        journal.put("last", b"");
        until(&path, |values| values.contains_key("last"));
        let values = read(&path).unwrap().unwrap();
        let expected: [(&str, &[u8]); 3] = [("last", b""), ("one", b"\xff\0"), ("two", b"2")];
        assert!(values.iter().map(|(key, value)| (&**key, &**value)).eq(expected));
        journal.end();
        assert!(read(&path).unwrap().is_none());
    }

    #[test]
    fn a_line_that_was_cut_off_is_none_and_another_boot_is_another_machine() {
        let path = path("cut");
        let mut text = written(&store());
        text.extend(&line("two", Some(b"2"))[..7]);
        fs::write(&path, &text).unwrap();
        assert!(read(&path).unwrap().unwrap().keys().eq(["one"]) && is_there(&path));
        let other = String::from_utf8(text).unwrap().replace(&boot(), "other");
        fs::write(&path, &other).unwrap();
        assert!(read(&path).unwrap().is_none() && !is_there(&path));
        fs::write(&path, other.replacen('{', "#", 1)).unwrap();
        assert!(read(&path).unwrap().is_none() && !is_there(&path));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let path = path("growing");
        let journal = Journal::begin(path.clone(), || written(&store())).unwrap();
        let value = vec![b'x'; SLACK / 2];
        for _ in 0..20 {
            journal.put("two", &value);
        }
        let deadline = Instant::now() + Duration::from_secs(40);
        // That store knows nothing of it.
        while read(&path).unwrap().is_none_or(|values| values.contains_key("two"))
            || fs::metadata(&path).unwrap().len() > 2 * SLACK as u64
        {
            journal.put("two", &value);
            journal.forget("two");
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        journal.end();
    }
}
