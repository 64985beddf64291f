//! What runs a script: node of a certain version, and whether it is node at all.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Gives the interpreter; `node@20` is looked for where nvm and fnm put it.
pub(super) fn resolve(word: &str) -> Result<String, String> {
    let Some(version) = word.strip_prefix("node@") else { return Ok(word.to_owned()) };
    let found = installed(&places(), version);
    found.map(|path| path.to_string_lossy().into_owned()).ok_or_else(|| {
        format!(
            "`interpreter`: no node {version} is installed by nvm or fnm; run `nvm install {version}`, or give \
             the path of a node"
        )
    })
}

/// Directories of versions, and where below each the program is.
fn places() -> Vec<(PathBuf, &'static str)> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let or = |name: &str, below: &str| {
        env::var_os(name).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(below)))
    };
    let nvm = or("NVM_DIR", ".nvm").map(|nvm| (nvm.join("versions/node"), "bin/node"));
    let fnm = or("FNM_DIR", ".local/share/fnm")
        .map(|fnm| (fnm.join("node-versions"), "installation/bin/node"));
    nvm.into_iter().chain(fnm).collect()
}

/// The newest one whose version begins with this.
fn installed(places: &[(PathBuf, &str)], version: &str) -> Option<PathBuf> {
    let wanted = numbers(version)?;
    let mut found: Vec<(Vec<u64>, PathBuf)> = Vec::new();
    for (place, program) in places {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(numbers) = name.to_str().and_then(numbers) else { continue };
            let path = entry.path().join(program);
            if numbers.starts_with(&wanted) && path.is_file() {
                found.push((numbers, path));
            }
        }
    }
    found.into_iter().max().map(|(_, path)| path)
}

fn numbers(version: &str) -> Option<Vec<u64>> {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Whether pm2 would take it for a program of node or bun.
pub(super) fn is_node(interpreter: Option<&str>, script: &str, is_file: bool) -> bool {
    let extension = Path::new(script).extension().and_then(|extension| extension.to_str());
    if let Some(word) = interpreter {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().split('@').next().unwrap_or_default();
        return name.ends_with("node") || name.ends_with("bun");
    }
    let script = is_file || !script.contains(char::is_whitespace);
    script && matches!(extension, Some("js" | "mjs" | "cjs" | "ts" | "tsx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_begins_so_is_taken() {
        let root = env::temp_dir().join(format!("tine-versions-{}", std::process::id()));
        for version in ["v18.20.1", "v20.9.0", "v20.10.0", "v20.11.0", "system"] {
            fs::create_dir_all(root.join(version).join("bin")).unwrap();
            if version != "v20.11.0" {
                fs::write(root.join(version).join("bin/node"), "").unwrap();
            }
        }
        let places = [(root.clone(), "bin/node"), (root.join("missing"), "node")];
        let found = |version| installed(&places, version);
        assert_eq!(found("20"), Some(root.join("v20.10.0/bin/node")));
        assert_eq!(found("20.9"), Some(root.join("v20.9.0/bin/node")));
        assert_eq!(found("v18.20.1"), Some(root.join("v18.20.1/bin/node")));
        assert_eq!((found("2"), found("lts")), (None, None));
        fs::remove_dir_all(&root).unwrap();
        let error = resolve("node@0.1").unwrap_err();
        assert!(error.contains("`nvm install 0.1`"), "{error}");
        assert_eq!(resolve("python3").as_deref(), Ok("python3"));
    }

    #[test]
    fn node_is_known_by_its_name_or_by_the_script() {
        assert!(is_node(Some("/opt/node"), "app", true));
        assert!(is_node(Some("node@20"), "app", true));
        assert!(is_node(Some("bun"), "app.py", true));
        assert!(!is_node(Some("python3"), "app.js", true));
        assert!(is_node(None, "/srv/app.mjs", true));
        assert!(!is_node(None, "node app.js", false));
        assert!(!is_node(None, "app.py", true));
    }
}
