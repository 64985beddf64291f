//! What is typed for programs that read their standard input.

use super::shell::{Shell, wait_until};

const PYTHON: &str = "import sys\nfor line in sys.stdin: print('read', line.strip(), flush=True)\n\
                      print('the end', flush=True)\n";

#[test]
fn a_program_of_any_language_reads_the_lines_that_are_sent_to_it() {
    let shell = Shell::new();
    shell.write("app.py", PYTHON);
    shell.write("node.js", "process.stdin.on('data', text => console.log('read ' + text))");
    shell.ok("start app.py node.js --silent");
    let out = || shell.ok("logs --nostream --out --raw");
    shell.ok("send 0 good morning");
    shell.ok("send 1 --not an option");
    assert!(wait_until(|| out().contains("read good morning")), "{}", out());
    assert!(wait_until(|| out().contains("read --not an option")), "{}", out());
    assert!(!out().contains("the end"), "its input stays open");
}

#[test]
fn a_program_that_reads_nothing_holds_up_nobody() {
    let shell = Shell::new();
    shell.write("app.py", PYTHON);
    shell.ok("start --name deaf sleep --silent -- 1000");
    shell.ok("start app.py --silent");
    let line = "x".repeat(60_000);
    // The first one fits into the pipe, the second one does not.
    assert_eq!(shell.words(&["send", "0", &line]).code, 0);
    let said = shell.words(&["send", "0", &line]);
    assert!(said.code == 1 && said.err.contains("does not read"), "{said:?}");
    shell.ok("send 1 still here");
    assert!(wait_until(|| shell.ok("logs app --nostream --raw").contains("read still here")));
    let said = shell.words(&["send", "0", &"x".repeat(70_000)]);
    assert!(said.code == 1 && said.err.contains("longer than 65536 bytes"), "{said:?}");
    shell.ok("restart deaf --silent");
    shell.ok("send 0 anew");
    shell.ok("stop deaf --silent");
    assert!(shell.fails("send 0 hello").contains("worker 0 does not run"));
}
