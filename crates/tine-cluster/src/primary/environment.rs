//! The variables of a worker: its program's, and what it is told in ours.

use std::{
    ffi::{OsStr, OsString},
    os::unix::net::UnixStream,
};

use super::{
    settings::{Program, ProgramKind},
    start::Start,
    worker::MARK,
};
use crate::id::Instance;

/// `sd_listen_fds(3)`: the first passed socket.
pub(super) const FIRST_LISTEN_FD: u32 = 3;
/// Where programs look for their instance, if they were not told another name.
const INSTANCE: &str = "NODE_APP_INSTANCE";

/// Variables that mean something to a worker only if its own manager set them.
const OWN: [&str; 11] = [
    MARK,
    "TINE_INSTANCE",
    "TINE_CHANNEL_FD",
    INSTANCE,
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
];

/// A name and its value.
type Variable = (OsString, OsString);

/// All variables of the worker.
pub(super) fn of(start: &Start<'_>, channel: &UnixStream, declared: usize) -> Vec<Variable> {
    let mut all = told(start, channel, declared);
    if let Some(instance) = start.instance.filled() {
        all.extend(numbered(start.program, instance));
    }
    let is_own =
        |name: &OsStr| OWN.iter().any(|own| name == *own) || all.iter().any(|(own, _)| name == own);
    let programs = start.program.env.iter().filter(|(name, _)| !is_own(name));
    let programs: Vec<Variable> = programs.cloned().collect();
    all.extend(programs);
    all
}

/// What the worker has to know of its channel and its sockets.
fn told(start: &Start<'_>, channel: &UnixStream, declared: usize) -> Vec<Variable> {
    let channel = channel_value(channel, declared);
    let mut all = vec![(MARK, start.mark.clone())];
    match start.program.kind {
        ProgramKind::Node => all.extend([
            ("NODE_CHANNEL_FD", channel.split(':').take(1).collect()),
            ("NODE_CHANNEL_SERIALIZATION_MODE", "json".to_owned()),
            ("NODE_UNIQUE_ID", start.id.to_string()),
        ]),
        ProgramKind::Other => all.push(("TINE_CHANNEL_FD", channel)),
    }
    if declared > 0 {
        all.push(("LISTEN_FDS", declared.to_string()));
    }
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// What differs from instance to instance.
fn numbered(program: &Program, instance: Instance) -> Vec<Variable> {
    let number = OsString::from(instance.to_string());
    let name = program.instance_var.clone().unwrap_or_else(|| INSTANCE.into());
    let mut all = vec![("TINE_INSTANCE".into(), number.clone()), (name, number)];
    all.extend(incremented(program, instance));
    let is_known = |name: &OsString| all.iter().any(|(known, _)| known == name);
    let own = program.instance_env.get(&instance).into_iter().flatten();
    let own: Vec<Variable> = own.filter(|(name, _)| !is_known(name)).cloned().collect();
    all.extend(own);
    all
}

/// A number that counts up; what is no number is left alone.
fn incremented(program: &Program, instance: Instance) -> Option<Variable> {
    let name = program.increment_var.as_ref()?;
    let (_, base) = program.env.iter().rfind(|(known, _)| known == name)?;
    let base: i64 = base.to_str()?.trim().parse().ok()?;
    let value = base.checked_add(instance.0.into())?;
    Some((name.clone(), value.to_string().into()))
}

/// The number of the channel and, so that a worker's own children mistake nothing for it, its inode.
fn channel_value(channel: &UnixStream, declared: usize) -> String {
    let place = channel_place(declared);
    rustix::fs::fstat(channel)
        .map_or_else(|_| place.to_string(), |stat| format!("{place}:{}", stat.st_ino))
}

/// Behind the declared sockets.
pub(super) fn channel_place(declared: usize) -> u32 {
    FIRST_LISTEN_FD.saturating_add(u32::try_from(declared).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(program: &Program, instance: u32) -> Vec<(String, String)> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (id, instance) = (crate::id::WorkerId(9), Instance(instance));
        let start = Start { id, instance, mark: "9".to_owned(), program, inspect: None };
        let text = |text: OsString| text.into_string().unwrap();
        of(&start, &ours, 0).into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn values<'a>(all: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        let found = all.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    fn program(env: &[(&str, &str)]) -> Program {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Program { env, ..Program::new("/bin/true") }
    }

    #[test]
    fn the_instance_is_told_under_the_name_that_was_asked_for() {
        let plain = variables(&program(&[("NODE_APP_INSTANCE", "7"), ("A", "b")]), 2);
        assert_eq!(values(&plain, "NODE_APP_INSTANCE"), ["2"]);
        assert_eq!((values(&plain, "A"), values(&plain, "TINE_INSTANCE")), (vec!["b"], vec!["2"]));
        let program = Program { instance_var: Some("NR".into()), ..program(&[("NR", "7")]) };
        let named = variables(&program, 2);
        assert_eq!(
            (values(&named, "NR"), values(&named, "NODE_APP_INSTANCE")),
            (vec!["2"], vec![])
        );
    }

    #[test]
    fn a_variable_counts_up_from_what_it_was() {
        let env = [("PORT", "1"), ("PORT", "8000"), ("NAME", "x")];
        let port = Program { increment_var: Some("PORT".into()), ..program(&env) };
        assert_eq!(values(&variables(&port, 0), "PORT"), ["8000"]);
        assert_eq!(values(&variables(&port, 3), "PORT"), ["8003"]);
        let name = Program { increment_var: Some("NAME".into()), ..program(&env) };
        assert_eq!(values(&variables(&name, 3), "NAME"), ["x"]);
        let none = Program { increment_var: Some("NONE".into()), ..program(&env) };
        assert!(values(&variables(&none, 3), "NONE").is_empty());
    }

    #[test]
    fn an_instance_has_variables_of_its_own() {
        let own =
            [(Instance(1), vec![("ID".into(), "7".into()), ("TINE_INSTANCE".into(), "9".into())])];
        let program = Program { instance_env: own.into(), ..program(&[("ID", "0"), ("A", "b")]) };
        let all = variables(&program, 1);
        assert_eq!((values(&all, "ID"), values(&all, "A")), (vec!["7"], vec!["b"]));
        assert_eq!(values(&all, "TINE_INSTANCE"), ["1"], "that is ours to tell");
        assert_eq!(values(&variables(&program, 0), "ID"), ["0"]);
    }

    #[test]
    fn a_worker_that_fills_no_instance_is_told_of_none() {
        let port = Program { increment_var: Some("PORT".into()), ..program(&[("PORT", "8000")]) };
        let turn = Instance::turn_of(crate::id::WorkerId(9)).0;
        let all = variables(&port, turn);
        assert_eq!(values(&all, "PORT"), ["8000"]);
        assert!(values(&all, "TINE_INSTANCE").is_empty());
    }
}
