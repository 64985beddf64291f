//! Lines of bounded length.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Why there is no next line.
#[derive(Debug, Error)]
pub(super) enum LineError {
    /// The peer writes on without an end of line; what follows has no beginning any more.
    #[error("a line is longer than {limit} bytes")]
    TooLong {
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// The connection failed.
    #[error("read from the control socket")]
    Io(#[source] io::Error),
}

/// The next line without its end, or `None` at the end of the stream. Never keeps more than
/// `limit` bytes and one; a last line without an end counts.
pub(super) async fn next_line(
    from: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> Result<Option<Vec<u8>>, LineError> {
    let mut line = Vec::new();
    let mut bounded = from.take(limit as u64 + 1);
    bounded.read_until(b'\n', &mut line).await.map_err(LineError::Io)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(line));
    }
    if line.len() > limit {
        return Err(LineError::TooLong { limit });
    }
    Ok((!line.is_empty()).then_some(line))
}
