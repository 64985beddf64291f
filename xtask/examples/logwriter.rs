//! The log writer of a manager around one worker: runs the program in `PROGRAM`, writes its output to the file
//! `OUT` with rotation (`ROTATE=1`) or without, and says what memory that took at most, in KiB.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Stdio};

use tine::logs::{LogSettings, LogWriter, Source, Stream};
use tine::spec::{LogSpec, Rotation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::var("OUT")?;
    let mut spec = LogSpec { out_file: Some(out.clone().into()), ..LogSpec::default() };
    if std::env::var_os("ROTATE").is_none() {
        spec.rotation = Rotation { size: 0, ..Rotation::default() };
    }
    let home = Path::new(&out).parent().ok_or("a file in a folder")?;
    let settings = LogSettings::of("chatter", 1, &spec, home);
    let writer = LogWriter::start(settings, |trouble| eprintln!("{trouble:?}"))?;
    let mut worker = Command::new(std::env::var("PROGRAM")?);
    let mut worker = worker.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let fd = worker.stdout.take().ok_or("a pipe")?.into();
    writer.add(Source { id: 0, worker: 1, stream: Stream::Out, fd });
    worker.wait()?;
    writer.close();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak {}", peak.ok_or("a peak")?.trim().trim_end_matches("kB").trim());
    Ok(())
}
