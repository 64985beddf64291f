//! Shows lines until there are no more, or nobody reads them.

use std::collections::BTreeMap;
use std::io::{self, StdoutLock, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use super::{Args, LINES, WorkerLogs};
use crate::logs::{Change, LogReader, Look, Merge, Origin, Stream, Watch, time_of};
use crate::render::Screen;

/// How often it is asked whether there are more workers.
const REFRESH: Duration = Duration::from_secs(2);

/// Shows the logs of these workers, and goes on until it is ended. While it does, `list` is asked again for workers
/// that came to be meanwhile; when it fails then, those that are known are followed all the same.
///
/// # Errors
///
/// When the first list cannot be had, or a line cannot be shown.
pub fn run(
    args: &Args,
    mut list: impl FnMut() -> anyhow::Result<Vec<WorkerLogs>>,
) -> anyhow::Result<ExitCode> {
    let mut show = Show::new(args);
    let origins = origins(&list()?, args);
    show.widen(&origins);
    let result = show
        .begin(origins)
        .and_then(|()| if args.nostream { Ok(()) } else { show.follow(&mut list, args) });
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => result.context("show a log").map(|()| ExitCode::SUCCESS),
    }
}

struct Show<'a> {
    args: &'a Args,
    look: Look,
    logs: BTreeMap<PathBuf, (Origin, LogReader)>,
    watch: Watch,
    output: StdoutLock<'static>,
}

impl<'a> Show<'a> {
    fn new(args: &'a Args) -> Self {
        let look = Look {
            form: args.form(),
            timestamp: args.stamp(),
            highlight: args.highlight.clone(),
            colour: Screen::of_stdout().colour,
            width: 0,
        };
        let (watch, output) = (Watch::new(), io::stdout().lock());
        Self { args, look, logs: BTreeMap::new(), watch, output }
    }

    fn widen(&mut self, origins: &BTreeMap<PathBuf, Origin>) {
        let widest = origins.values().map(|origin| origin.label().chars().count()).max();
        self.look.width = self.look.width.max(widest.unwrap_or(0));
    }

    /// Shows what there is, app by app.
    fn begin(&mut self, origins: BTreeMap<PathBuf, Origin>) -> io::Result<()> {
        let mut apps: BTreeMap<String, Vec<(Origin, LogReader)>> = BTreeMap::new();
        for (path, origin) in origins {
            self.watch.add(&path);
            if let Some(reader) = readable(&path, LogReader::open(&path)) {
                apps.entry(origin.app.clone()).or_default().push((origin, reader));
            }
        }
        for logs in apps.into_values() {
            self.earlier(&logs)?;
            let by_path = |(origin, reader): (Origin, LogReader)| {
                (reader.path().to_owned(), (origin, reader))
            };
            self.logs.extend(logs.into_iter().map(by_path));
        }
        self.output.flush()
    }

