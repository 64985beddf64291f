//! Which apps are meant by words that may also be files.

use std::path::Path;

use super::{
    file::{self, Part},
    session::Session,
};
use crate::api::apps::{AppView, Detail, Target};

/// The apps of a file for the file, the apps that run a script for the script; all else is left to the
/// manager.
pub(super) fn resolve(words: &[String], session: &mut Session) -> anyhow::Result<Vec<Target>> {
    resolve_part(words, &Part::default(), session)
}

/// The same, with some apps of a file only.
pub(super) fn resolve_part(
    words: &[String],
    part: &Part,
    session: &mut Session,
) -> anyhow::Result<Vec<Target>> {
    let mut apps = None;
    let mut targets = Vec::new();
    for word in words {
        if file::is_source(word) {
            targets.extend(file::names(word, part)?);
        } else if looks_like_a_script(word) {
            let apps = match &apps {
                Some(apps) => apps,
                None => apps.insert(session.apps(Detail::Row, &[])?),
            };
            targets.extend(of_script(word, apps));
        } else {
            targets.push(word.clone());
        }
    }
    Ok(targets)
}

fn looks_like_a_script(word: &str) -> bool {
    word.contains(['/', '.']) && Path::new(word).is_file()
}

/// The word itself where no app runs it, so that the manager says so.
fn of_script(word: &str, apps: &[AppView]) -> Vec<Target> {
    let path = std::fs::canonicalize(word).unwrap_or_else(|_| word.into());
    let runs = |app: &&AppView| app.workers.iter().any(|worker| worker.exec_path == path);
    let named = apps.iter().any(|app| app.name == word);
    let found: Vec<Target> = apps.iter().filter(runs).map(|app| app.name.clone()).collect();
    if named || found.is_empty() { vec![word.to_owned()] } else { found }
}
