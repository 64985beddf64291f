//! The environment of an app's workers, as far as it is the same for all of them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use tine_linux::account::Account;

use super::dotenv;
use crate::spec::{AppSpec, Filter};

/// A file of variables that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvFileError {
    /// It cannot be read.
    #[error("the environment file `{}` cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is no `NAME=value`.
    #[error("the environment file `{}` cannot be understood", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: dotenv::Malformed,
    },
}

/// What stays of the inherited environment when nothing is asked to stay: no program of a login would
/// run without it.
const ALWAYS: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "TMPDIR"];

/// Puts it together; what comes later goes before: the inherited one, what `account` means, what tells
/// a program where it is, the app's files, its own variables, its port.
///
/// # Errors
///
/// When a file cannot be used.
pub(super) fn compose(
    spec: &AppSpec,
    account: Option<&Account>,
    home: &Path,
) -> Result<Vec<(OsString, OsString)>, EnvFileError> {
    let mut all = BTreeMap::new();
    let inherited = spec.inherited.iter().filter(|(name, _)| passes(name, &spec.filter_env));
    all.extend(inherited.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    all.extend(account.into_iter().flat_map(of_account));
    all.extend(of_manager(spec, home));
    all.entry("PM2_HOME".into()).or_insert_with(|| home.into());
    for path in &spec.env_file {
        all.extend(of_file(&spec.cwd.join(path))?);
    }
    all.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
    all.extend(spec.port.map(|port| ("PORT".into(), port.to_string().into())));
    Ok(all.into_iter().collect())
}

/// Whether workers get this inherited variable.
#[must_use]
pub fn passes(name: &str, filter: &Filter) -> bool {
    match filter {
        Filter::Nothing => true,
        Filter::All => ALWAYS.contains(&name) || name.starts_with("LC_"),
        Filter::Prefixes(prefixes) => !prefixes.iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// As login(1) would set it.
fn of_account(account: &Account) -> [(OsString, OsString); 4] {
    [
        ("HOME".into(), account.home.clone().into()),
        ("USER".into(), account.name.clone()),
        ("LOGNAME".into(), account.name.clone()),
        ("SHELL".into(), account.shell.clone().into()),
    ]
}

/// Where the program runs: `name` and `namespace` are what pm2 gives, as `PM2_HOME`, by which programs
/// tell that somebody looks after them; the others are for commands of `tine` that a worker runs.
fn of_manager(spec: &AppSpec, home: &Path) -> [(OsString, OsString); 4] {
    [
        ("name".into(), spec.name.clone().into()),
        ("namespace".into(), spec.namespace.clone().into()),
        ("TINE_APP".into(), spec.name.clone().into()),
        ("TINE_HOME".into(), home.into()),
    ]
}

fn of_file(path: &Path) -> Result<Vec<(OsString, OsString)>, EnvFileError> {
    let text = fs::read_to_string(path)
        .map_err(|source| EnvFileError::Unreadable { path: path.to_owned(), source })?;
    let variables = dotenv::parse(&text)
        .map_err(|source| EnvFileError::Malformed { path: path.to_owned(), source })?;
    Ok(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Gid, Uid};

    use super::*;

    fn value(all: &[(OsString, OsString)], name: &str) -> Option<String> {
        let found = all.iter().find(|(known, _)| known == name)?;
        Some(found.1.to_string_lossy().into_owned())
    }

    fn app(pairs: &[(&str, &str)]) -> AppSpec {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let inherited = pairs.iter().map(own).collect();
        AppSpec { name: "api".to_owned(), inherited, ..AppSpec::default() }
    }

    #[test]
    fn what_is_nearer_to_the_app_goes_before_what_is_farther() {
        let file = std::env::temp_dir().join(format!("tine-env-{}", std::process::id()));
        fs::write(&file, "A=file\nB=file\nC=file\n").unwrap();
        let mut spec = app(&[("A", "inherited"), ("X", "inherited"), ("name", "outer")]);
        spec.env_file = vec![file.clone()];
        spec.env.insert("A".to_owned(), "own".to_owned());
        spec.env.insert("PORT".to_owned(), "1".to_owned());
        spec.port = Some(8003);
        let all = compose(&spec, None, Path::new("/h")).unwrap();
        for (name, expected) in [
            ("A", "own"),
            ("B", "file"),
            ("X", "inherited"),
            ("name", "api"),
            ("TINE_HOME", "/h"),
            ("PM2_HOME", "/h"),
            ("PORT", "8003"),
        ] {
            assert_eq!(value(&all, name).as_deref(), Some(expected), "{name}");
        }
        fs::remove_file(&file).unwrap();
        let error = compose(&spec, None, Path::new("/h")).unwrap_err();
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    }

    #[test]
    fn the_filter_keeps_inherited_variables_away_but_not_those_of_the_app() {
        let mut spec = app(&[("SECRET_A", "1"), ("SECRETARY", "1"), ("PATH", "/bin"), ("B", "1")]);
        spec.env.insert("SECRET_B".to_owned(), "1".to_owned());
        spec.filter_env = Filter::Prefixes(vec!["SECRET_".to_owned()]);
        let all = compose(&spec, None, Path::new("/h")).unwrap();
        let there = |name| value(&all, name).is_some();
        assert!(!there("SECRET_A") && there("SECRETARY") && there("SECRET_B") && there("B"));
        spec.filter_env = Filter::All;
        let all = compose(&spec, None, Path::new("/h")).unwrap();
        let there = |name| value(&all, name).is_some();
        assert!(there("PATH") && !there("B") && there("SECRET_B"));
    }

    #[test]
    fn another_user_has_a_home_of_its_own_unless_the_app_says_which() {
        let account = Account {
            name: "web".into(),
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            home: "/srv/web".into(),
            shell: "/bin/sh".into(),
        };
        let mut spec = app(&[("HOME", "/root"), ("USER", "root")]);
        let all = compose(&spec, Some(&account), Path::new("/h")).unwrap();
        assert_eq!(value(&all, "HOME").as_deref(), Some("/srv/web"));
        assert_eq!(value(&all, "USER").as_deref(), Some("web"));
        spec.env.insert("HOME".to_owned(), "/elsewhere".to_owned());
        let all = compose(&spec, Some(&account), Path::new("/h")).unwrap();
        assert_eq!(value(&all, "HOME").as_deref(), Some("/elsewhere"));
    }
}
