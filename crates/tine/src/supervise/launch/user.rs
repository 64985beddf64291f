//! As whom an app runs.

use std::io;

use rustix::process::{Gid, Uid, getegid, geteuid};
use thiserror::Error;
use tine_cluster::primary::User;
use tine_linux::{
    account::{self, Account},
    foreign,
};

/// Why the app cannot run as it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UserError {
    /// Neither a name nor a number.
    #[error("there is no user `{0}` on this machine; `getent passwd` lists all")]
    NoUser(String),
    /// The same for a group.
    #[error("there is no group `{0}` on this machine; `getent group` lists all")]
    NoGroup(String),
    /// A number that no account has, without a group.
    #[error("user {0} has no account and so no group of its own; name a group (`gid`) as well")]
    NoAccount(u32),
    /// The manager may not become somebody else.
    #[error(
        "a manager that runs as user {own} cannot start a program as user {wanted}; run the manager as \
         root"
    )]
    NotPermitted {
        /// The manager.
        own: u32,
        /// The app.
        wanted: u32,
    },
    /// The databases of users failed.
    #[error("look up `{name}` among the users and groups")]
    LookUp {
        /// What was looked up.
        name: String,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

/// Somebody else than the manager.
#[derive(Clone, Debug)]
pub(super) struct RunAs {
    /// In numbers, with all groups.
    pub(super) user: User,
    /// `None` for a number without an account.
    pub(super) account: Option<Account>,
}

/// Who this process is, and whether it can be somebody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) may_change: bool,
}

impl Own {
    pub(super) fn look() -> Self {
        const CAP_SETUID: u32 = 7;
        const CAP_SETGID: u32 = 6;
        let own = rustix::process::getpid();
        let may = |number| foreign::has_capability(own, number).unwrap_or(false);
        Self { uid: geteuid(), gid: getegid(), may_change: may(CAP_SETUID) && may(CAP_SETGID) }
    }
}

/// Finds out as whom the app is to run; `None`: as the manager.
///
/// # Errors
///
/// When there is nobody of that name, or the manager may not become that user.
pub(super) fn run_as(
    user: Option<&str>,
    group: Option<&str>,
    own: Own,
) -> Result<Option<RunAs>, UserError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let (uid, account) = match user {
        Some(word) => find_user(word)?,
        None => (own.uid, account_of(own.uid)?),
    };
    let group = group.map(find_group).transpose()?;
    let usual = account.as_ref().map(|account| account.gid);
    let gid = group.or(usual).ok_or(UserError::NoAccount(uid.as_raw()))?;
    if own.may_change {
        let groups = groups(account.as_ref(), gid)?;
        return Ok(Some(RunAs { user: User { uid, gid, groups }, account }));
    }
    if (uid, gid) == (own.uid, own.gid) {
        return Ok(None);
    }
    Err(UserError::NotPermitted { own: own.uid.as_raw(), wanted: uid.as_raw() })
}

/// A name goes before a number, as for chown(1).
fn find_user(word: &str) -> Result<(Uid, Option<Account>), UserError> {
    let named = account::account_of_name(word).map_err(look_up(word))?;
    if let Some(account) = named {
        return Ok((account.uid, Some(account)));
    }
    let uid = word.parse().map_err(|_| UserError::NoUser(word.to_owned()))?;
    let uid = Uid::from_raw(uid);
    Ok((uid, account_of(uid)?))
}

fn account_of(uid: Uid) -> Result<Option<Account>, UserError> {
    account::account_of_uid(uid).map_err(look_up(&uid.as_raw().to_string()))
}

fn find_group(word: &str) -> Result<Gid, UserError> {
    if let Some(gid) = account::group_of_name(word).map_err(look_up(word))? {
        return Ok(gid);
    }
    let gid = word.parse().map_err(|_| UserError::NoGroup(word.to_owned()))?;
    Ok(Gid::from_raw(gid))
}

/// All that the account is in, with the group that was chosen in place of its usual one.
fn groups(account: Option<&Account>, gid: Gid) -> Result<Vec<Gid>, UserError> {
    let Some(account) = account else { return Ok(vec![gid]) };
    let chosen = Account { gid, ..account.clone() };
    account::groups_of(&chosen).map_err(look_up(&account.name.to_string_lossy()))
}

fn look_up(name: &str) -> impl FnOnce(io::Error) -> UserError {
    let name = name.to_owned();
    move |source| UserError::LookUp { name, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Own {
        Own { uid: Uid::ROOT, gid: Gid::ROOT, may_change: true }
    }

    fn ordinary() -> Own {
        Own { uid: Uid::from_raw(4711), gid: Gid::from_raw(4711), may_change: false }
    }

    #[test]
    fn a_name_and_its_number_mean_the_same_user() {
        let by_name = run_as(Some("daemon"), None, root()).unwrap().unwrap();
        let number = by_name.user.uid.as_raw().to_string();
        let by_number = run_as(Some(&number), None, root()).unwrap().unwrap();
        assert_eq!(by_name.user, by_number.user);
        assert!(by_name.user.groups.contains(&by_name.user.gid));
        assert_eq!(by_name.account.unwrap().name, "daemon");
    }

    #[test]
    fn a_group_that_was_named_takes_the_place_of_the_usual_one() {
        let found = run_as(Some("daemon"), Some("12345"), root()).unwrap().unwrap();
        assert_eq!(found.user.gid, Gid::from_raw(12345));
        assert!(found.user.groups.contains(&Gid::from_raw(12345)));
    }

    #[test]
    fn a_number_without_an_account_needs_a_group() {
        let wanted = "3999999999";
        let error = run_as(Some(wanted), None, root()).unwrap_err();
        assert!(matches!(error, UserError::NoAccount(3_999_999_999)), "{error}");
        let found = run_as(Some(wanted), Some("5"), root()).unwrap().unwrap();
        assert_eq!((found.user.groups, found.account), (vec![Gid::from_raw(5)], None));
    }

    #[test]
    fn who_does_not_exist_is_named() {
        let error = run_as(Some("no-such-user"), None, root()).unwrap_err();
        assert!(error.to_string().contains("no user `no-such-user`"), "{error}");
        let error = run_as(None, Some("no-such-group"), root()).unwrap_err();
        assert!(error.to_string().contains("no group `no-such-group`"), "{error}");
    }

    #[test]
    fn an_ordinary_manager_runs_programs_as_itself_only() {
        assert!(run_as(None, None, ordinary()).unwrap().is_none());
        assert!(run_as(Some("4711"), Some("4711"), ordinary()).unwrap().is_none());
        let error = run_as(Some("root"), None, ordinary()).unwrap_err();
        assert!(matches!(error, UserError::NotPermitted { own: 4711, wanted: 0 }), "{error}");
    }
}
