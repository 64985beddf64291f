//! Programs behind others; the hello servers' matrix has `sh -c`, `npm start` and pre-forking servers.

use std::process::Command;

use compliance::{Tine, Who, free_port, skip};

use crate::support::{V4, all_answer, stop, tcp, wait_ready};

#[test]
fn a_script_of_a_virtual_environment_shares_its_port() {
    let Some(python) = Who::User.find("python3") else { return skip("no python3 here") };
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("tine-venv-{port}"));
    let mut made = Command::new(python);
    let made = made.args(["-m", "venv", "--without-pip"]).arg(folder.join("env"));
    let made = made.output().expect("python3 runs");
    if !made.status.success() {
        return skip("this python3 makes no virtual environments");
    }
    let script = "#!./env/bin/python3
from answering import *
assert sys.prefix != sys.base_prefix
serve(listener(('127.0.0.1', int(os.environ['PORT']))))
";
    let env = format!("PORT={port}");
    let args = ["-i", "2", "--name", "app", "--env", &env, "--", "./serve"];
    let run = Tine::run(args).file("answering.py", include_str!("answering.py"));
    let mut tine = run.file("serve", script).copy(folder.join("env")).start();
    std::fs::remove_dir_all(&folder).expect("our own folder");
    wait_ready(&mut tine, 2, 1);
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}
