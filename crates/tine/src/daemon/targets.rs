//! Who is meant by a target.

use std::collections::{BTreeMap, BTreeSet};

use super::{app::Card, order::Which};

/// The apps that targets mean, by number, each with which of its workers.
pub(super) type Meant = BTreeMap<u32, Which>;

/// Finds out who is meant.
///
/// # Errors
///
/// With a sentence about the first target that means nobody.
pub(super) fn resolve(targets: &[String], cards: &[Card]) -> Result<Meant, String> {
    let mut meant = Meant::new();
    for target in targets {
        let found = one(target, cards)?;
        if found.is_empty() {
            return Err(nobody(target, cards));
        }
        for (number, which) in found {
            meant.entry(number).and_modify(|old| join(old, &which)).or_insert(which);
        }
    }
    Ok(meant)
}

fn join(to: &mut Which, other: &Which) {
    match (&mut *to, other) {
        (Which::Ids(ids), Which::Ids(more)) => ids.extend(more),
        (Which::All, _) | (_, Which::All) => *to = Which::All,
    }
}

/// By a name before an id, by an id before a namespace.
fn one(target: &str, cards: &[Card]) -> Result<Vec<(u32, Which)>, String> {
    let whole = |of: &dyn Fn(&Card) -> bool| -> Vec<(u32, Which)> {
        cards.iter().filter(|card| of(card)).map(|card| (card.number, Which::All)).collect()
    };
    if target == "all" {
        return Ok(whole(&|_| true));
    }
    if let Some(pattern) = target.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let pattern = regex_lite::Regex::new(pattern)
            .map_err(|error| format!("`{target}` is no regular expression: {error}"))?;
        return Ok(whole(&|card| pattern.is_match(&card.spec.name)));
    }
    let named = whole(&|card| card.spec.name == target);
    if !named.is_empty() {
        return Ok(named);
    }
    let by_id = target.parse().ok().and_then(|id| of_id(id, cards));
    Ok(by_id.map_or_else(|| whole(&|card| card.spec.namespace == target), |found| vec![found]))
}

/// Of an app with one worker, the worker is the app.
fn of_id(id: u32, cards: &[Card]) -> Option<(u32, Which)> {
    let card = cards.iter().find(|card| card.ids.contains(&id))?;
    let which = if card.ids.len() == 1 { Which::All } else { Which::Ids(BTreeSet::from([id])) };
    Some((card.number, which))
}

fn nobody(target: &str, cards: &[Card]) -> String {
    if target == "all" {
        return "there are no apps; `tine start SCRIPT` makes one".to_owned();
    }
    if cards.is_empty() {
        return format!("there is no app `{target}`: there are none at all");
    }
    if target.parse::<u32>().is_ok() {
        return format!("there is neither an app nor a worker `{target}`");
    }
    match nearest(target, cards) {
        Some(name) => format!("there is no app `{target}`; is `{name}` meant?"),
        None => format!("there is no app `{target}`"),
    }
}

/// The name that was perhaps meant.
fn nearest<'a>(target: &str, cards: &'a [Card]) -> Option<&'a str> {
    let names = cards.iter().flat_map(|card| [&*card.spec.name, &*card.spec.namespace]);
    let near = names.map(|name| (distance(target, name), name)).min()?;
    (near.0 <= target.chars().count().max(3) / 3).then_some(near.1)
}

/// Levenshtein's: how many letters are added, left out or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::AppSpec;

    fn card(number: u32, (name, namespace): (&str, &str), ids: &[u32]) -> Card {
        let spec = AppSpec { name: name.into(), namespace: namespace.into(), ..AppSpec::default() };
        Card { number, spec: Arc::new(spec), ids: ids.to_vec(), ..Card::default() }
    }

    fn cards() -> Vec<Card> {
        let shop = [card(0, ("api", "shop"), &[0, 1]), card(1, ("455", "shop"), &[2])];
        shop.into_iter().chain([card(2, ("web", "x"), &[3])]).collect()
    }

    fn found(targets: &[&str]) -> Result<Vec<(u32, Which)>, String> {
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        Ok(resolve(&targets, &cards())?.into_iter().collect())
    }

    #[test]
    fn a_name_goes_before_an_id_and_an_id_before_a_namespace() {
        assert_eq!(found(&["455"]), Ok(vec![(1, Which::All)]));
        assert_eq!(found(&["1"]), Ok(vec![(0, Which::Ids([1].into()))]));
        assert_eq!(found(&["0", "1"]), Ok(vec![(0, Which::Ids([0, 1].into()))]));
        assert_eq!(found(&["3"]), Ok(vec![(2, Which::All)]));
        assert_eq!(found(&["shop"]), Ok(vec![(0, Which::All), (1, Which::All)]));
        assert_eq!(found(&["0", "shop"]), Ok(vec![(0, Which::All), (1, Which::All)]));
    }

    #[test]
    fn a_regular_expression_means_names() {
        assert_eq!(found(&["/^(api|web)$/"]), Ok(vec![(0, Which::All), (2, Which::All)]));
        assert!(found(&["/(/"]).unwrap_err().starts_with("`/(/` is no regular expression"));
    }

    #[test]
    fn who_is_unknown_is_named_with_whom_was_perhaps_meant() {
        let said = |target: &str| found(&["api", target]).unwrap_err();
        assert_eq!(said("apo"), "there is no app `apo`; is `api` meant?");
        assert_eq!(said("database"), "there is no app `database`");
        assert_eq!(said("9"), "there is neither an app nor a worker `9`");
        let none = resolve(&["all".into()], &[]).unwrap_err();
        assert_eq!(none, "there are no apps; `tine start SCRIPT` makes one");
        let none = resolve(&["api".into()], &[]).unwrap_err();
        assert_eq!(none, "there is no app `api`: there are none at all");
    }
}
