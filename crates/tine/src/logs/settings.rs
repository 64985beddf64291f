//! What an app's log files are called.

use std::path::{Path, PathBuf};

use crate::spec::{LogSpec, LogType, Rotation};

/// The two pipes of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

impl Stream {
    /// pm2's word for it, in JSON and in the events of an app.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Error => "err",
        }
    }
}

/// Where an app's output goes and how: a [`LogSpec`] with all defaults put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The app's name, for lines in JSON.
    pub app: String,
    /// Absolute, and before the id is put in; `None` for nowhere.
    pub out: Option<PathBuf>,
    /// The same for standard error. May be the same file.
    pub error: Option<PathBuf>,
    /// The same for both streams together, beside the two.
    pub combined: Option<PathBuf>,
    /// All instances share the files; otherwise each file's name gets the worker's id.
    pub merge: bool,
    /// How a line is written.
    pub kind: LogType,
    /// In front of each line, the time in this form ([`DateFormat`](super::DateFormat)).
    pub date_format: Option<String>,
    /// When a file is set aside, and how many are kept.
    pub rotation: Rotation,
    /// Missing folders below it are made for the owner alone (0700), others by the umask.
    pub home: PathBuf,
}

impl LogSettings {
    /// The settings of an app of so many instances, with its files below `HOME/logs` where the spec
    /// names none.
    #[must_use]
    pub fn of(app: &str, instances: u32, spec: &LogSpec, home: &Path) -> Self {
        let default = |kind: &str| home.join("logs").join(format!("{}-{kind}.log", tame(app)));
        let out = spec.out_file.clone().unwrap_or_else(|| default("out"));
        let error = spec.error_file.clone().unwrap_or_else(|| default("error"));
        // One that is not absolute is named after the app, beside the others.
        let combined = spec.combined_file.as_ref().map(|path| home.join("logs").join(path));
        let written = |path: PathBuf| Some(path).filter(|path| !spec.disabled && somewhere(path));
        Self {
            app: app.to_owned(),
            out: written(out),
            error: written(error),
            combined: combined.and_then(written),
            merge: spec.merge.unwrap_or(instances <= 1),
            kind: spec.kind,
            date_format: spec.date_format.clone(),
            rotation: spec.rotation,
            home: home.to_owned(),
        }
    }

    /// The file of one stream of the worker with this id (`pm_id`); `None` for nowhere.
    #[must_use]
    pub fn file(&self, stream: Stream, id: u32) -> Option<PathBuf> {
        let base = match stream {
            Stream::Out => self.out.as_ref(),
            Stream::Error => self.error.as_ref(),
        };
        base.map(|base| file_of(base, id, self.merge))
    }

    /// The file of both streams together, if there is one.
    #[must_use]
    pub fn combined_file(&self, id: u32) -> Option<PathBuf> {
        self.combined.as_ref().map(|base| file_of(base, id, self.merge))
    }

    /// All files that lines of this stream go to, each once.
    pub(super) fn files(&self, stream: Stream, id: u32) -> Vec<PathBuf> {
        let mut files = Vec::from_iter(self.file(stream, id));
        files.extend(self.combined_file(id).filter(|combined| !files.contains(combined)));
        files
    }

    /// The names that files of this app are made of.
    pub(super) fn bases(&self) -> Vec<&Path> {
        let mut bases: Vec<&Path> = [&self.out, &self.error, &self.combined]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        bases.sort_unstable();
        bases.dedup();
        bases
    }
}

/// The file of one worker: its id stands before the extension unless all share one.
#[must_use]
pub fn file_of(base: &Path, id: u32, merge: bool) -> PathBuf {
    if merge {
        return base.to_owned();
    }
    let (stem, extension) = halves(base);
    base.with_file_name(format!("{stem}-{id}{extension}"))
}

/// A file's name before its extension, and the extension with its dot.
pub(super) fn halves(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (stem, extension.unwrap_or_default())
}

/// An app's name as a part of a file's name: `@scope/api` has no business in a folder of its own.
fn tame(app: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
    app.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect()
}

/// pm2's `NULL` is nowhere.
fn somewhere(path: &Path) -> bool {
    path != Path::new("/dev/null") && path.file_name().is_some_and(|name| name != "NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(instances: u32, spec: &LogSpec) -> LogSettings {
        LogSettings::of("@shop/api", instances, spec, Path::new("/home/a/.tine"))
    }

    #[test]
    fn files_are_below_the_home_and_have_the_id_before_the_extension() {
        let several = settings(2, &LogSpec::default());
        let out = several.file(Stream::Out, 7).unwrap();
        assert_eq!(out, Path::new("/home/a/.tine/logs/-shop-api-out-7.log"));
        let one = settings(1, &LogSpec::default());
        let error = one.file(Stream::Error, 7).unwrap();
        assert_eq!(error, Path::new("/home/a/.tine/logs/-shop-api-error.log"));
        assert_eq!(one.combined_file(7), None);
        let spec = LogSpec { combined_file: Some("api.log".into()), ..LogSpec::default() };
        let both = settings(1, &spec).combined_file(7).unwrap();
        assert_eq!(both, Path::new("/home/a/.tine/logs/api.log"));
    }

    #[test]
    fn a_file_without_an_extension_gets_the_id_at_its_end() {
        assert_eq!(file_of(Path::new("/var/log/api"), 3, false), Path::new("/var/log/api-3"));
        assert_eq!(file_of(Path::new("/v/a.b.txt"), 3, false), Path::new("/v/a.b-3.txt"));
    }

    #[test]
    fn null_is_nowhere_and_so_is_everything_when_logs_are_disabled() {
        for nowhere in ["NULL", "/dev/null", "/work/NULL"] {
            let spec = LogSpec { out_file: Some(nowhere.into()), ..LogSpec::default() };
            assert_eq!(settings(1, &spec).file(Stream::Out, 0), None);
            assert!(settings(1, &spec).file(Stream::Error, 0).is_some());
        }
        let spec = LogSpec { disabled: true, ..LogSpec::default() };
        assert!(settings(1, &spec).bases().is_empty());
    }

    #[test]
    fn two_streams_in_one_file_are_written_once() {
        let same = Some(PathBuf::from("/l/all.log"));
        let (out_file, combined_file) = (same.clone(), same);
        let spec = LogSpec { out_file, combined_file, merge: Some(true), ..LogSpec::default() };
        assert_eq!(settings(3, &spec).files(Stream::Out, 1), [Path::new("/l/all.log")]);
    }
}
