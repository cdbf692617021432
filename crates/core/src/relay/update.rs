//! Messages of one client that wait to be stored.

use super::api::ConnectionId;
use crate::error::SyncError;
use crate::frame::Head;
use crate::ids::{DeviceId, WalletAddress};
use crate::message::Message;
use crate::vector_clock::VectorClock;

/// What a client wants stored, oldest first.
pub(super) struct Update {
    pub connection: ConnectionId,
    /// Of the frame that it came in: what the answer is about.
    pub head: Head,
    /// In whose name it is written.
    pub device_id: DeviceId,
    pub messages: Vec<Draft>,
    /// Each message stands on the one before: what follows one that was not taken is not taken either.
    pub is_chain: bool,
    /// Its sender expects to hear that it is stored.
    pub acknowledge: bool,
    /// The acknowledgement says what the log knows.
    pub wants_clock: bool,
    /// The wallet that its sender is known by from now on, where it has announced none.
    pub speaks_for: Option<WalletAddress>,
    /// Its sender is sent what happens from now on without asking.
    pub listens: bool,
}

/// A message that is to be stored.
pub(super) struct Draft {
    pub message: Message,
    pub clock: VectorClock,
    pub identity: Identity,
    /// Why it cannot be read, where it cannot: it keeps its place among the others.
    pub unreadable: Option<SyncError>,
}

/// What a message is known by when it comes again.
pub(super) enum Identity {
    /// By its device's own count: exactly the next one is taken.
    Counter(u64),
    /// By a key, where it has one; the relay counts for its device.
    Key(Option<String>),
}
