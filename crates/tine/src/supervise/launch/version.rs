//! The version of an app, as its package says.

use std::{fs, path::Path};

use serde::Deserialize;

#[derive(Deserialize)]
struct Package {
    version: Option<String>,
}

/// The version in the first `package.json` from the script's directory upwards.
pub(super) fn of_app(script: &Path) -> Option<String> {
    let file = script.ancestors().skip(1).map(|directory| directory.join("package.json"));
    let text = file.into_iter().find_map(|file| fs::read(file).ok())?;
    serde_json::from_slice::<Package>(&text).ok()?.version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_package_upwards_tells_the_version() {
        let top = std::env::temp_dir().join(format!("tine-version-{}", std::process::id()));
        let deep = top.join("src/bin");
        fs::create_dir_all(&deep).unwrap();
        fs::write(top.join("package.json"), r#"{"name":"x","version":"1.2.3"}"#).unwrap();
        assert_eq!(of_app(&deep.join("server.js")).as_deref(), Some("1.2.3"));
        fs::write(top.join("src/package.json"), r#"{"type":"module"}"#).unwrap();
        assert_eq!(of_app(&deep.join("server.js")), None);
        fs::remove_dir_all(&top).unwrap();
    }
}
