//! Errors are told as the kernel tells them: the same script runs bare and under tine.

use std::{path::PathBuf, process::Command};

use compliance::{Who, free_port, skip};

use crate::support::{python, said, stop, wait_ready};

/// Prints what each call gave, and the names that the sockets have.
const SCRIPT: &str = r"
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
REUSEADDR, REUSEPORT = ((socket.SOL_SOCKET, option, 1) for option in (2, 15))
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
open_ones = []
def told(call):
    try:
        call()
        return 'OK'
    except OSError as error:
        return errno.errorcode.get(error.errno, error)
def raw(made, address, length=None):
    length = len(address) if length is None else length
    done = libc.bind(made.fileno() if hasattr(made, 'fileno') else made, address, length)
    return 'OK' if done == 0 else errno.errorcode[ctypes.get_errno()]
def case(name, *wanted):
    words = []
    for family, kind, address, options, listens in wanted:
        made = socket.socket(family, kind)
        open_ones.append(made)
        for option in options:
            made.setsockopt(*option)
        words.append(told(lambda: made.bind(address)))
        if words[-1] == 'OK':
            words.append(str(made.getsockname()))
            if listens and kind == TCP:
                words.append(told(made.listen))
    say(name, *words)
    for made in open_ones:
        made.close()
    open_ones.clear()
def v4(ip='127.0.0.1', *options, kind=TCP, listens=True):
    return V4, kind, (ip, PORT), options, listens
def v6(ip='::1', *options, kind=TCP, listens=True):
    return V6, kind, (ip, PORT), options, listens

case('free', v4())
case('twice', v4(), v4())
case('twice with reuseaddr, listening', v4('127.0.0.1', REUSEADDR), v4('127.0.0.1', REUSEADDR))
def both(ip, name, first, second):
    pair = [socket.socket(), socket.socket()]
    for made, options in zip(pair, (first, second)):
        [made.setsockopt(*option) for option in options]
    binds = [told(lambda: made.bind((ip, PORT))) for made in pair]
    listens = [told(made.listen) for made in pair] if binds[1] == 'OK' else []
    pair[0].close()
    say(name, *binds, *listens, *[told(pair[1].listen) for _ in listens[:1]])
    pair[1].close()
both('127.0.0.11', 'both bound, then both listen', (REUSEADDR,), (REUSEADDR,))
both('127.0.0.12', 'the first without', (), (REUSEADDR,))
both('127.0.0.13', 'the second without', (REUSEADDR,), ())
both('127.0.0.14', 'the first with both options', (REUSEADDR, REUSEPORT), (REUSEADDR,))
both('127.0.0.15', 'the second with both options', (REUSEADDR,), (REUSEADDR, REUSEPORT))
both('127.0.0.16', 'both with both options', (REUSEADDR, REUSEPORT), (REUSEADDR, REUSEPORT))
case('twice with reuseport', v4('127.0.0.1', REUSEPORT), v4('127.0.0.1', REUSEPORT))
case('one with reuseport', v4('127.0.0.1', REUSEPORT), v4())
case('any, then one', v4('0.0.0.0'), v4())
case('one, then any', v4(), v4('0.0.0.0'))
case('two addresses', v4(), v4('127.0.0.2'))
case('any with reuseaddr, then one', v4('0.0.0.0', REUSEADDR), v4('127.0.0.1', REUSEADDR))
case('v4 any, then dual', v4('0.0.0.0'), v6('::', DUAL))
case('dual, then v4 any', v6('::', DUAL), v4('0.0.0.0'))
case('dual, then v4 one', v6('::', DUAL), v4())
case('v4 any and v6only', v4('0.0.0.0'), v6('::', V6ONLY))
case('v6only and v4 any', v6('::', V6ONLY), v4('0.0.0.0'))
case('v6 one and v6 any', v6(), v6('::', V6ONLY))
case('mapped, then v4', v6('::ffff:127.0.0.1', DUAL), v4())
case('mapped and v6only', v6('::ffff:127.0.0.1', V6ONLY))
case('udp twice', v4(kind=UDP), v4(kind=UDP))
case('udp any, then one', v4('0.0.0.0', kind=UDP), v4(kind=UDP))
case('udp and tcp', v4(kind=UDP), v4())
case('not here', v4('192.0.2.1'), v6('2001:db8::1'))
# An address that nobody else uses, whatever runs beside this.
OWN = f'127.{PORT >> 8}.{PORT & 255}.1'
case('low port', (V4, TCP, (OWN, 80), (), False), (V6, UDP, ('::1', 81), (), False))

