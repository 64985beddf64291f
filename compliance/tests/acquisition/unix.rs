//! UNIX sockets.

use std::{
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixDatagram, UnixStream},
};

use compliance::{Who, free_port};
use rustix::process::Signal;

use crate::support::{each_answers_alone, pid, python, said, stop, unix, wait_ready};

/// As root, and as a user who owns nothing but the folder.
fn users() -> impl Iterator<Item = Who> {
    [Who::Root, Who::User].into_iter().filter(|who| who.missing().is_none())
}

#[test]
fn paths_are_shared_absolute_and_relative_and_gone_after_the_stop() {
    let script = "
os.makedirs('below', exist_ok=True)
os.chdir('below')
absolute = os.path.abspath('../absolute.sock')
local = socket.AF_UNIX
made = [listener(name, local) for name in ('relative.sock', absolute, '../up.sock')]
made.append(listener('quick.sock', local, blocking=False))
assert [on.getsockname() for on in made] == ['relative.sock', absolute, '../up.sock', 'quick.sock']
serve(*made)
";
    for who in users() {
        let mut tine = python("3", 0, &[], script).as_who(who).start();
        wait_ready(&mut tine, 3, 4);
        let folder = tine.folder().to_owned();
        let names = ["below/relative.sock", "absolute.sock", "up.sock", "below/quick.sock"];
        for name in names {
            each_answers_alone(&mut tine, || unix(&folder.join(name)));
        }
        tine.signal(Signal::INT);
        tine.wait_for(|line| line == "tine: app: stopped", "the stop");
        for name in names {
            assert!(!folder.join(name).exists(), "{name} is gone");
        }
        let left: Vec<_> = std::fs::read_dir(folder.join("below")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(tine.wait().code, Some(0));
    }
}

#[test]
fn a_path_is_relative_to_the_directory_that_the_app_runs_in() {
    // The folder is the app's by --cwd; tine itself runs above it.
    let script = "serve(listener('in-cwd.sock', socket.AF_UNIX))";
    let mut tine = python("2", 0, &["--cwd", "./.tine-cwd"], script)
        .folder(".tine-cwd", &["answering.py", "app.py"])
        .start();
    wait_ready(&mut tine, 2, 1);
    let path = tine.folder().join(".tine-cwd/in-cwd.sock");
    each_answers_alone(&mut tine, || unix(&path));
    stop(tine);
}

#[test]
fn programs_that_unlink_a_stale_path_first_all_stay_reachable() {
    let script = "
name = 'app.sock'
if os.path.exists(name):
    os.unlink(name)
on = listener(name, socket.AF_UNIX)
open('bound', 'w').close()
serve(on)
";
    // Left by somebody who died.
    let before = "import socket\nsocket.socket(socket.AF_UNIX).bind('app.sock')";
    let stale = format!(
        "import subprocess
if os.environ['TINE_INSTANCE'] == '0' and not os.path.exists('app.sock'):
    subprocess.run([sys.executable, '-c', {before:?}])
while os.environ['TINE_INSTANCE'] != '0' and not os.path.exists('bound'):
    select.select([], [], [], 0.01)
{script}"
    );
    for who in users() {
        let mut tine = python("3", 0, &[], &stale).as_who(who).start();
        wait_ready(&mut tine, 3, 1);
        let path = tine.folder().join("app.sock");
        each_answers_alone(&mut tine, || unix(&path));
        // So does the worker that comes after a crash.
        let killed = tine.pids()[0];
        tine.signal_worker(killed, Signal::KILL);
        wait_ready(&mut tine, 4, 1);
        each_answers_alone(&mut tine, || unix(&path));
        stop(tine);
    }
}

#[test]
fn a_stale_file_is_in_the_way_of_a_program_that_does_not_unlink() {
    let script = "
import errno, signal
if not os.path.exists('stale.sock'):
    open('stale.sock', 'w').close()
try:
    listener('stale.sock', socket.AF_UNIX)
    say('bound')
except OSError as error:
    say(errno.errorcode[error.errno])
signal.pause()
";
    let mut tine = python("2", 0, &[], script).start();
    said(&mut tine, 2, "EADDRINUSE");
    let path = tine.folder().join("stale.sock");
    assert!(path.exists(), "it is not tine's to remove");
    drop(tine);
}

#[test]
fn a_worker_that_unlinks_its_path_when_it_ends_leaves_the_others_reachable() {
    let script = "
import atexit, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
atexit.register(lambda: os.unlink('app.sock'))
on = listener('app.sock', socket.AF_UNIX)
threading.Thread(target=answer_all, args=(on,), daemon=True).start()
say('ready')
while True:
    signal.pause()
";
    let mut tine = python("3", 0, &[], script).start();
    wait_ready(&mut tine, 3, 1);
    let leaving = tine.pids()[0];
    tine.signal_worker(leaving, Signal::TERM);
    wait_ready(&mut tine, 4, 1);
    let path = tine.folder().join("app.sock");
    each_answers_alone(&mut tine, || unix(&path));
    stop(tine);
}

#[test]
fn abstract_names_datagrams_and_packets_are_shared() {
    let script = r"
name = f'\0tine-test-{PORT}'
packets, datagrams = socket.SOCK_SEQPACKET, socket.SOCK_DGRAM
local = socket.AF_UNIX
serve(listener(name, local), listener(name + 'p', local, packets),
      listener('letters.sock', local, datagrams), listener(name + 'd', local, datagrams))
";
    let port = free_port();
    let mut tine = python("2", port, &[], script).start();
    wait_ready(&mut tine, 2, 4);
    let name = |kind: &str| {
        SocketAddr::from_abstract_name(format!("tine-test-{port}{kind}")).expect("short")
    };
    each_answers_alone(&mut tine, || {
        let mut stream = UnixStream::connect_addr(&name(""))?;
        pid(&mut stream)
    });
    let letters = SocketAddr::from_pathname(tine.folder().join("letters.sock")).unwrap();
    for to in [letters, name("d")] {
        each_answers_alone(&mut tine, || datagram(&to));
    }
    stop(tine);
}

/// Who answers a datagram: the client needs a name to be answered at.
fn datagram(to: &SocketAddr) -> std::io::Result<u32> {
    let own = format!("tine-test-client-{}-{}", std::process::id(), free_port());
    let client = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(own)?)?;
    client.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    client.send_to_addr(b"who?", to)?;
    let mut answer = [0; 32];
    let length = client.recv(&mut answer)?;
    pid(&mut &answer[..length])
}
