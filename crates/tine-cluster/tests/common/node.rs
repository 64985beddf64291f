//! Programs of Node's.

use tine_cluster::primary::Program;

use crate::common::Directory;

/// A program of Node's; `None` where there is no node.
pub(crate) fn node(directory: &Directory, script: &str) -> Option<Program> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|directory| directory.join("node"));
    let Some(node) = files.find(|file| file.is_file()) else {
        println!("SKIP: no node here");
        return None;
    };
    let file = directory.path().join("worker.js");
    std::fs::write(&file, script).unwrap();
    Some(Program::node(node, file))
}
