//! Amounts in few letters, for columns.

/// `512 B`, `35.4 MB`; a KB is 1024 bytes.
pub(super) fn memory(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// How long ago: `12s`, `5m`, `3h`, `2d`; all in milliseconds since 1970.
pub(super) fn age(since: u64, now: u64) -> String {
    let seconds = now.saturating_sub(since) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400.. => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_one_decimal() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KB"),
            (37_120_000, "35.4 MB"),
            (5 << 30, "5.0 GB"),
        ] {
            assert_eq!(memory(bytes), shown);
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        for (ms, shown) in [(999, "0s"), (61_000, "1m"), (7_200_000, "2h"), (200_000_000, "2d")] {
            assert_eq!(age(1000, 1000 + ms), shown);
        }
        assert_eq!(age(2000, 1000), "0s", "a clock that was set back");
    }
}
