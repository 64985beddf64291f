use std::{fs, path::Path};

use super::*;
use crate::spec::Millis;

/// A directory of one test, under watch.
struct Place {
    top: PathBuf,
    notices: mpsc::UnboundedReceiver<Notice>,
    watcher: Option<Watcher>,
}

impl Place {
    /// With these files, each in the directory that its path names.
    fn new(name: &str, files: &[&str]) -> Self {
        let top = std::env::temp_dir().join(format!("tine-watch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(&top).unwrap();
        let (_, notices) = mpsc::unbounded_channel();
        let place = Self { top, notices, watcher: None };
        for file in files {
            place.write(file, "old");
        }
        place
    }

    fn watch(&mut self, paths: &[&str]) {
        let paths = paths.iter().map(|path| self.path(path)).collect();
        let watch = Watch { paths, delay: Millis(30), ..Watch::default() };
        let (tell, notices) = mpsc::unbounded_channel();
        self.watcher = Some(Watcher::start(&watch, tell).unwrap());
        self.notices = notices;
        assert!(matches!(self.next(), Notice::Watching { .. }));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.join(path).components().collect()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn next(&mut self) -> Notice {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let within = Duration::from_secs(30);
        let next =
            runtime.block_on(async { tokio::time::timeout(within, self.notices.recv()).await });
        next.expect("it tells something within 30 seconds").unwrap()
    }

    /// The next files that changed, below the top.
    fn changed(&mut self) -> Vec<String> {
        let Notice::Changed(changed) = self.next() else { panic!("something else was told") };
        let short = |path: &PathBuf| path.strip_prefix(&self.top).unwrap().display().to_string();
        changed.paths.iter().map(short).collect()
    }

    /// Waits until a change of this file is told, in whatever company.
    fn until(&mut self, file: &str) {
        while !self.changed().contains(&file.to_owned()) {}
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

#[test]
fn a_file_that_was_written_is_told_once_and_what_is_ignored_never() {
    let mut place = Place::new("once", &["src/a.js", "node_modules/x/b.js", ".git/c"]);
    place.watch(&["."]);
    place.write("node_modules/x/b.js", "new");
    place.write(".git/c", "new");
    place.write(".d.swp", "new");
    place.write("src/a.js", "new");
    assert_eq!(place.changed(), ["src/a.js"]);
    place.write("src/a.js", "newer");
    assert_eq!(place.changed(), ["src/a.js"]);
}

#[test]
fn a_file_that_an_editor_replaces_by_another_is_told_each_time() {
    let mut place = Place::new("rename", &["server.js", "other.js"]);
    // A watch of the file itself would follow the old one.
    place.watch(&["server.js"]);
    for _ in 0..2 {
        place.write("other.js", "does not count");
        place.write(".new", "new");
        fs::rename(place.path(".new"), place.path("server.js")).unwrap();
        assert_eq!(place.changed(), ["server.js"]);
    }
}

#[test]
fn directories_that_come_later_are_watched_with_all_below_them() {
    let mut place = Place::new("new", &["a.js"]);
    place.watch(&["."]);
    place.write("lib/deep/er/b.js", "1");
    place.until("lib/deep/er/b.js");
    place.write("lib/deep/er/b.js", "2");
    place.until("lib/deep/er/b.js");
    fs::rename(place.path("lib"), place.path("moved")).unwrap();
    place.until("moved/deep/er/b.js");
    place.write("moved/deep/er/b.js", "3");
    place.until("moved/deep/er/b.js");
    fs::remove_file(place.path("moved/deep/er/b.js")).unwrap();
    place.until("moved/deep/er/b.js");
}

#[test]
fn a_watched_directory_may_go_and_come_back() {
    let mut place = Place::new("back", &["app/a.js"]);
    place.watch(&["app"]);
    fs::remove_dir_all(place.path("app")).unwrap();
    place.until("app/a.js");
    place.write("app/a.js", "again");
    place.until("app/a.js");
    place.write("app/a.js", "and again");
    place.until("app/a.js");
}

#[test]
fn a_link_that_is_turned_to_another_release_counts() {
    let mut place = Place::new("link", &["one/a.js", "two/a.js"]);
    let point_to = |target: &Path, top: &Path| {
        let _ = fs::remove_file(top.join("next"));
        std::os::unix::fs::symlink(target, top.join("next")).unwrap();
        fs::rename(top.join("next"), top.join("current")).unwrap();
    };
    point_to(&place.path("one"), &place.top);
    place.watch(&["current"]);
    point_to(&place.path("two"), &place.top);
    place.until("current");
    place.write("two/a.js", "new");
    place.until("current/a.js");
}

#[test]
fn thousands_of_files_make_one_notice() {
    let mut place = Place::new("many", &["a.js"]);
    place.watch(&["."]);
    for n in 0..3000 {
        fs::write(place.path(&format!("{n}.js")), "x").unwrap();
    }
    let mut all = 0;
    while all < 3000 {
        let Notice::Changed(changed) = place.next() else { panic!("something else was told") };
        all += changed.paths.len() + changed.more;
    }
    // Writing may take longer than the quiet period, but not often.
    assert_eq!(all, 3000);
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let place = Place::new("missing", &[]);
    let watch = Watch { paths: vec![place.path("nothing")], ..Watch::default() };
    let (tell, mut notices) = mpsc::unbounded_channel();
    let _watcher = Watcher::start(&watch, tell).unwrap();
    let Some(Notice::Failed(error)) = notices.blocking_recv() else { panic!("no failure") };
    assert!(error.to_string().contains("/nothing` to watch"), "{error}");
}

#[test]
fn a_watcher_that_is_dropped_tells_nothing_more() {
    let mut place = Place::new("dropped", &["a.js"]);
    place.watch(&["."]);
    place.watcher = None;
    // The thread has let go of the other end when this ends.
    assert!(place.notices.blocking_recv().is_none());
}

#[test]
fn too_many_directories_are_told_with_the_command_that_raises_the_limit() {
    let error = WatchError::TooManyWatches { directories: 7, limit: 8 };
    assert!(error.to_string().contains("sudo sysctl fs.inotify.max_user_watches="), "{error}");
}
