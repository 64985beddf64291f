//! The names of things. Each number that means something has its own type, so that they cannot be
//! mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One process that fills an instance. Counts up from 1 within a cluster and is never reused:
    /// Node's `cluster.worker.id`.
    WorkerId(u32)
}
number! {
    /// A place `0…N-1` in an app. It outlives the workers that fill it one after the other.
    Instance(u32)
}
number! {
    /// An address that the workers of an app listen on. Never reused within a cluster.
    ListenerId(u32)
}
number! {
    /// One listening socket of a listener. Never reused within a cluster.
    SeatId(u32)
}

/// From here on a number is a turn in the rotation and not an instance.
#[cfg(feature = "tokio")]
const TURNS: u32 = 1 << 31;

#[cfg(feature = "tokio")]
impl Instance {
    /// The turn of a worker that fills no instance: after all instances, in the order of the starts.
    pub(crate) const fn turn_of(worker: WorkerId) -> Self {
        Self(TURNS | worker.0)
    }

    /// `None` if it is a turn only.
    pub(crate) const fn filled(self) -> Option<Self> {
        if self.0 < TURNS { Some(self) } else { None }
    }
}
