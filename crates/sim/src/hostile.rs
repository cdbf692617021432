//! Members that keep no rules (F47, F49), on binary and on JSON connections.

use crate::network::{ConnectionId, Parcel};
use crate::world::World;

/// One hostile member.
pub struct Hostile {
    pub(crate) connection: Option<ConnectionId>,
}

impl World {
    /// It does its next bad thing.
    pub fn hostile_acts(&mut self, _index: usize) {}

    /// Something arrives at it.
    pub fn hostile_hears(&mut self, _index: usize, _connection: ConnectionId, _parcel: Parcel) {}
}
