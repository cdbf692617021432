//! Messages of one client that wait to be stored.

use super::api::{ConnectionId, Key};
use crate::entry::{Digest, Entry};
use crate::error::SyncError;
use crate::frame::Head;
use crate::identity::UpdateSignature;
use crate::ids::{DeviceId, WalletAddress};
use crate::vector_clock::VectorClock;

/// What a client wants stored, oldest first.
pub(super) struct Update {
    pub connection: ConnectionId,
    /// Of the frame that it came in: what the answer is about.
    pub head: Head,
    /// In whose name it is written.
    pub device_id: DeviceId,
    pub messages: Vec<Draft>,
    /// The digest that the last message must have.
    pub last_digest: Option<Digest>,
    /// The device's signature under that. What is signed is taken as a whole or not at all, so that what is in the log is
    /// covered by a signature there.
    pub signature: Option<Box<UpdateSignature>>,
    /// Each message stands on the one before: what follows one that was not taken is not taken either.
    pub is_chain: bool,
    /// Its sender expects to hear that it is stored.
    pub acknowledge: bool,
    /// The acknowledgement names messages by their ids and says what the log knows as a clock; otherwise by counters, with
    /// the log's hash.
    pub by_names: bool,
    /// The wallet that its sender is known by from now on, where it has announced none.
    pub speaks_for: Option<WalletAddress>,
    /// Its sender is sent what happens from now on without asking.
    pub listens: bool,
}

/// A message that is to be stored: an entry without a place.
pub(super) struct Draft {
    pub entry: Entry,
    pub knowledge: Knowledge,
    /// Why it cannot be read, where it cannot: it keeps its place among the others.
    pub unreadable: Option<SyncError>,
}

/// How a message says what its author knew, and so what it is known by when it comes again.
pub(super) enum Knowledge {
    /// As the log up to a sequence number, with its device's own count: exactly the next one is taken.
    Prefix,
    /// As a vector clock. It is known by a key, where it has one; the relay counts for its device.
    Clock { key: Option<Key>, clock: VectorClock },
}
