//! The file that holds a worker's pid.

use std::{fs, path::PathBuf};

use crate::{daemon::say, home::Home, spec::AppSpec};

/// Where it is: the worker's id goes before the extension, as with pm2.
pub(super) fn path(spec: &AppSpec, id: u32, home: &Home) -> PathBuf {
    let Some(path) = &spec.pid_file else {
        let name: String = spec.name.replace('/', "-");
        return home.pids().join(format!("{name}-{id}.pid"));
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{id}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{id}"),
    };
    spec.cwd.join(path).with_file_name(name)
}

/// The app runs without it too; what is wrong is said.
pub(super) fn write(path: &PathBuf, pid: i32) {
    let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = directory.and_then(|()| fs::write(path, format!("{pid}\n"))) {
        say(&format!("{} cannot be written: {error}", path.display()));
    }
}

/// Somebody may have removed it before.
pub(super) fn remove(path: &PathBuf) {
    let _ = fs::remove_file(path);
}
