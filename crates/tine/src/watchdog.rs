//! The process above the manager, of which there are two kinds.
//!
//! That of `tine run` ([`Watchdog`]) does next to nothing, so that next to nothing can go wrong with it:
//! it passes signals to the manager, takes zombies away when it is PID 1 of a container, and sees to it
//! that no worker is left when the manager is killed. If it is killed itself, the manager stops the app.
//!
//! That of the background manager ([`Keeping`]) keeps what a next manager needs, and forks one when the
//! one before was killed:
//!
//! ```text
//!   Keeping ──fork──▶ manager ──fork──▶ workers
//!      │ ◀──put, forget── Keeper          descriptors and facts, as things happen
//!      │ ──ended─────────▶ Line           how children of a dead manager ended
//!      │ ◀──what is there?── reach        in workers that the manager may not look into
//!      └──fork──▶ next manager, with the whole store
//! ```

mod handover;
mod journal;
mod keeper;
mod keeping;
mod line;
mod message;
mod pace;
mod packet;
mod plain;
mod reach;
mod store;

pub(crate) use handover::{CAN_ADOPT, UPDATE_FAILED};
pub use handover::{replace_watchdog, versions};
pub(crate) use journal::{
    is_list_of_this_boot, is_there as journal_is_there, read as read_journal,
};
pub use keeper::Keeper;
pub use keeping::{Charge, Keeping, Role};
pub use line::{Line, News};
pub use plain::{Watchdog, split};
pub use store::{Item, Store};

use anyhow::Context;
use rustix::process::Signal;
use tine_linux::split::Inbox;

/// Which of the two this process has become.
#[derive(Debug)]
pub enum Side {
    /// The process that the shell started.
    Watchdog(Watchdog),
    /// Its child.
    Manager(Signals),
}

/// The child's signals, held back until it handles them.
#[derive(Debug)]
pub struct Signals(Inbox);

/// What is passed on, and the news of children.
const SIGNALS: [i32; 7] = [
    Signal::INT.as_raw(),
    Signal::TERM.as_raw(),
    Signal::QUIT.as_raw(),
    Signal::HUP.as_raw(),
    Signal::USR1.as_raw(),
    Signal::USR2.as_raw(),
    Signal::CHILD.as_raw(),
];

impl Signals {
    /// Lets them through: handlers are there now.
    ///
    /// # Errors
    ///
    /// As `sigprocmask(2)` tells.
    pub fn release(self) -> anyhow::Result<()> {
        self.0.close().context("let signals through")
    }
}
