//! The few figures that a benchmark quotes.

use std::collections::HashMap;

/// The middle value; the mean of the two in the middle when there is no single one. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The smallest value that at least `percent` in a hundred do not exceed (nearest rank).
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// One median over the other. Rounds are not divided pair by pair: turns of one round lie seconds
/// apart, and a machine that others use as well changes faster than that.
pub(crate) fn ratio(over: &[f64], under: &[f64]) -> Option<f64> {
    Some(median(over)? / median(under)?)
}

/// Smallest and largest value, for the reader to see how far rounds were apart.
pub(crate) fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    Some((*sorted.first()?, *sorted.last()?))
}

/// Largest minus smallest share, where a worker that got nothing counts as zero.
pub(crate) fn unevenness(shares: &HashMap<u32, usize>, workers: usize) -> usize {
    let largest = shares.values().copied().max().unwrap_or(0);
    let smallest = shares.values().copied().min().unwrap_or(0);
    if shares.len() < workers { largest } else { largest - smallest }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 99), Some(198.0));
        assert_eq!(percentile(&values, 100), Some(200.0));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn one_slow_round_does_not_change_the_ratio() {
        assert_eq!(ratio(&[200.0, 20.0, 200.0], &[100.0, 100.0, 10.0]), Some(2.0));
        assert_eq!(ratio(&[], &[1.0]), None);
    }

    #[test]
    fn the_spread_is_smallest_and_largest() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
    }

    #[test]
    fn a_worker_that_got_nothing_makes_the_shares_uneven() {
        let shares = HashMap::from([(1, 10), (2, 11)]);
        assert_eq!(unevenness(&shares, 2), 1);
        assert_eq!(unevenness(&shares, 3), 11);
        assert_eq!(unevenness(&HashMap::new(), 3), 0);
    }
}
