//! What one program leaves to the next, in the same process: a file in memory, and the descriptors whose
//! numbers are in it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    ops::RangeInclusive,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::Rlimit;
use serde::{Deserialize, Serialize};
use tine_linux::split::{Inbox, become_program, number_of, take_over};

use super::{
    SIGNALS, packet,
    store::{Item, Store},
};

/// Of everything that is kept, this form and every record in it: raised with each change after which
/// a tine of before could not go on with it.
const NEWEST: u32 = 2;
/// The oldest that this tine can go on with.
const OLDEST: u32 = 1;

/// The key under which the program before says why it went on as another one.
pub(super) const WHY: &str = "why";

/// What comes before the reason why an update came to nothing.
pub(crate) const UPDATE_FAILED: &str = "an update that failed: ";

/// How the answer to `--can-adopt` begins, if it is yes.
pub(crate) const CAN_ADOPT: &str = "this tine can adopt version ";

/// What of it this tine can take over; the last one is what it leaves.
#[must_use]
pub fn versions() -> RangeInclusive<u32> {
    #[cfg(debug_assertions)]
    if let Some(versions) = pretended() {
        return versions;
    }
    OLDEST..=NEWEST
}

/// For the tests of updates: `2-3` in `TINE_TEST_ADOPTS` is a tine that leaves 3 and reads 2 as well.
#[cfg(debug_assertions)]
fn pretended() -> Option<RangeInclusive<u32>> {
    let text = std::env::var("TINE_TEST_ADOPTS").ok()?;
    let (oldest, newest) = text.split_once('-')?;
    Some(oldest.parse().ok()?..=newest.parse().ok()?)
}

/// All of it.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) store: Store,
    /// How many descriptors this process could have before it allowed itself more.
    pub(super) file_limit: Rlimit,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    file_limit: (Option<u64>, Option<u64>),
    /// In base64, with numbers of descriptors.
    records: BTreeMap<String, (String, Vec<i32>)>,
}

/// Goes on as this program. Comes back only if that cannot be.
pub(super) fn go_on_as(program: &Path, store: &Store, file_limit: &Rlimit) -> io::Error {
    let file = match written(store, file_limit) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let number = number_of(&file).to_string();
    let args = ["tine", "daemon", "--adopt", &number].map(OsStr::new);
    let all = store.items().flat_map(|(_, item)| item.descriptors.iter().map(AsFd::as_fd));
    let kept: Vec<BorrowedFd<'_>> = all.chain([file.as_fd()]).collect();
    become_program(program, &args, &kept)
}

/// Has this process, a manager whose watchdog was killed, be the next watchdog. Comes back only if that
/// cannot be.
pub fn replace_watchdog(keeper: &super::Keeper, file_limit: &Rlimit) -> io::Error {
    let store = keeper.copies().map(|mut store| {
        let value = b"the watchdog was killed".to_vec();
        store.put(WHY, Item { value, descriptors: Vec::new() });
        store
    });
    // What is sent meanwhile waits for the watchdog.
    let held = Inbox::open(&SIGNALS);
    let error = match store {
        Ok(store) => go_on_as(Path::new("/proc/self/exe"), &store, file_limit),
        Err(error) => error,
    };
    let _ = held.and_then(Inbox::close);
    error
}

fn written(store: &Store, file_limit: &Rlimit) -> io::Result<std::os::fd::OwnedFd> {
    let records = store.items().map(|(key, item)| {
        let numbers = item.descriptors.iter().map(number_of).collect();
        (key.clone(), (BASE64_STANDARD.encode(&item.value), numbers))
    });
    let written = Written {
        version: *versions().end(),
        file_limit: (file_limit.current, file_limit.maximum),
        records: records.collect(),
    };
    packet::file_of(&serde_json::to_vec(&written)?)
}

/// Takes what the program before has left.
pub(super) fn take(number: i32) -> anyhow::Result<Handover> {
    let file = take_over(number).context("take what the program before has left")?;
    let bytes = packet::read_file(file).context("read what the program before has left")?;
    let written: Written =
        serde_json::from_slice(&bytes).context("understand what the program before has left")?;
    if !versions().contains(&written.version) {
        bail!("the program before has left version {} of its state", written.version);
    }
    let mut store = Store::default();
    for (key, (value, numbers)) in written.records {
        let item = item(&value, &numbers).with_context(|| format!("take over `{key}`"))?;
        store.put(&key, item);
    }
    let (current, maximum) = written.file_limit;
    Ok(Handover { store, file_limit: Rlimit { current, maximum } })
}

fn item(value: &str, numbers: &[i32]) -> anyhow::Result<Item> {
    let value = BASE64_STANDARD.decode(value)?;
    let descriptors = numbers.iter().map(|number| take_over(*number));
    Ok(Item { value, descriptors: descriptors.collect::<io::Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;

    /// As an `execve` would leave them.
    fn leave(store: &Store) -> i32 {
        let limit = Rlimit { current: Some(7), maximum: None };
        let file = written(store, &limit).expect("a file");
        let copy = rustix::io::fcntl_dupfd_cloexec(&file, 0).expect("a descriptor");
        fcntl_setfd(&copy, FdFlags::empty()).expect("a descriptor");
        let number = number_of(&copy);
        std::mem::forget(copy);
        number
    }

    #[test]
    fn what_is_left_is_taken_once_and_has_the_same_descriptors() {
        let mut store = Store::default();
        let held = packet::file_of(b"held").expect("a file");
        store.put("one", Item::of(b"\xff\0", &[]).expect("no descriptors"));
        let number = leave(&store);
        let taken = take(number).expect("it was left");
        assert_eq!(taken.store.get("one").map(|item| &*item.value), Some(&b"\xff\0"[..]));
        assert_eq!((taken.file_limit.current, taken.file_limit.maximum), (Some(7), None));
        store.put("two", Item::of(b"", &[held.as_fd()]).expect("a descriptor"));
        let error = take(leave(&store)).expect_err("this descriptor has an owner");
        assert_eq!(error.to_string(), "take over `two`");
    }
}
