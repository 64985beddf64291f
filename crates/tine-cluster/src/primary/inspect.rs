//! A port for the inspector of each Node worker, as Node's own primary gives it.

use std::ffi::{OsStr, OsString};

use super::{Program, ProgramKind};

/// What Node takes when nothing is said.
const DEFAULT: u16 = 9229;
/// Where Node goes on when the ports are used up.
const LOWEST: u16 = 1024;

/// How many workers have got a port.
#[derive(Debug, Default)]
pub(super) struct Inspectors(u16);

impl Inspectors {
    /// The argument that tells a worker of this program its port; `None` if it is not inspected.
    pub(super) fn next(&mut self, program: &Program) -> Option<OsString> {
        if program.kind != ProgramKind::Node || !is_inspected(program) {
            return None;
        }
        let port = program.inspect_port.unwrap_or_else(|| {
            self.0 = self.0.wrapping_add(1);
            after(base(program), self.0)
        });
        Some(format!("--inspect-port={port}").into())
    }
}

/// Node's `kInspectArgRegex`, `/--inspect(?:-brk|-port)?|--debug-port/`, which also finds longer words.
fn asks_for_inspector(word: &str) -> bool {
    word.contains("--inspect") || word.contains("--debug-port")
}

fn is_inspected(program: &Program) -> bool {
    let options = program.env.iter().filter(|(name, _)| name == "NODE_OPTIONS");
    let options = options.map(|(_, value)| value);
    let mut words = program.exec_args.iter().chain(options).map(|word| word.to_string_lossy());
    words.any(|word| asks_for_inspector(&word))
}

/// The port in the arguments.
fn base(program: &Program) -> u16 {
    let words = program.exec_args.iter().filter_map(|word| OsStr::to_str(word));
    let mut values = words.filter(|word| asks_for_inspector(word)).filter_map(|word| {
        let (_, value) = word.split_once('=')?;
        value.rsplit(':').next()?.parse().ok()
    });
    values.next_back().unwrap_or(DEFAULT)
}

/// The port so many places behind the first.
fn after(base: u16, offset: u16) -> u16 {
    base.checked_add(offset).unwrap_or_else(|| base.wrapping_add(offset).saturating_add(LOWEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(exec_args: &[&str]) -> Program {
        let exec_args = exec_args.iter().map(Into::into).collect();
        Program { exec_args, env: Vec::new(), ..Program::node("/usr/bin/node", "app.js") }
    }

    #[test]
    fn each_worker_gets_the_next_port_after_the_primarys() {
        let mut inspectors = Inspectors::default();
        let ports = ["--inspect", "--inspect-brk=127.0.0.1:9400", "--inspect=65535"]
            .map(|arg| inspectors.next(&program(&[arg])).unwrap());
        assert_eq!(ports, ["--inspect-port=9230", "--inspect-port=9402", "--inspect-port=1026"]);
    }

    #[test]
    fn a_port_that_was_said_is_everybodys_and_no_inspector_wants_none() {
        let mut inspectors = Inspectors::default();
        let said = Program { inspect_port: Some(0), ..program(&["--inspect"]) };
        assert_eq!(inspectors.next(&said).unwrap(), "--inspect-port=0");
        assert_eq!(inspectors.next(&program(&["--enable-source-maps"])), None);
        let by_env = vec![("NODE_OPTIONS".into(), "--max-old-space-size=64 --inspect".into())];
        let inspected = Program { env: by_env, ..program(&[]) };
        assert_eq!(inspectors.next(&inspected).unwrap(), "--inspect-port=9230");
        let other = Program { kind: ProgramKind::Other, ..program(&["--inspect"]) };
        assert_eq!(inspectors.next(&other), None);
    }
}
