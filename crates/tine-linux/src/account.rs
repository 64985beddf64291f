//! Users and groups by name or number, as the system's databases know them (`nsswitch.conf(5)`).
//!
//! A look-up may read files or ask a service on the network: not for a thread that must not wait.

use std::{
    ffi::{CStr, CString, OsString},
    io,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    ptr,
};

use rustix::{
    io::Errno,
    process::{Gid, Uid},
};

/// A line of the database of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name to log in with.
    pub name: OsString,
    /// The number.
    pub uid: Uid,
    /// The group of the number, without which no account is.
    pub gid: Gid,
    /// Where its files are.
    pub home: PathBuf,
    /// What it is given to type commands into.
    pub shell: PathBuf,
}

/// `getpwnam_r(3)` — the account of this name; `None` when nobody has it.
///
/// # Errors
///
/// When a database cannot be read, or the name has a zero byte.
///
/// [getpwnam_r(3)](https://man7.org/linux/man-pages/man3/getpwnam.3.html)
pub fn account_of_name(name: &str) -> io::Result<Option<Account>> {
    let name = CString::new(name)?;
    account(|entry, room, found| {
        let (space, length) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: `name` is a C string; `entry`, `room` and `found` are live and ours for the whole
        // call, and `length` is `room`'s own.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, space, length, found) }
    })
}

/// `getpwuid_r(3)` — the account of this number; `None` when nobody has it.
///
/// # Errors
///
/// When a database cannot be read.
///
/// [getpwuid_r(3)](https://man7.org/linux/man-pages/man3/getpwnam.3.html)
pub fn account_of_uid(uid: Uid) -> io::Result<Option<Account>> {
    account(|entry, room, found| {
        let (space, length) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: `entry`, `room` and `found` are live and ours for the whole call, and `length` is
        // `room`'s own.
        unsafe { libc::getpwuid_r(uid.as_raw(), entry, space, length, found) }
    })
}

/// `getgrnam_r(3)` — the number of the group of this name; `None` when there is none.
///
/// # Errors
///
/// When a database cannot be read, or the name has a zero byte.
///
/// [getgrnam_r(3)](https://man7.org/linux/man-pages/man3/getgrnam.3.html)
pub fn group_of_name(name: &str) -> io::Result<Option<Gid>> {
    let name = CString::new(name)?;
    with_room(|room| {
        // SAFETY: all zeros is a valid `struct group`: null pointers and a number.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = ptr::null_mut();
        let (space, length) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: `name` is a C string; `entry`, `room` and `found` are live and ours for the whole
        // call, and `length` is `room`'s own.
        let rc = unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut entry, space, length, &raw mut found)
        };
        answer(rc, found.is_null(), || Gid::from_raw(entry.gr_gid))
    })
}

/// `getgrouplist(3)` — all groups that this account is in, `gid` among them.
///
/// # Errors
///
/// When the name has a zero byte, or the account is in more groups than the kernel takes.
///
/// [getgrouplist(3)](https://man7.org/linux/man-pages/man3/getgrouplist.3.html)
pub fn groups_of(account: &Account) -> io::Result<Vec<Gid>> {
    /// `NGROUPS_MAX`: setgroups(2) refuses more.
    const MOST: libc::c_int = 65_536;
    let name = CString::new(account.name.clone().into_vec())?;
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
        let gid = account.gid.as_raw();
        // SAFETY: `name` is a C string, and `count` says how many numbers the live vector has room for.
        let rc =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        // Now it says how many there are.
        let there = usize::try_from(count).unwrap_or(0);
        if rc >= 0 {
            groups.truncate(there);
            return Ok(groups.into_iter().map(Gid::from_raw).collect());
        }
        if count > MOST {
            return Err(Errno::TOOBIG.into());
        }
        groups.resize(there.max(groups.len() * 2), 0);
    }
}

/// One of the two calls that fill a line.
type Ask<'a> = dyn FnMut(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int + 'a;

fn account(
    mut ask: impl FnMut(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int,
) -> io::Result<Option<Account>> {
    let ask: &mut Ask<'_> = &mut ask;
    with_room(|room| {
        // SAFETY: all zeros is a valid `struct passwd`: null pointers and numbers.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = ptr::null_mut();
        let rc = ask(&raw mut entry, room, &raw mut found);
        answer(rc, found.is_null(), || Account {
            name: text(room, entry.pw_name),
            uid: Uid::from_raw(entry.pw_uid),
            gid: Gid::from_raw(entry.pw_gid),
            home: text(room, entry.pw_dir).into(),
            shell: text(room, entry.pw_shell).into(),
        })
    })
}

/// The text that a line's pointer leads to, which lies in the room that was given for it: so it can be
/// read as bytes of that room. Empty for a pointer to anywhere else.
fn text(room: &[u8], at: *const libc::c_char) -> OsString {
    let text = (at as usize)
        .checked_sub(room.as_ptr() as usize)
        .and_then(|start| room.get(start..))
        .and_then(|rest| CStr::from_bytes_until_nul(rest).ok());
    OsString::from_vec(text.unwrap_or_default().to_bytes().to_vec())
}

/// Calls again with more room as long as that is what is missing.
fn with_room<T>(
    mut call: impl FnMut(&mut [u8]) -> Result<Option<T>, Errno>,
) -> io::Result<Option<T>> {
    const MOST: usize = 1 << 20;
    let mut room = vec![0u8; 1024];
    loop {
        match call(&mut room) {
            Err(Errno::RANGE) if room.len() < MOST => room.resize(room.len() * 4, 0),
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn answer<T>(rc: libc::c_int, nobody: bool, entry: impl FnOnce() -> T) -> Result<Option<T>, Errno> {
    if rc == 0 {
        return Ok((!nobody).then(entry));
    }
    match Errno::from_raw_os_error(rc) {
        // The manual lists these among the ways in which systems say that there is no such entry.
        Errno::NOENT | Errno::SRCH => Ok(None),
        errno => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = account_of_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (Uid::ROOT, Gid::ROOT));
        assert_eq!(root.home, PathBuf::from("/root"));
        assert_eq!(account_of_uid(Uid::ROOT).unwrap(), Some(root.clone()));
        assert!(groups_of(&root).unwrap().contains(&Gid::ROOT));
        assert_eq!(group_of_name("root").unwrap(), Some(Gid::ROOT));
    }

    #[test]
    fn what_nobody_is_called_is_nobody() {
        assert_eq!(account_of_name("no-such-user").unwrap(), None);
        assert_eq!(account_of_uid(Uid::from_raw(3_999_999_999)).unwrap(), None);
        assert_eq!(group_of_name("no-such-group").unwrap(), None);
        assert!(account_of_name("a\0b").is_err());
    }

    #[test]
    fn a_line_that_is_longer_than_the_room_is_asked_for_again() {
        let mut asked = Vec::new();
        let found = with_room(|room| {
            asked.push(room.len());
            if room.len() < 10_000 { Err(Errno::RANGE) } else { Ok(Some(1)) }
        });
        assert_eq!((found.unwrap(), asked), (Some(1), vec![1024, 4096, 16384]));
    }
}
