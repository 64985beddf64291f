use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use rustix::process::Signal;
use tine_cluster::policy::{Abilities, Policy};

use super::*;
use crate::spec::Millis;

/// A directory of one test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tine-launch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a program there that is found like any other, whatever this machine has.
    fn program(&self, name: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.0.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn place() -> Placement {
    let abilities = Abilities { ebpf: false };
    let ground = Ground { abilities, can_trap_binds: true, file_limit: Some((10, 20)) };
    Placement { ground, home: "/h".into(), umask: 0o022 }
}

fn app(directory: &Path, script: &str) -> AppSpec {
    fs::write(directory.join(script), "").unwrap();
    AppSpec {
        name: "api".to_owned(),
        script: script.to_owned(),
        cwd: directory.to_owned(),
        ..AppSpec::default()
    }
}

fn launched(spec: &AppSpec) -> Launch {
    settings(spec, &place()).unwrap()
}

fn refused(spec: &AppSpec) -> String {
    settings(spec, &place()).unwrap_err().to_string()
}

fn variable(launch: &Launch, name: &str) -> Option<String> {
    let env = &launch.settings.program.env;
    let found = env.iter().find(|(known, _)| known == name)?;
    Some(found.1.to_string_lossy().into_owned())
}

#[test]
fn a_node_script_speaks_nodes_protocol_and_its_arguments_are_in_their_places() {
    let directory = Directory::new("node");
    let mut spec = app(&directory.0, "server.js");
    spec.interpreter_args = vec!["--max-old-space-size=64".to_owned()];
    spec.args = vec!["--verbose".to_owned()];
    fs::write(directory.0.join("package.json"), r#"{"version":"3.1.4"}"#).unwrap();
    let launch = launched(&spec);
    let program = &launch.settings.program;
    assert_eq!(program.kind, ProgramKind::Node);
    assert_eq!(program.exec_args, ["--max-old-space-size=64"]);
    assert_eq!(program.args, ["server.js", "--verbose"]);
    assert_eq!(launch.node.as_ref(), Some(&program.file));
    assert_eq!(launch.exec_path, directory.0.join("server.js"));
    assert_eq!((launch.interpreter.as_str(), launch.version.as_deref()), ("node", Some("3.1.4")));
}

#[test]
fn python_writes_its_lines_at_once_unless_it_was_told_otherwise() {
    let directory = Directory::new("python");
    let mut spec = app(&directory.0, "server.py");
    spec.inherited.insert("PATH".to_owned(), directory.program("python3"));
    assert_eq!(variable(&launched(&spec), "PYTHONUNBUFFERED").as_deref(), Some("1"));
    spec.env.insert("PYTHONUNBUFFERED".to_owned(), String::new());
    let launch = launched(&spec);
    assert_eq!(variable(&launch, "PYTHONUNBUFFERED").as_deref(), Some(""));
    assert_eq!((launch.interpreter.as_str(), launch.node), ("python3", None));
}

#[test]
fn the_interpreter_is_looked_for_in_the_path_of_the_app() {
    let directory = Directory::new("path");
    let mut spec = app(&directory.0, "server.py");
    spec.inherited.insert("PATH".to_owned(), directory.program("python3"));
    assert!(settings(&spec, &place()).is_ok());
    spec.env.insert("PATH".to_owned(), "/nowhere".to_owned());
    assert_eq!(
        refused(&spec),
        "`server.py` needs `python3`, which is not in PATH; install it, or name another one with \
         --interpreter"
    );
}

#[test]
fn what_the_spec_says_arrives_in_the_settings() {
    let directory = Directory::new("keys");
    let mut spec = app(&directory.0, "server.sh");
    spec.instances = Instances::Count(3);
    spec.policy = Policy::Sticky;
    spec.kill_signal = "TERM".to_owned();
    spec.kill_timeout = Millis(5);
    spec.drain_timeout = Millis(6);
    spec.min_uptime = Millis(7);
    spec.exp_backoff_restart_delay = Millis(8);
    spec.max_restarts = 9;
    spec.autorestart = false;
    spec.shutdown_with_message = true;
    spec.treekill = false;
    (spec.umask, spec.nice) = (Some(0o27), Some(5));
    spec.stop_exit_codes = vec![3];
    spec.restart_delay = Some(Millis(10));
    spec.wait_ready = true;
    spec.listen_timeout = Some(Millis(11));
    spec.private_ports = vec![9229];
    spec.listen = vec!["127.0.0.1:8003".parse().unwrap()];
    let found = launched(&spec).settings;
    let ms = Duration::from_millis;
    assert_eq!((found.instances, found.policy), (3, Policy::Sticky));
    assert_eq!((found.stop_signal, found.patience.kill), (Signal::TERM, ms(5)));
    assert_eq!((found.patience.drain, found.limits.min_uptime), (ms(6), ms(7)));
    assert_eq!((found.limits.first, found.limits.max_restarts), (ms(8), 9));
    assert!(found.private_ports.contains(&9229));
    assert!(!found.restart.automatic && found.restart.stop_exit_codes.contains(&3));
    assert_eq!(found.restart.delay, Delay::Fixed(ms(10)));
    assert_eq!((found.wait_ready, found.ready_timeout), (true, Some(ms(11))));
    assert!(found.lives_on && found.stop_by_message && !found.stop_tree);
    assert_eq!((found.program.umask, found.program.nice), (Some(0o27), Some(5)));
    assert_eq!((found.listen, found.file_limit), (spec.listen, Some((10, 20))));
}

#[test]
fn as_many_instances_as_cpus_but_some_are_at_least_one() {
    let cpus = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    assert_eq!(count(Instances::AllBut(0)).unwrap(), cpus);
    assert_eq!(count(Instances::AllBut(100_000)).unwrap(), 1);
    assert_eq!(count(Instances::Count(0)).unwrap(), 0);
    assert!(matches!(count(Instances::Count(4097)), Err(LaunchError::TooMany(4097))));
}

#[test]
fn what_is_wrong_is_said_before_anything_starts() {
    let directory = Directory::new("wrong");
    let good = app(&directory.0, "server.sh");
    let wrong = |change: &dyn Fn(&mut AppSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        refused(&spec)
    };
    let error = wrong(&|spec| spec.script = "missing.js".to_owned());
    assert!(error.starts_with("`missing.js` is neither a file in"), "{error}");
    let error = wrong(&|spec| spec.cwd = "/no/where".into());
    assert_eq!(error, "the working directory `/no/where` cannot be entered");
    let error = wrong(&|spec| spec.kill_signal = "SIGSTRANGE".to_owned());
    assert_eq!(error, "`SIGSTRANGE` is no signal; write SIGTERM, TERM or 15");
    let error = wrong(&|spec| spec.user = Some("no-such-user".to_owned()));
    assert!(error.contains("no user `no-such-user`"), "{error}");
    let error = wrong(&|spec| spec.env_file = vec!["missing.env".into()]);
    assert!(error.contains("missing.env` cannot be read"), "{error}");
}