made = socket.socket()
made.bind(('127.0.0.1', PORT))
say('bound twice', told(lambda: made.bind(('127.0.0.1', PORT))),
    told(lambda: made.bind(('127.0.0.2', PORT))), told(lambda: made.bind(('127.0.0.1', 0))),
    told(lambda: made.bind(('192.0.2.1', PORT))))
made.listen()
say('bound while listening', told(lambda: made.bind(('127.0.0.1', PORT))), told(made.listen))
made.close()
made = socket.socket()
made.bind(('127.0.0.1', 0))
say('bound to any, then to one', told(lambda: made.bind(('127.0.0.1', PORT))))
made.close()
made = socket.socket()
say('listen unbound', told(made.listen), made.getsockname()[1] != 0)
say('bound after that', told(lambda: made.bind(('127.0.0.1', PORT))))
made.close()
made = socket.socket(type=UDP)
made.bind(('127.0.0.1', PORT))
say('datagrams', told(made.listen))
made.close()

import struct
address = struct.pack('=H', V4) + struct.pack('!H', PORT) + bytes([127, 0, 0, 1]) + bytes(8)
long = struct.pack('=H', V6) + struct.pack('!HI', PORT, 0) + bytes(15) + b'\1' + bytes(4)
say('no socket', raw(99, address), raw(0, address), libc.listen(99, 1))
made = socket.socket()
say('short', raw(made, address[:8]), raw(made, address, 2), raw(made, address, 0),
    raw(made, None, 16), raw(made, address, 200))
say('wrong family', raw(made, long), raw(made, b'\1\0/tmp/x'), raw(made, b'\xff\0' + address[2:]))
made6 = socket.socket(V6)
say('v4 on v6', raw(made6, address), raw(made6, long[:24]), str(made6.getsockname()))
made.close(), made6.close()
local = socket.socket(socket.AF_UNIX)
say('inet on unix', raw(local, address))
local.close()
say('look-up', socket.getaddrinfo('127.0.0.1', PORT, type=TCP)[0][4])
";

/// What it prints without tine, as this user.
fn bare(script: &str, port: u16, who: Who) -> Vec<String> {
    let folder = Folder::new();
    std::fs::write(folder.0.join("answering.py"), include_str!("answering.py"))
        .expect("a new file");
    let script = format!("from answering import *\nPORT = int(os.environ['PORT'])\n{script}");
    let mut command = Command::new("setpriv");
    if who == Who::User && rustix::process::geteuid().is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    compliance::needs("python3");
    command.arg(who.find("python3").expect("whoever runs the tests has it"));
    command.args(["-c", &script]).current_dir(&folder.0).env("PORT", port.to_string());
    command.stdin(std::process::Stdio::null());
    let output = command.output().expect("setpriv and python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A folder of its own, open to all.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("tine-bare-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&path).expect("a new folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, open).expect("our own folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What it prints under tine, in one worker.
fn tended(
    script: &str,
    port: u16,
    (policy, who): (&str, Who),
    without: Option<&'static str>,
) -> Vec<String> {
    let script = format!("{script}\nimport signal\nsay('all said')\nsignal.pause()");
    let run = python("1", port, &["--policy", policy], &script).as_who(who);
    let mut tine = without.into_iter().fold(run, compliance::Run::without).start();
    said(&mut tine, 1, "all said");
    let exit = tine.stop();
    let lines = exit.stdout.lines().filter_map(|line| line.strip_prefix("app/0 | "));
    lines.filter(|line| *line != "all said").map(str::to_owned).collect()
}

pub(crate) fn same(script: &str, way: (&str, Who), without: Option<&'static str>) {
    let port = free_port();
    assert_eq!(tended(script, port, way, without), bare(script, port, way.1), "{way:?}");
}

#[test]
fn every_error_and_every_name_is_what_it_is_without_tine() {
    for way in crate::support::ways() {
        same(SCRIPT, way, None);
    }
}

#[test]
fn an_ordinary_program_of_a_root_manager_may_not_take_port_80() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    let script = "
os.setgid(65534)
os.setuid(65534)
for port in (80, 443, PORT):
    made = socket.socket()
    try:
        made.bind(('127.0.0.1', port))
        say(port == PORT, 'bound')
    except OSError as error:
        say(port, error.errno)
";
    same(script, ("rr", Who::Root), None);
    let serving = format!("{script}\nmade.listen()\nserve(made)");
    let port = free_port();
    let mut tine = python("2", port, &[], &serving).start();
    wait_ready(&mut tine, 2, 1);
    crate::support::all_answer(&mut tine, || crate::support::tcp(crate::support::V4, port));
    stop(tine);
}
