//! What a command ends with.

use std::process::ExitCode;

use crate::client::ClientError;

/// The manager is in trouble, not the request.
const MANAGER: u8 = 3;

/// 1 for what the user can mend, 3 for trouble with the manager. (2 is for words that are no command.)
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<ClientError>() {
        None | Some(ClientError::Refused(_) | ClientError::Home(_)) => ExitCode::FAILURE,
        Some(_) => ExitCode::from(MANAGER),
    }
}
