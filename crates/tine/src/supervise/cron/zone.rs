//! Time zones by their names.
//!
//! Which names there are is compiled in, and so are rules for a machine without `/usr/share/zoneinfo`, as
//! most containers are. Where the machine has its own they are taken: it is kept up to date.

use std::{fs, path::Path};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where Linux keeps the rules, a file a zone.
const SYSTEM: &str = "/usr/share/zoneinfo";

/// The zone of this name, in whatever case; `None` if no zone has it.
pub(super) fn named(name: &str) -> Option<TimeZone> {
    named_in(Path::new(SYSTEM), name)
}

fn named_in(system: &Path, name: &str) -> Option<TimeZone> {
    let compiled = TimeZoneDatabase::bundled().get(name).ok()?;
    // Not as it was given: that might be a path to anywhere.
    let current = compiled.iana_name().and_then(|name| read(system, name));
    Some(current.unwrap_or(compiled))
}

/// A file that is missing or damaged is as good as none.
fn read(system: &Path, name: &str) -> Option<TimeZone> {
    let rules = fs::read(system.join(name)).ok()?;
    TimeZone::tzif(name, &rules).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UTC+7 under another zone's name: version 1, no change, one kind of time.
    fn seven_hours_ahead() -> Vec<u8> {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let header = [b"TZif\0".as_slice(), &[0; 15], &counts].concat();
        [header, 25_200_i32.to_be_bytes().to_vec(), vec![0, 0], b"+07\0".to_vec()].concat()
    }

    fn offset(zone: &TimeZone) -> i32 {
        zone.to_offset(jiff::Timestamp::UNIX_EPOCH).seconds()
    }

    #[test]
    fn rules_of_the_machine_go_before_those_compiled_in() {
        let own = std::env::temp_dir().join(format!("tine-zone-{}", std::process::id()));
        fs::create_dir_all(own.join("Europe")).unwrap();
        fs::write(own.join("Europe/Berlin"), seven_hours_ahead()).unwrap();
        fs::write(own.join("Europe/Paris"), "damaged").unwrap();
        let berlin = named_in(&own, "europe/berlin").unwrap();
        let paris = named_in(&own, "Europe/Paris").unwrap();
        fs::remove_dir_all(&own).unwrap();
        assert_eq!((berlin.iana_name(), offset(&berlin)), (Some("Europe/Berlin"), 25_200));
        assert_eq!(offset(&paris), 3600);
    }

    #[test]
    fn a_machine_without_rules_has_those_compiled_in() {
        let zone = named_in(Path::new("/nonexistent"), "Asia/Kathmandu").unwrap();
        assert_eq!(offset(&zone), 19_800);
    }

    #[test]
    fn a_path_is_no_name() {
        for name in ["", "../zoneinfo/UTC", "/etc/localtime", "Mars/Phobos"] {
            assert!(named_in(Path::new(SYSTEM), name).is_none(), "{name}");
        }
    }
}
