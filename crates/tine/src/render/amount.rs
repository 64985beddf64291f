//! Amounts in few letters, for columns.

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
    fn an_age_has_one_unit() {
        for (ms, shown) in [(999, "0s"), (61_000, "1m"), (7_200_000, "2h"), (200_000_000, "2d")] {
            assert_eq!(age(1000, 1000 + ms), shown);
        }
        assert_eq!(age(2000, 1000), "0s", "a clock that was set back");
    }
}
