//! What the worker hears, and whether it may be said now.

use serde_json::Value;
use tine_cluster::wire::node::Session;

/// A handle is sent so often and no more.
const SENDS: usize = 4;

/// Reads what goes out, in any portions.
#[derive(Debug, Default)]
pub(super) struct Ear {
    line: Vec<u8>,
    /// Lines with a handle that have come, resent ones among them.
    handles: usize,
    /// The worker's words on handles, given so far.
    pub(super) answers: usize,
    last_handle: Option<(u64, usize)>,
    last_seq: Option<u64>,
}

impl Ear {
    /// Reads up to `most` bytes.
    pub(super) fn listens(&mut self, session: &mut Session, mut most: usize) {
        while most > 0 {
            let Some((text, fd)) = session.outbox().front() else { return };
            let (count, has) = (text.len().min(most), fd.is_some());
            assert!(self.line.is_empty() || !has, "a descriptor goes with the first byte only");
            if self.line.is_empty() {
                assert_eq!(
                    has,
                    text.starts_with(b"{\"cmd\":\"NODE_HANDLE\""),
                    "a line's descriptor"
                );
            }
            self.line.extend_from_slice(&text[..count]);
            most -= count;
            session.outbox().sent(count);
            if self.line.last() == Some(&b'\n') {
                self.understands();
            }
        }
    }

    /// Whether the worker has got a handle that it has not answered for.
    pub(super) fn answers_for_a_handle(&self) -> bool {
        self.handles > self.answers
    }

    fn understands(&mut self) {
        let line = std::mem::take(&mut self.line);
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1), "one line");
        let text = line.strip_prefix(b"\x02").unwrap_or(&line);
        let says: Value = serde_json::from_slice(text).expect("a line of JSON");
        match says["cmd"].as_str() {
            // These answer for the worker's own handles, and overtake all else.
            Some("NODE_HANDLE_ACK" | "NODE_HANDLE_NACK") => {}
            Some("NODE_HANDLE") => self.gets_a_handle(&says["msg"]),
            Some(_) | None => {
                assert!(self.handles <= self.answers, "it overtakes a handle: {says}");
                self.follows(&says);
            }
        }
    }

    fn gets_a_handle(&mut self, message: &Value) {
        assert!(self.handles <= self.answers, "two handles are on their way");
        self.handles += 1;
        let seq = message["seq"].as_u64().expect("every message has a number");
        let sends = match self.last_handle {
            Some((last, sends)) if last == seq => sends + 1,
            Some(_) | None => {
                self.follows(message);
                1
            }
        };
        assert!(sends <= SENDS, "it was sent {sends} times");
        self.last_handle = Some((seq, sends));
    }

    /// Messages come in the order in which they were said.
    fn follows(&mut self, message: &Value) {
        let Some(seq) = message["seq"].as_u64() else { return };
        assert!(self.last_seq < Some(seq), "{seq} came after {:?}", self.last_seq);
        self.last_seq = Some(seq);
    }
}
