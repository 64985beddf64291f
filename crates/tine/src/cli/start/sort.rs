//! What each word after `start` means.

use crate::{api::apps::AppView, cli::file};

/// A word with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// No word at all: the file of this directory.
    Default,
    /// A file of apps, or `-`.
    File(String),
    /// Apps that are there.
    Known(String),
    /// A script or a command.
    New(String),
}

/// `exists` looks for a file of whoever types.
pub(super) fn sort(
    words: &[String],
    apps: &[AppView],
    exists: &dyn Fn(&str) -> bool,
) -> Vec<Piece> {
    if words.is_empty() {
        return vec![Piece::Default];
    }
    words.iter().map(|word| meaning(word, apps, exists)).collect()
}

/// A name goes before a file, unless the word looks like a file and there is one.
fn meaning(word: &str, apps: &[AppView], exists: &dyn Fn(&str) -> bool) -> Piece {
    let word = word.to_owned();
    if word == "-" || file::is_file_of_apps(&word) {
        return Piece::File(word);
    }
    let like_a_file = word.contains(['/', '.']) && exists(&word);
    let expression = word.len() > 2 && word.starts_with('/') && word.ends_with('/');
    if !like_a_file && (expression || is_known(&word, apps)) {
        return Piece::Known(word);
    }
    Piece::New(word)
}

fn is_known(word: &str, apps: &[AppView]) -> bool {
    let ids = || apps.iter().flat_map(|app| &app.workers).map(|worker| worker.id);
    word == "all"
        || apps.iter().any(|app| app.name == word || app.namespace == word)
        || word.parse().is_ok_and(|id: u32| ids().any(|known| known == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppView {
        AppView {
            name: name.into(),
            namespace: "web".into(),
            number: 0,
            workers: Vec::new(),
            ports: Vec::new(),
            watching: false,
            exec_mode: None,
            note: None,
            spec: None,
            full: None,
        }
    }

    fn sorted(word: &str) -> Piece {
        let apps = [app("api"), app("server.js"), app("001-test")];
        let exists = |path: &str| matches!(path, "server.js" | "/srv/" | "api" | "./api");
        meaning(word, &apps, &exists)
    }

    #[test]
    fn no_word_is_the_file_of_the_directory() {
        assert_eq!(sort(&[], &[], &|_| true), [Piece::Default]);
    }

    #[test]
    fn files_of_apps_are_told_by_their_names() {
        for word in ["-", "tine.toml", "a/ecosystem.config.js", "apps.json", "apps.yml", "Procfile"]
        {
            assert_eq!(sorted(word), Piece::File(word.into()), "{word}");
        }
    }

    #[test]
    fn names_go_before_commands_and_files_that_are_there_before_names_like_files() {
        for word in ["api", "001-test", "web", "all", "/a.*/"] {
            assert_eq!(sorted(word), Piece::Known(word.into()), "{word}");
        }
        for word in ["server.js", "./api", "/srv/", "redis-server", "php -S x", "7"] {
            assert_eq!(sorted(word), Piece::New(word.into()), "{word}");
        }
    }
}
