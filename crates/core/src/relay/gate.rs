//! Who may say what: one table for every kind of frame and every state of its sender.

use super::api::ConnectionId;
use super::session::{Attachment, Session};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Frame, Head, PROTOCOL_VERSION};
use crate::group::{Role, not_in_it};
use crate::ids::is_account_id;

/// The kinds of frames that arrive, as the table knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Announce,
    Request,
    Update,
    Chat,
    Ack,
    Heartbeat,
    Receipt,
    /// Of the connection and not of a session.
    Wallet,
    /// Of the connection too.
    SignIn,
    /// Of an account, from one of its devices to another.
    ShortNumber,
    Error,
    /// What only the relay says.
    Relays,
}

impl Kind {
    fn of(body: &Body) -> Kind {
        match body {
            Body::DeviceAnnounce(_) => Kind::Announce,
            Body::SyncRequest(_) => Kind::Request,
            Body::SyncUpdate(_) | Body::SeedUpdate(_) => Kind::Update,
            Body::Chat(_) => Kind::Chat,
            Body::SyncAck(_) => Kind::Ack,
            Body::SyncHeartbeat(_) => Kind::Heartbeat,
            Body::ReadReceipt(_) => Kind::Receipt,
            Body::WalletAnnounce(_) => Kind::Wallet,
            Body::SignIn(_) => Kind::SignIn,
            Body::ShortNumber(_) => Kind::ShortNumber,
            Body::Error(_) => Kind::Error,
            Body::DeviceList(_)
            | Body::SyncResponse(_)
            | Body::SeedResponse(_)
            | Body::SyncStatus(_)
            | Body::SyncConflict(_)
            | Body::ReadReceiptSync(_)
            | Body::SessionList(_)
            | Body::Hello(_)
            | Body::SignedIn(_) => Kind::Relays,
        }
    }
}

/// What the connection that a frame came on is in the frame's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// It names our rules and has announced no device.
    Unannounced,
    /// A device of our rules.
    Announced,
    /// A device of our rules, of which a message was not taken.
    Refused,
    /// A seed client, whether it is in the room yet or not.
    Seed,
    /// The connection of a device of our rules, but the frame names no `protocolVersion`, or has none to name.
    Bare,
}

