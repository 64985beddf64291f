//! The environment of whoever types, for the apps that they start.

use std::ffi::OsString;

use crate::spec::Env;

/// Variables in text; the names of those that are none, which cannot be kept.
pub(super) fn sort_out(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Env, Vec<String>) {
    let (mut env, mut lost) = (Env::new(), Vec::new());
    for (name, value) in variables {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => {
                env.insert(name.to_owned(), value.to_owned());
            }
            (_, None) | (None, _) => lost.push(name.to_string_lossy().into_owned()),
        }
    }
    // Of the shell, about this command.
    env.remove("_");
    (env, lost)
}

/// Of this process. What is left out is said.
pub(super) fn inherited() -> Env {
    let (env, lost) = sort_out(std::env::vars_os());
    if !lost.is_empty() {
        eprintln!(
            "tine: the apps do not get {}: only variables in UTF-8 can be kept",
            lost.join(", ")
        );
    }
    env
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn what_is_no_text_is_named_and_left_out() {
        let bad = OsString::from_vec(vec![b'x', 0xff]);
        let variables = [
            ("A".into(), "1".into()),
            ("B".into(), bad.clone()),
            (bad, "2".into()),
            ("_".into(), "x".into()),
        ];
        let (env, lost) = sort_out(variables);
        assert_eq!(env.into_iter().collect::<Vec<_>>(), [("A".to_owned(), "1".to_owned())]);
        assert_eq!(lost, ["B", "x\u{fffd}"]);
    }
}
