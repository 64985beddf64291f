//! A disk without room.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use tine::logs::{LogTrouble, Stream};
use tine::spec::Rotation;

use crate::common::{Folder, PATIENCE, pipe_of, settle, writer};

/// A small file system; goes with its test.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "tine-log-test"], at).then_some(Self(at))
    }

    fn enlarge(&self) {
        assert!(run("mount", &["-o", "remount,size=64m"], self.0));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        run("umount", &["--lazy"], self.0);
    }
}

fn run(program: &str, arguments: &[&str], at: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_holds_up_its_app_alone_and_nothing_is_lost() {
    let (folder, other) = (Folder::new(), Folder::new());
    let Some(disk) = Disk::mount(&folder.0) else {
        return println!("SKIP: a file system cannot be mounted here (needs root)");
    };
    let rotation = Rotation { size: 0, ..Rotation::default() };
    let (held_up, troubles) = writer(folder.settings(|spec| spec.rotation = rotation));
    let mut pipe = pipe_of(&held_up, 0, 1, Stream::Out);
    let text: String = (0..300_000).map(|number| number.to_string() + ": a line\n").collect();
    let wanted = text.clone();
    let (sender, written) = mpsc::channel();
    let producer = thread::spawn(move || {
        pipe.write_all(text.as_bytes()).expect("the writer lives");
        sender.send(()).expect("somebody waits");
    });
    let full = troubles.recv_timeout(PATIENCE).expect("the disk becomes full");
    assert!(matches!(full, LogTrouble::Full { .. }), "{full:?}");

    // Another app writes elsewhere meanwhile; and who asks for last lines does not wait.
    let (free, _) = writer(other.settings(|_| {}));
    writeln!(pipe_of(&free, 0, 1, Stream::Out), "I am well").unwrap();
    settle(&free);
    assert_eq!(other.text("app-out-0.log"), "I am well\n");
    assert!(!held_up.last_lines(1, 3).is_empty());
    assert!(written.try_recv().is_err(), "the worker waits");

    disk.enlarge();
    written.recv_timeout(PATIENCE).expect("the worker goes on");
    producer.join().expect("it wrote all");
    held_up.close();
    assert!(fs::read_to_string(folder.0.join("app-out-0.log")).unwrap() == wanted);
    let told: Vec<LogTrouble> = troubles.try_iter().collect();
    assert!(matches!(told.as_slice(), [LogTrouble::Works { lost: 0, .. }]), "{told:?}");
}