    fn earlier(&mut self, logs: &[(Origin, LogReader)]) -> io::Result<()> {
        let lines = logs.iter().map(|(_, reader)| match (self.args.since, self.args.lines) {
            (Some(since), _) => reader.since(since),
            (None, lines) => reader.last(lines.unwrap_or(LINES)),
        });
        let mut merge = Merge::of(lines.collect::<io::Result<_>>()?)?;
        let mut out = Vec::new();
        while let Some((at, line)) = merge.next_line()? {
            out.clear();
            self.look.put(&logs[at].0, line, time_of(line), &mut out);
            self.output.write_all(&out)?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        list: &mut impl FnMut() -> anyhow::Result<Vec<WorkerLogs>>,
        args: &Args,
    ) -> io::Result<()> {
        let mut asked = Instant::now();
        loop {
            match self.watch.wait(io::stdout().as_fd()) {
                Change::ReaderGone => return Ok(()),
                Change::Any => self.news(|_| true)?,
                Change::Files(files) => self.news(|path| files.contains(path))?,
            }
            if asked.elapsed() >= REFRESH {
                if let Ok(workers) = list() {
                    self.add(origins(&workers, args));
                }
                asked = Instant::now();
            }
        }
    }

    /// Shows what came, of those that may have something.
    fn news(&mut self, may_have: impl Fn(&Path) -> bool) -> io::Result<()> {
        let mut more = true;
        while std::mem::take(&mut more) {
            for (path, (origin, reader)) in &mut self.logs {
                if !may_have(path) {
                    continue;
                }
                let (look, now, mut out) = (&self.look, Some(SystemTime::now()), Vec::new());
                more |= reader.follow(&mut |line| look.put(origin, line, now, &mut out))?;
                self.output.write_all(&out)?;
            }
        }
        self.output.flush()
    }

    /// Workers that came to be meanwhile: all that they have written is new.
    fn add(&mut self, origins: BTreeMap<PathBuf, Origin>) {
        self.widen(&origins);
        for (path, origin) in origins {
            self.watch.add(&path);
            if !self.logs.contains_key(&path)
                && let Some(reader) = readable(&path, LogReader::from_start(&path))
            {
                self.logs.insert(path, (origin, reader));
            }
        }
    }
}

fn readable(path: &Path, reader: io::Result<LogReader>) -> Option<LogReader> {
    reader.inspect_err(|error| eprintln!("tine: read {}: {error}", path.display())).ok()
}

/// The files that are wanted, each once. One that several workers write to is no single worker's, and one that
/// both streams go to is neither's.
fn origins(workers: &[WorkerLogs], args: &Args) -> BTreeMap<PathBuf, Origin> {
    let mut origins: BTreeMap<PathBuf, Origin> = BTreeMap::new();
    for worker in workers {
        for (stream, path) in files(worker, args) {
            let app = worker.app.clone();
            let new = Origin { app, id: Some(worker.id), stream };
            let known = origins.entry(path).or_insert_with(|| new.clone());
            known.id = known.id.filter(|id| *id == worker.id);
            known.stream = known.stream.filter(|known| Some(*known) == stream);
        }
    }
    origins
}

fn files(worker: &WorkerLogs, args: &Args) -> Vec<(Option<Stream>, PathBuf)> {
    let out = worker.out.iter().map(|path| (Some(Stream::Out), path.clone()));
    let err = worker.err.iter().map(|path| (Some(Stream::Error), path.clone()));
    let mut files: Vec<_> = out.filter(|_| !args.err).chain(err.filter(|_| !args.out)).collect();
    if worker.out.is_none() && worker.err.is_none() {
        files.extend(worker.combined.iter().map(|path| (None, path.clone())));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: u32, out: &str, err: &str) -> WorkerLogs {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let combined = Some("/l/both".into());
        WorkerLogs { app: "api".into(), id, out: path(out), err: path(err), combined }
    }

    fn labels(workers: &[WorkerLogs], args: &Args) -> Vec<String> {
        let origins = origins(workers, args);
        origins
            .iter()
            .map(|(path, o)| format!("{} {} {:?}", path.display(), o.label(), o.stream))
            .collect()
    }

    #[test]
    fn each_file_is_read_once_and_is_labelled_by_whose_it_is() {
        let all = Args::default();
        let own = [worker(0, "/l/o-0", "/l/e-0"), worker(1, "/l/o-1", "")];
        let wanted =
            ["/l/e-0 0|api Some(Error)", "/l/o-0 0|api Some(Out)", "/l/o-1 1|api Some(Out)"];
        assert_eq!(labels(&own, &all), wanted);
        let shared = [worker(0, "/l/o", "/l/e"), worker(1, "/l/o", "/l/e")];
        assert_eq!(labels(&shared, &all), ["/l/e api Some(Error)", "/l/o api Some(Out)"]);
        assert_eq!(labels(&[worker(3, "/l/x", "/l/x")], &all), ["/l/x 3|api None"]);
        assert_eq!(labels(&[worker(3, "", "")], &all), ["/l/both 3|api None"]);
    }

    #[test]
    fn one_stream_can_be_asked_for() {
        let workers = [worker(0, "/l/o", "/l/e")];
        let out = Args { out: true, ..Args::default() };
        assert_eq!(labels(&workers, &out), ["/l/o 0|api Some(Out)"]);
        let err = Args { err: true, ..Args::default() };
        assert_eq!(labels(&workers, &err), ["/l/e 0|api Some(Error)"]);
    }
}
