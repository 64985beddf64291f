//! In which order apps start that wait for one another.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Apps that cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// They wait for one another.
    #[error(
        "these apps wait for one another, so none of them could start: {}; take one `after` out",
        .0.join(" after ")
    )]
    Circle(Vec<String>),
    /// Nobody is called so.
    #[error("`{app}` is to start after `{missing}`, but there is no app of that name")]
    Unknown {
        /// Who waits.
        app: String,
        /// For whom.
        missing: String,
    },
}

/// Puts apps in order: those of one step can start together, once all of the steps before are ready.
/// `apps` has the name of each app that is to start and the names that it waits for; `known` are apps
/// that are there already, for which nobody waits.
///
/// # Errors
///
/// When apps wait for one another, or for one that does not exist.
pub fn steps(apps: &[(&str, &[String])], known: &[&str]) -> Result<Vec<Vec<String>>, OrderError> {
    let names: BTreeSet<&str> = apps.iter().map(|(name, _)| *name).collect();
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (app, after) in apps {
        let waits = waits.entry(*app).or_default();
        for other in after.iter().map(String::as_str) {
            if names.contains(other) {
                waits.insert(other);
            } else if !known.contains(&other) {
                let (app, missing) = ((*app).to_owned(), other.to_owned());
                return Err(OrderError::Unknown { app, missing });
            }
        }
    }
    let mut steps = Vec::new();
    while !waits.is_empty() {
        let free: BTreeSet<&str> =
            waits.iter().filter(|(_, on)| on.is_empty()).map(|(app, _)| *app).collect();
        if free.is_empty() {
            return Err(OrderError::Circle(circle(&waits)));
        }
        waits.retain(|app, _| !free.contains(app));
        for on in waits.values_mut() {
            on.retain(|other| !free.contains(other));
        }
        // In the order in which they were given, each once.
        let mut left = free;
        let step = apps.iter().filter(|(app, _)| left.remove(app));
        steps.push(step.map(|(app, _)| (*app).to_owned()).collect());
    }
    Ok(steps)
}

/// Goes from app to app until one comes again. Everybody here waits for somebody here.
fn circle(waits: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut way: Vec<&str> = waits.keys().next().copied().into_iter().collect();
    while let Some(next) = way.last().and_then(|app| waits.get(app)?.first().copied()) {
        let again = way.iter().position(|app| *app == next);
        way.push(next);
        if let Some(start) = again {
            way.drain(..start);
            break;
        }
    }
    way.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(apps: &[(&str, &[&str])], known: &[&str]) -> Result<Vec<Vec<String>>, OrderError> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let apps: Vec<(&str, Vec<String>)> =
            apps.iter().map(|(app, after)| (*app, own(after))).collect();
        let apps: Vec<(&str, &[String])> =
            apps.iter().map(|(app, after)| (*app, after.as_slice())).collect();
        steps(&apps, known)
    }

    #[test]
    fn who_waits_comes_in_a_later_step_than_those_that_are_waited_for() {
        let apps: &[(&str, &[&str])] =
            &[("web", &["api", "db"]), ("api", &["db"]), ("db", &[]), ("cron", &[])];
        let found = order(apps, &[]).unwrap();
        assert_eq!(found, [vec!["db", "cron"], vec!["api"], vec!["web"]]);
    }

    #[test]
    fn nobody_waits_for_what_is_there_already() {
        assert_eq!(order(&[("web", &["db"])], &["db"]).unwrap(), [vec!["web"]]);
        assert_eq!(order(&[], &[]).unwrap(), Vec::<Vec<String>>::new());
        assert_eq!(order(&[("a", &[]), ("a", &[])], &[]).unwrap(), [vec!["a"]]);
    }

    #[test]
    fn a_circle_is_named_without_those_that_only_lead_to_it() {
        let apps: &[(&str, &[&str])] =
            &[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"]), ("free", &[])];
        let error = order(apps, &[]).unwrap_err();
        assert!(error.to_string().contains("b after c after d after b"), "{error}");
        let error = order(&[("self", &["self"])], &[]).unwrap_err();
        assert!(error.to_string().contains("self after self"), "{error}");
    }

    #[test]
    fn an_app_that_does_not_exist_is_named() {
        let error = order(&[("web", &["dbb"])], &["db"]).unwrap_err();
        assert!(error.to_string().contains("no app of that name"), "{error}");
        assert!(matches!(error, OrderError::Unknown { missing, .. } if missing == "dbb"));
    }
}
