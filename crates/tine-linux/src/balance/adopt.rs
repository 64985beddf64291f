//! A balancer that goes from one process to another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{
    Balance, BalanceError, Balancer, HALF, KernelOffsets, Slot, Step, at,
    bpf::{Map, MapKind},
};

impl Balancer {
    /// Takes over the program and the tables of another process's balancer, from whoever has kept its
    /// [`Self::descriptors`]. What it decides by stays as it is.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Failed`] or [`BalanceError::Unsupported`] when these are not the descriptors of one.
    pub fn adopt(
        [program, sockets, ring, tallies, cursor]: [OwnedFd; 5],
        policy: Balance,
        knows_queues: bool,
    ) -> Result<Self, BalanceError> {
        let sockets = Map::adopt(sockets, MapKind::Sockets, Slot::COUNT);
        let sockets = sockets.map_err(at(Step::CreateMap))?;
        let ring = Map::adopt(ring, MapKind::Array, 1 + 2 * HALF).map_err(at(Step::CreateMap))?;
        let tallies = Map::adopt(tallies, MapKind::Array, Slot::COUNT);
        let tallies = tallies.map_err(at(Step::CreateMap))?;
        let cursor = Map::adopt(cursor, MapKind::Array, 1).map_err(at(Step::CreateMap))?;
        // Whichever was not the other at the last change.
        let half = ring.get(0).map_err(at(Step::Rotate))? & 1;
        // For a program of another policy, should there be one.
        let offsets = knows_queues.then(KernelOffsets::read).and_then(Result::ok);
        Ok(Self { program, sockets, ring, tallies, cursor, offsets, half, policy })
    }

    /// All that another process needs to go on with it: for [`Self::adopt`].
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 5] {
        [
            self.program.as_fd(),
            self.sockets.as_fd(),
            self.ring.as_fd(),
            self.tallies.as_fd(),
            self.cursor.as_fd(),
        ]
    }

    /// Whether it can read the lengths of queues, be it that its policy has no use for them.
    #[must_use]
    pub const fn knows_queues(&self) -> bool {
        self.offsets.is_some()
    }
}
