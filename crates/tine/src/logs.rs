//! The output of workers: from their pipes into files, and from the files to a person.
//!
//! ```text
//!  worker ──pipe──▶ splitter ──▶ style ──▶ file ──rotation──▶ archives ──▶ keeper: gzip
//!  worker ──pipe──▶    │        whole lines  │
//!                      ╰──▶ tails (memory)   ╰──▶ LogReader: the last lines, and what follows
//! ```
//!
//! One thread writes for one app, so a slow disk holds up that app's workers alone, and lines of
//! different workers cannot mix. It holds buffers only while there is something to read. What it
//! promises is in [docs/logs.md](https://docs.rs/crate/tine/latest/source/docs/logs.md).

mod archive;
mod backwards;
mod file;
mod follow;
mod keeper;
mod read;
mod scribe;
mod settings;
mod show;
mod splitter;
mod stamp;
mod style;
mod tails;
mod watch;
mod when;
mod writer;

pub use file::LogTrouble;
pub use follow::LogReader;
pub use read::{Lines, Merge};
pub use settings::{LogSettings, Stream, file_of};
pub use show::{Form, Look, Origin};
pub use splitter::LONGEST_LINE;
pub use stamp::DateFormat;
pub use tails::LastLine;
pub use watch::{Change, Watch};
pub use when::{since, time_of};
pub use writer::{LogClock, LogWriter, Source};
