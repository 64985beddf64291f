//! What Node's `cluster` says to its primary, and what it wants to hear.
//!
//! The words of Node 16 to 26, of Deno, and of Bun (which puts a `0x02` before its internal
//! messages). Workers must be started with `NODE_CHANNEL_SERIALIZATION_MODE=json`.
//!
//! One [`Session`] for each worker. Feed it what arrived ([`Session::receiver`]), take its events
//! ([`Session::next_event`]), send what waits ([`Session::outbox`]):
//!
//! ```
//! use tine_cluster::wire::node::{Answer, Event, Session};
//!
//! let mut session = Session::default();
//! session.receiver().push(
//!     b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"address\":\"127.0.0.1\",\"port\":80,\
//!        \"addressType\":4,\"seq\":1}\n",
//!     [],
//!     false,
//! );
//! let Some(Event::QueryServer { seq, query }) = session.next_event()? else { panic!() };
//! assert_eq!(query.server_key().as_str(), "127.0.0.1:80:4:undefined");
//! session.reply_error(Answer { seq, key: "h1", data: query.data() }, -98)?;
//! let (text, _) = session.outbox().front().expect("the reply");
//! assert!(text.starts_with(b"{\"cmd\":\"NODE_CLUSTER\",\"errno\":-98,"));
//! # Ok::<(), tine_cluster::wire::node::ProtocolError>(())
//! ```
//!
//! # Descriptors
//!
//! Whatever is given to a session as `Arc<OwnedFd>` it holds until the worker says that it has
//! arrived; the caller keeps its own clone for as long as it may have to give the connection to
//! another worker, that is until [`Event::Reply`] says `accepted`. Dropping a session closes its
//! share.

mod incoming;
mod lane;
mod outgoing;
mod query;
mod session;

pub use incoming::{Malformed, ProtocolError};
pub use outgoing::{Answer, HandleKind, UserHandle};
pub use query::{Address, BadAddress, Host, QueryServer, ServerKey, UdpFlags};
pub use session::{Event, Limits, Refused, Session};
