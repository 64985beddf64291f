//! Why a reload failed, in words.

use tine_cluster::{
    address::ListenKey,
    primary::{Lack, NotKept, ReloadError},
};

use super::App;
use crate::{api::apps::Outcome, causes::causes, daemon::order::Which};

impl App {
    /// Not all have new workers, for this reason.
    /// `unwell` is what was wrong with the health of the last one that was tried.
    pub(super) async fn not_rolled(
        &mut self,
        (error, unwell): (&ReloadError, Option<String>),
        which: &Which,
    ) -> Outcome {
        let text = reason(error, unwell);
        if let ReloadError::NotKept(why) = error {
            self.note = None;
            return self.failed(not_kept(why), which);
        }
        let text = match replaced(error) {
            0 => text,
            some => format!("{text}; {some} of its workers run the new version already"),
        };
        self.note = Some(format!("the last reload failed: {text}"));
        self.note(None, "reload", format!("failed: {text}"));
        let last_lines = match error {
            ReloadError::EndedEarly { worker, .. } => self.last_lines_of(*worker, None).await,
            // What it wrote when it was told to go looks like a crash, and is none.
            ReloadError::TooLate { worker, decided, .. } => {
                self.last_lines_of(*worker, Some(*decided)).await
            }
            _ => Vec::new(),
        };
        Outcome { last_lines, ..self.failed(text, which) }
    }
}

/// How many have a new worker all the same.
pub(super) fn replaced(error: &ReloadError) -> u32 {
    match error {
        ReloadError::Cancelled { replaced }
        | ReloadError::NotStarted { replaced, .. }
        | ReloadError::EndedEarly { replaced, .. }
        | ReloadError::TooLate { replaced, .. } => *replaced,
        _ => 0,
    }
}

fn not_kept(why: &NotKept) -> String {
    match why {
        NotKept::NoParts { .. } => format!("--canary is refused: {why}"),
        NotKept::NotAside { .. } => format!("--keep-old is refused: {why}"),
        _ => why.to_string(),
    }
}

fn reason(error: &ReloadError, unwell: Option<String>) -> String {
    match error {
        ReloadError::TooLate { lack: Lack::Approval, .. } => match unwell {
            Some(why) => format!("{error}: its health check failed: {why}"),
            None => format!("{error}: its health check did not come to an end"),
        },
        ReloadError::TooLate { lack, .. } => format!("{error}: {}", lacking(lack)),
        _ => causes(error),
    }
}

fn lacking(lack: &Lack) -> String {
    match lack {
        Lack::Word => "it did not say that it is ready".to_owned(),
        Lack::Listener { missing, elsewhere } if elsewhere.is_empty() => {
            format!("it does not listen on {}", list(missing))
        }
        Lack::Listener { missing, elsewhere } => format!(
            "it listens on {} and not on {}; `tine restart` changes ports",
            list(elsewhere),
            list(missing)
        ),
        Lack::Time => "it had not run for min_uptime".to_owned(),
        _ => "it was told to stop".to_owned(),
    }
}

fn list(keys: &[ListenKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