impl Sender {
    fn of(head: &Head, attachment: Option<&Attachment>) -> Sender {
        let device = attachment.filter(|attachment| attachment.dialect.is_v1());
        match (speaks_v1(head), device) {
            (true, Some(device)) if device.refused => Sender::Refused,
            (true, Some(_)) => Sender::Announced,
            (true, None) => Sender::Unannounced,
            (false, Some(_)) => Sender::Bare,
            (false, None) => Sender::Seed,
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
    /// A connection speaks one dialect in a session: a bare frame would speak in its device's name by other rules.
    NamesNoVersion,
    /// The relay serves only who has signed in.
    NotSignedIn,
    /// The connection has signed in as another device, or wallet.
    SignedInOtherwise,
    /// The frame is about an account log, which only its devices write, and who has not signed in does not read.
    OfAnAccount,
    /// The session is closed to all but devices that have signed in as one of its wallets.
    NotAMember,
    /// The wallet was one of them once.
    NoMemberAnyMore,
}

/// What a connection has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed<'a> {
    /// Nothing, and the relay requires that it does.
    Required,
    /// Nothing, and it need not.
    Open,
    /// That it is this device of this wallet.
    In { wallet: &'a str, device_id: &'a str, account_id: &'a str },
}

/// Whether a connection may speak at all, before it is asked what it is in a session.
pub(super) fn judge_speaker(frame: &Frame, signed: Signed<'_>) -> Verdict {
    let Frame { head, body } = frame;
    match (Kind::of(body), signed) {
        (Kind::SignIn, _) => Allowed,
        (_, Signed::Required) => Verdict::NotSignedIn,
        // Who has how many devices is no secret among those that have signed in.
        (Kind::Request | Kind::Update | Kind::ShortNumber, Signed::In { device_id, account_id, .. })
            if is_account_id(&head.session_id)
                && (Kind::of(body) == Kind::Request || head.session_id == account_id)
                && head.device_id == device_id
                && speaks_v1(head) =>
        {
            Allowed
        }
        (Kind::ShortNumber, _) => Verdict::OfAnAccount,
        _ if is_account_id(&head.session_id) => Verdict::OfAnAccount,
        (_, Signed::In { wallet, device_id, .. })
            if head.device_id != device_id || said_wallet(body).is_some_and(|said| said != wallet) =>
        {
            Verdict::SignedInOtherwise
        }
        (Kind::Error, _) => Allowed,
        (_, Signed::In { .. }) if !speaks_v1(head) => NamesNoVersion,
        _ => Allowed,
    }
}

/// Whose a frame says that its device is.
fn said_wallet(body: &Body) -> Option<&str> {
    match body {
        Body::DeviceAnnounce(announce) => announce.wallet.as_deref(),
        Body::WalletAnnounce(said) => Some(&said.wallet),
        _ => None,
    }
}

use Verdict::{Allowed, Ignored, NamesNoVersion, NoMemberAnyMore, NotAMember, NotAnnounced, OnlyTheRelay, RefusedBefore};

/// One row a kind; the columns are unannounced, announced, refused, seed, bare. A chat frame has no `protocolVersion`.
const TABLE: [(Kind, [Verdict; 5]); 12] = [
    (Kind::Announce, [Allowed, Allowed, Allowed, Allowed, NamesNoVersion]),
    (Kind::Request, [NotAnnounced, Allowed, Allowed, Allowed, NamesNoVersion]),
    (Kind::Update, [NotAnnounced, Allowed, RefusedBefore, Allowed, NamesNoVersion]),
    (Kind::Chat, [NamesNoVersion, NamesNoVersion, NamesNoVersion, Allowed, NamesNoVersion]),
    (Kind::Ack, [NotAnnounced, Allowed, Allowed, Ignored, NamesNoVersion]),
    (Kind::Heartbeat, [NotAnnounced, Allowed, Allowed, Allowed, NamesNoVersion]),
    (Kind::Receipt, [NotAnnounced, Allowed, Allowed, Allowed, NamesNoVersion]),
    (Kind::Wallet, [Allowed, Allowed, Allowed, NamesNoVersion, NamesNoVersion]),
    (Kind::SignIn, [Allowed, Allowed, Allowed, NamesNoVersion, NamesNoVersion]),
    // Of no session: who may say it is found out before.
    (Kind::ShortNumber, [NotAMember; 5]),
    (Kind::Error, [Ignored; 5]),
    (Kind::Relays, [OnlyTheRelay; 5]),
];

/// Who may say what in a session that is closed. One row a kind; the columns are stranger, former, member, admin. A device that was
/// removed from its account has no connection; one that comes without signing in is a stranger. What an admin may that a member
/// may not stands in entries, and is checked at their place in the log (`group.rs`).
const ROLES: [(Kind, [Verdict; 4]); 12] = [
    (Kind::Announce, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Request, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Update, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Chat, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Ack, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Heartbeat, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    (Kind::Receipt, [NotAMember, NoMemberAnyMore, Allowed, Allowed]),
    // Of the connection.
    (Kind::Wallet, [Allowed; 4]),
    (Kind::SignIn, [Allowed; 4]),
    (Kind::ShortNumber, [NotAMember; 4]),
    (Kind::Error, [Ignored; 4]),
    (Kind::Relays, [OnlyTheRelay; 4]),
];

/// What happens to a frame of a connection that is this in its session, which is closed.
pub(super) fn judge_role(body: &Body, role: Role) -> Verdict {
    ROLES[Kind::of(body) as usize].1[role as usize]
}

/// What happens to a frame of a connection that has this attachment in its session.
pub(super) fn judge(frame: &Frame, attachment: Option<&Attachment>) -> Verdict {
    verdict(Kind::of(&frame.body), Sender::of(&frame.head, attachment))
}

/// What the table says.
fn verdict(kind: Kind, sender: Sender) -> Verdict {
    TABLE[kind as usize].1[sender as usize]
}

impl Verdict {
    /// The error that a refused frame is answered with.
    pub fn error(self) -> Option<SyncError> {
        match self {
            Allowed | Ignored => None,
            NotAnnounced => Some(SyncError::new(ErrorCode::NotAnnounced, "announce the device in this session first")),
            RefusedBefore => Some(refused_before()),
            NamesNoVersion => {
                let message = "frames of this kind, and those of a device of protocolVersion 1, name that version";
                Some(SyncError::new(ErrorCode::InvalidMessageFormat, message))
            }
            Verdict::NotSignedIn => Some(SyncError::new(
                ErrorCode::SignInRequired,
                "this relay serves only devices that have signed in: the application must name its `domains`",
            )),
            Verdict::SignedInOtherwise => {
                Some(SyncError::new(ErrorCode::WrongKey, "the connection has signed in as another device or wallet"))
            }
            NotAMember => Some(not_in_it(Role::Stranger)),
            NoMemberAnyMore => Some(not_in_it(Role::Former)),
            Verdict::OfAnAccount => {
                Some(SyncError::new(ErrorCode::NotAMember, "an account is for its own devices, and its log for who has signed in"))
            }
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

/// A device id belongs to the client that wrote under it in the session, or else to the one that is there: a seed client under
/// the id of a device of our rules would give it other counters, and such a device under that of a seed client would have
/// the seed client's frames refused from then on.
pub(super) fn check_name(session: &Session, connection: ConnectionId, device_id: &str, v1: bool) -> Result<(), SyncError> {
    let there = || {
        let mut others =
            session.attachments.iter().filter(|(other, attachment)| **other != connection && attachment.device_id == device_id);
        others.next().map(|(_, attachment)| attachment.dialect.is_v1())
    };
    match (session.devices.wrote_as_v1(device_id).or_else(there), v1) {
        (Some(true), false) => {
            let message = format!("device {device_id:?} is of protocolVersion 1 and speaks for itself: take another deviceId");
            Err(SyncError::new(ErrorCode::InvalidMessageFormat, message))
        }
        (Some(false), true) => {
            let message = format!("deviceId {device_id:?} is that of a client without protocolVersion: take another");
            Err(SyncError::new(ErrorCode::CounterReused, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDERS: [Sender; 5] = [Sender::Unannounced, Sender::Announced, Sender::Refused, Sender::Seed, Sender::Bare];

    #[test]
    fn every_kind_and_sender_finds_its_verdict_in_the_table() {
        for (row, (kind, verdicts)) in TABLE.into_iter().enumerate() {
            assert_eq!(kind as usize, row, "{kind:?}");
            for (column, sender) in SENDERS.into_iter().enumerate() {
                assert_eq!((sender as usize, verdict(kind, sender)), (column, verdicts[column]), "{kind:?} {sender:?}");
            }
        }
        assert_eq!(TABLE.len(), Kind::Relays as usize + 1, "a kind without a row");
    }

    #[test]
    fn nobody_but_members_says_anything_of_a_closed_session() {
        assert_eq!([Role::Stranger, Role::Former, Role::Member, Role::Admin].map(|role| role as usize), [0, 1, 2, 3]);
        for (row, (kind, verdicts)) in ROLES.into_iter().enumerate() {
            assert_eq!(kind as usize, row, "{kind:?}");
            let is_of_a_session = !matches!(kind, Kind::Wallet | Kind::SignIn | Kind::ShortNumber | Kind::Error | Kind::Relays);
            assert_eq!(verdicts[..2] == [NotAMember, NoMemberAnyMore], is_of_a_session, "{kind:?}");
            assert_eq!(verdicts[2], verdicts[3], "{kind:?}");
        }
        assert_eq!(ROLES.len(), Kind::Relays as usize + 1, "a kind without a row");
    }

    #[test]
    fn an_unannounced_sender_may_only_announce_itself_and_its_wallet() {
        let allowed = |sender| TABLE.map(|(kind, _)| kind).into_iter().filter(|kind| verdict(*kind, sender) == Allowed).collect::<Vec<_>>();
        assert_eq!(allowed(Sender::Unannounced), [Kind::Announce, Kind::Wallet, Kind::SignIn]);
        assert_eq!(allowed(Sender::Bare), []);
        assert!(!allowed(Sender::Refused).contains(&Kind::Update));
        assert!(!allowed(Sender::Seed).contains(&Kind::Ack));
        assert!(!allowed(Sender::Seed).contains(&Kind::Wallet) && !allowed(Sender::Seed).contains(&Kind::SignIn));
    }

    #[test]
    fn every_refusal_has_its_error_code() {
        let rows = TABLE.map(|(kind, verdicts)| (kind, verdicts.to_vec())).into_iter();
        for (kind, verdicts) in rows.chain(ROLES.map(|(kind, verdicts)| (kind, verdicts.to_vec()))) {
            for verdict in verdicts {
                let code = verdict.error().map(|error| error.code);
                let expected = match verdict {
                    Allowed | Ignored => None,
                    NotAnnounced | RefusedBefore => Some(ErrorCode::NotAnnounced),
                    OnlyTheRelay | NamesNoVersion => Some(ErrorCode::InvalidMessageFormat),
                    NotAMember => Some(ErrorCode::NotAMember),
                    NoMemberAnyMore => Some(ErrorCode::MemberRemoved),
                    Verdict::NotSignedIn | Verdict::SignedInOtherwise | Verdict::OfAnAccount => unreachable!("they are of the speaker"),
                };
                assert_eq!(code, expected, "{kind:?}");
            }
        }
    }
}
