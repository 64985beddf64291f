//! Which files do not count.

use std::path::Path;

use super::glob::Glob;

/// Patterns of paths that do not count, with all that is below them.
///
/// A pattern that begins with `/` means a whole path. Any other one means the end of a path: `logs`,
/// `*.log` and `build/out` are found at any depth. What leads to a watched directory never counts: an
/// app below `~/.config` is watched although dotfiles are ignored.
#[derive(Clone, Debug)]
pub(super) struct Ignore {
    whole: Vec<Glob>,
    ends: Vec<Glob>,
}

impl Ignore {
    pub(super) fn new(patterns: &[String]) -> Self {
        let mut ignore = Self { whole: Vec::new(), ends: Vec::new() };
        for pattern in patterns.iter().filter(|pattern| !pattern.trim().is_empty()) {
            // What is below an ignored directory is not even looked at.
            let pattern = pattern.trim().trim_end_matches("/**").trim_end_matches('/');
            if pattern.starts_with('/') {
                ignore.whole.extend(Glob::read(pattern));
            } else {
                ignore.ends.extend(Glob::read(&format!("**/{pattern}")));
            }
        }
        ignore
    }

    /// Whether this path below the root does not count; what is above it does.
    pub(super) fn matches(&self, root: &Path, path: &Path) -> bool {
        let Ok(inner) = path.strip_prefix(root) else { return false };
        if inner.as_os_str().is_empty() {
            return false;
        }
        let whole = names(path);
        // A pattern may begin with the name of the watched directory, but not end with it.
        let depth = names(inner).len() + 1;
        let end = &whole[whole.len().saturating_sub(depth)..];
        self.ends.iter().any(|glob| is(glob, end)) || self.whole.iter().any(|glob| is(glob, &whole))
    }
}

fn is(glob: &Glob, names: &[String]) -> bool {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    glob.matches(&names)
}

fn names(path: &Path) -> Vec<String> {
    let name = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    path.iter().filter(|part| *part != "/").map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Watch;

    fn ignored(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Ignore::new(&patterns).matches(Path::new("/home/.me/app"), Path::new(path))
    }

    #[test]
    fn dotfiles_and_installed_modules_do_not_count_by_default() {
        let usual = Ignore::new(&Watch::default().ignore);
        let matches = |path| usual.matches(Path::new("/home/.me/app"), Path::new(path));
        assert!(matches("/home/.me/app/.git"));
        assert!(matches("/home/.me/app/src/.server.js.swp"));
        assert!(matches("/home/.me/app/node_modules"));
        assert!(matches("/home/.me/app/packages/a/node_modules"));
        assert!(!matches("/home/.me/app"));
        assert!(!matches("/home/.me/app/src/server.js"));
    }

    #[test]
    fn a_pattern_means_the_end_of_a_path_or_a_whole_one() {
        assert!(ignored(&["logs"], "/home/.me/app/logs"));
        assert!(ignored(&["./logs/"], "/home/.me/app/a/logs"));
        assert!(ignored(&["*.log"], "/home/.me/app/a/b.log"));
        assert!(ignored(&["app/tmp"], "/home/.me/app/tmp"));
        assert!(ignored(&["/home/.me/app/tmp"], "/home/.me/app/tmp"));
        assert!(ignored(&["/home/*/app/*.txt"], "/home/.me/app/a.txt"));
        assert!(!ignored(&["logs"], "/home/.me/app/logs.js"));
        assert!(!ignored(&["app", "home", ""], "/home/.me/app/server.js"));
        assert!(!ignored(&["/tmp"], "/home/.me/app/tmp"));
    }
}
