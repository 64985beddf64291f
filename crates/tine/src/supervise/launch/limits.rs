//! What an app may use, and how it counts its instances.

use thiserror::Error;
use tine_cluster::primary::{CgroupLimits, Program, Resource};

use crate::spec::AppSpec;

/// A limit that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// No resource has this name.
    #[error("`{0}` is no limit of setrlimit(2); there are {all}", all = names())]
    Unknown(String),
    /// The softer one is the harder one.
    #[error("the soft limit of `{0}` is higher than the hard one")]
    Order(String),
    /// Out of range.
    #[error("`nice` is -20 to 19, not {0}")]
    Nice(i32),
    /// Bits that a mask has not got.
    #[error("`umask` is 0 to 777 (octal), not {0:o}")]
    Umask(u32),
}

/// As in setrlimit(2), without `RLIMIT_`.
const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

fn names() -> String {
    RESOURCES.map(|(name, _)| name).join(", ")
}

/// Sets all of them.
///
/// # Errors
///
/// With the first that makes no sense.
pub(super) fn apply(spec: &AppSpec, to: &mut Program) -> Result<(), LimitError> {
    if let Some(nice) = spec.nice.filter(|nice| !(-20..=19).contains(nice)) {
        return Err(LimitError::Nice(nice));
    }
    if let Some(mask) = spec.umask.filter(|mask| *mask > 0o777) {
        return Err(LimitError::Umask(mask));
    }
    to.nice = spec.nice;
    to.umask = spec.umask;
    to.rlimits = rlimits(spec)?;
    to.cgroup_limits = CgroupLimits {
        memory_max: spec.limits.memory,
        cpu_max: spec.limits.cpu,
        pids_max: spec.limits.pids.map(u64::from),
    };
    to.instance_var = Some(spec.instance_var.clone().into());
    to.increment_var = spec.increment_var.as_ref().map(Into::into);
    Ok(())
}

/// A resource with its soft and its hard limit.
type Limit = (Resource, Option<u64>, Option<u64>);

fn rlimits(spec: &AppSpec) -> Result<Vec<Limit>, LimitError> {
    let one = |(name, limit): (&String, &crate::spec::Rlimit)| {
        let known = RESOURCES.iter().find(|(known, _)| known == name);
        let (_, resource) = known.ok_or_else(|| LimitError::Unknown(name.clone()))?;
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        if number(limit.soft) > number(limit.hard) {
            return Err(LimitError::Order(name.clone()));
        }
        Ok((*resource, limit.soft, limit.hard))
    };
    spec.rlimits.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Limits, Rlimit};

    fn applied(change: impl FnOnce(&mut AppSpec)) -> Result<Program, LimitError> {
        let (mut spec, mut program) = (AppSpec::default(), Program::new("/bin/true"));
        change(&mut spec);
        apply(&spec, &mut program).map(|()| program)
    }

    #[test]
    fn every_limit_arrives_where_it_belongs() {
        let program = applied(|spec| {
            let limit = Rlimit { soft: Some(10), hard: None };
            spec.rlimits.insert("nofile".to_owned(), limit);
            spec.limits = Limits { memory: Some(1), cpu: Some(2), pids: Some(3) };
            spec.instance_var = "N".to_owned();
            spec.increment_var = Some("PORT".to_owned());
        });
        let program = program.unwrap();
        assert_eq!(program.rlimits, [(Resource::Nofile, Some(10), None)]);
        let expected = CgroupLimits { memory_max: Some(1), cpu_max: Some(2), pids_max: Some(3) };
        assert_eq!(program.cgroup_limits, expected);
        assert_eq!(program.instance_var, Some("N".into()));
        assert_eq!(program.increment_var, Some("PORT".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let limit = |name: &str, soft, hard| {
            let name = name.to_owned();
            let refused = applied(|spec| spec.rlimits = [(name, Rlimit { soft, hard })].into());
            refused.unwrap_err().to_string()
        };
        assert!(limit("files", None, None).contains("there are as, core,"));
        assert!(limit("nofile", None, Some(5)).contains("higher than the hard one"));
        assert_eq!(applied(|spec| spec.nice = Some(20)).unwrap_err(), LimitError::Nice(20));
        let error = applied(|spec| spec.umask = Some(0o1000)).unwrap_err();
        assert!(error.to_string().ends_with("not 1000"), "{error}");
    }
}
