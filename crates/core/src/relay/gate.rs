//! Who may say what: one table for every kind of frame and every state of its sender.

use super::session::Attachment;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Head, PROTOCOL_VERSION};

/// The kinds of frames that arrive, as the table knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Announce,
    Request,
    Update,
    Chat,
    Ack,
    Heartbeat,
    Receipt,
    Error,
    /// What only the relay says.
    Relays,
}

impl Kind {
    pub fn of(body: &Body) -> Kind {
        match body {
            Body::DeviceAnnounce(_) => Kind::Announce,
            Body::SyncRequest(_) => Kind::Request,
            Body::SyncUpdate(_) => Kind::Update,
            Body::Chat(_) => Kind::Chat,
            Body::SyncAck(_) => Kind::Ack,
            Body::SyncHeartbeat(_) => Kind::Heartbeat,
            Body::ReadReceipt(_) => Kind::Receipt,
            Body::Error(_) => Kind::Error,
            Body::DeviceList(_) | Body::SyncResponse(_) | Body::SyncStatus(_) | Body::SyncConflict(_) | Body::ReadReceiptSync(_) => {
                Kind::Relays
            }
        }
    }
}

/// What the connection that a frame came on is in the frame's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// It names our rules and has announced no device.
    Unannounced,
    /// A device of our rules.
    Announced,
    /// A device of our rules, of which a message was not taken.
    Refused,
    /// A seed client, whether it is in the room yet or not.
    Seed,
}

impl Sender {
    pub fn of(head: &Head, attachment: Option<&Attachment>) -> Sender {
        match attachment {
            Some(attachment) if attachment.refused => Sender::Refused,
            Some(attachment) if attachment.dialect.is_v1() => Sender::Announced,
            _ if speaks_v1(head) => Sender::Unannounced,
            _ => Sender::Seed,
        }
    }
}

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// Nothing happens, and nothing is said.
    Ignored,
    NotAnnounced,
    /// As `NotAnnounced`: a message before it was not taken.
    RefusedBefore,
    OnlyTheRelay,
}

use Verdict::{Allowed, Ignored, NotAnnounced, OnlyTheRelay, RefusedBefore};

/// One row a kind; the columns are unannounced, announced, refused, seed.
pub(super) const TABLE: [(Kind, [Verdict; 4]); 9] = [
    (Kind::Announce, [Allowed, Allowed, Allowed, Allowed]),
    (Kind::Request, [NotAnnounced, Allowed, Allowed, Allowed]),
    (Kind::Update, [NotAnnounced, Allowed, RefusedBefore, Allowed]),
    (Kind::Chat, [Allowed, Allowed, Allowed, Allowed]),
    (Kind::Ack, [Ignored, Allowed, Allowed, Ignored]),
    (Kind::Heartbeat, [Allowed, Allowed, Allowed, Allowed]),
    (Kind::Receipt, [NotAnnounced, Allowed, Allowed, Allowed]),
    (Kind::Error, [Ignored, Ignored, Ignored, Ignored]),
    (Kind::Relays, [OnlyTheRelay, OnlyTheRelay, OnlyTheRelay, OnlyTheRelay]),
];

/// What the table says.
pub(super) fn verdict(kind: Kind, sender: Sender) -> Verdict {
    TABLE[kind as usize].1[sender as usize]
}

impl Verdict {
    /// The error that a refused frame is answered with.
    pub fn error(self) -> Option<SyncError> {
        match self {
            Allowed | Ignored => None,
            NotAnnounced => Some(SyncError::new(ErrorCode::NotAnnounced, "announce the device in this session first")),
            RefusedBefore => Some(refused_before()),
            OnlyTheRelay => Some(SyncError::new(ErrorCode::InvalidMessageFormat, "only the relay sends this frame")),
        }
    }
}

pub(super) fn refused_before() -> SyncError {
    SyncError::new(ErrorCode::NotAnnounced, "a message before it was not taken; announce the device again")
}

pub(super) fn speaks_v1(head: &Head) -> bool {
    head.protocol_version.is_some_and(|version| version >= PROTOCOL_VERSION)
}
