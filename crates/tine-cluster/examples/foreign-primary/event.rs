//! What the other program is told.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use tine_cluster::{
    id::WorkerId,
    json::Json,
    primary::{AddressType, ListeningAddress},
};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Line {
    Done {
        id: Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(flatten)]
        more: More,
    },
    Fork {
        worker: WorkerId,
        pid: i32,
    },
    Online {
        worker: WorkerId,
    },
    Listening {
        worker: WorkerId,
        address: Option<String>,
        address_type: Value,
        port: i32,
    },
    Message {
        worker: WorkerId,
        message: Json,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        handle: bool,
    },
    Disconnect {
        worker: WorkerId,
    },
    Exit {
        worker: WorkerId,
        code: Option<u8>,
        signal: Option<String>,
        exited_after_disconnect: bool,
    },
    Output {
        worker: WorkerId,
        stream: &'static str,
        text: String,
    },
    Error {
        worker: WorkerId,
        message: String,
    },
}

/// What an answer says beside that it is done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) descriptors: Option<Vec<usize>>,
}

impl Line {
    pub(crate) fn listening(worker: WorkerId, address: ListeningAddress) -> Self {
        let address_type = match address.kind {
            AddressType::V4 => 4.into(),
            AddressType::V6 => 6.into(),
            AddressType::Path => (-1).into(),
            AddressType::Udp4 => "udp4".into(),
            AddressType::Udp6 => "udp6".into(),
        };
        // Node's, for a path.
        let port = address.port.map_or(-1, i32::from);
        Self::Listening { worker, address: address.address, address_type, port }
    }

    /// Writes it. Whoever does not read it stops the primary.
    pub(crate) fn say(&self) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    }
}
