//! Commands beside a `tine` that runs, from any thread.

use std::ffi::OsString;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::process::Process;
use crate::run::Launcher;
use crate::tine::{Exit, exit, wait};

/// Asks in the name of the user of one [`Tine`](crate::Tine), in its folder and with its home.
#[derive(Clone, Debug)]
pub struct Desk {
    pub(crate) launcher: Launcher,
    pub(crate) folder: PathBuf,
    pub(crate) mark: String,
}

impl Desk {
    /// A `tine` command, run to its end.
    #[must_use]
    pub fn ask(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Exit {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let (mut child, mut output) = self.launcher.spawn((&self.folder, &self.mark), &[], &args);
        let status = wait(&mut child).unwrap_or_else(|| {
            Process::read(child.id()).expect("not waited for").signal(Signal::KILL);
            panic!("tine {args:?} has not ended:\n{}", output.transcript())
        });
        exit(status, &mut output)
    }
}
