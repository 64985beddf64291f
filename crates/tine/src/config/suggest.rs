//! What somebody may have meant by a word that is not known.

/// The nearest of the known words, if it is near enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let with = |known: &'a str| (distance(&lower, &known.to_lowercase()), known);
    let best = known.into_iter().map(with).min_by_key(|(distance, _)| *distance);
    let most = word.chars().count().div_ceil(3).min(3);
    best.filter(|(distance, _)| *distance <= most).map(|(_, known)| known)
}

/// How many letters must be put in, taken out, changed, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut slips = (last[j] + usize::from(a != b)).min(row[j] + 1).min(last[j + 1] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                slips = slips.min(before[j - 1] + 1);
            }
            row.push(slips);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_another_word_does_not() {
        let known = ["instances", "interpreter", "script", "cwd"];
        for (word, meant) in [
            ("instence", Some("instances")),
            ("Instances", Some("instances")),
            ("scirpt", Some("script")),
            ("cdw", Some("cwd")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn the_distance_counts_slips() {
        for (a, b, slips) in
            [("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), slips, "{a} {b}");
        }
    }
}
