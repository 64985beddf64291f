//! The values of options: each is understood, or refused with what would be.

use std::net::SocketAddr;

use rustix::process::Signal;
use tine_cluster::policy::Mechanism;
use tine_linux::process::signal_from_name;

use crate::{
    spec::{HealthProbe, Instances, Millis, NoProbe},
    units::{self, UnitError},
};

/// A mechanism, or whatever is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish(pub(super) Option<Mechanism>);

pub(super) fn mechanism(word: &str) -> Result<Wish, String> {
    const KNOWN: &str = "auto, kernel-ebpf, kernel-cbpf, one-queue, hand-over";
    match word.parse() {
        _ if word == "auto" => Ok(Wish(None)),
        Ok(Mechanism::KernelHash) | Err(_) => {
            Err(format!("`{word}` is no mechanism; there are {KNOWN}"))
        }
        Ok(mechanism) => Ok(Wish(Some(mechanism))),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong =
        |_| format!("`{text}` is no address with a port; write 127.0.0.1:8080 or [::1]:8080");
    text.parse().map_err(wrong)
}

pub(super) fn signal(name: &str) -> Result<Signal, String> {
    signal_from_name(name)
        .ok_or_else(|| format!("`{name}` is no signal; write SIGTERM, TERM or 15"))
}

/// The signal as a spec has it: `SIGTERM`.
pub(super) fn signal_word(name: &str) -> Result<String, UnitError> {
    units::signal(name)
}

/// As [`units::instances`], kept as it was meant: the CPUs are counted where the app starts.
pub(super) fn instances(text: &str) -> Result<Instances, UnitError> {
    units::wanted_instances(text)
}

pub(super) fn millis(text: &str) -> Result<Millis, String> {
    let duration = units::duration(text).map_err(|error| error.to_string())?;
    // Less than a year, as the parser sees to.
    Ok(Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

/// A size in bytes: a number with `K`, `M` or `G` of 1024 after it, or with nothing.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    units::bytes(text)
}

/// What `--health` means: a URL or a path, `tcp`, `tcp:ADDRESS:PORT`, `exec:COMMAND`.
pub(super) fn probe(text: &str) -> Result<HealthProbe, NoProbe> {
    text.parse()
}

/// The mask of umask(2), in octal.
pub(super) fn umask(text: &str) -> Result<u32, String> {
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| format!("`{text}` is no mask; write three octal digits, as 027"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_kept_as_they_were_meant() {
        for (text, wanted) in [
            ("3", Instances::Count(3)),
            ("max", Instances::AllBut(0)),
            ("0", Instances::AllBut(0)),
            ("-2", Instances::AllBut(2)),
        ] {
            assert_eq!(instances(text), Ok(wanted), "{text}");
        }
        assert!(instances("many").unwrap_err().to_string().contains("`many`"));
    }

    #[test]
    fn a_probe_is_told_by_how_it_begins() {
        assert_eq!(probe("/health"), Ok(HealthProbe::Http("/health".into())));
        assert_eq!(probe("tcp"), Ok(HealthProbe::Tcp(String::new())));
        assert_eq!(probe("tcp://[::1]:80"), Ok(HealthProbe::Tcp("[::1]:80".into())));
        assert_eq!(probe("exec:test -e ok"), Ok(HealthProbe::Exec("test -e ok".into())));
        assert!(probe("often").is_err());
    }

    #[test]
    fn sizes_are_in_bytes() {
        for (text, wanted) in [("300M", 300 << 20), ("1g", 1 << 30), ("5 KB", 5120), ("7", 7)] {
            assert_eq!(size(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "M", "1MM", "-1", "99999999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals_and_masks_come_in_one_form() {
        for name in ["SIGTERM", "term", "15"] {
            assert_eq!(signal_word(name), Ok("SIGTERM".into()), "{name}");
        }
        assert_eq!(umask("027"), Ok(0o27));
        assert!(umask("8").is_err() && umask("7777").is_err() && signal_word("NO").is_err());
    }
}
