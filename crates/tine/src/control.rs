//! The control socket of a manager: one JSON line each way, for front ends of the same user.
//!
//! ```text
//!   tine ports ──{"request":"ports"}──▶ serve ──Question──▶ the manager's own loop
//!              ◀──{"response":"ports"…}──      ◀──oneshot──
//! ```

mod apps;
mod client;
mod line;
mod server;

pub use apps::{AppQuestion, Replies, serve_apps};
pub use client::{Answer, AskError, ask, ask_all};
pub use server::{ControlSocket, ControlSocketError, Question, serve};
