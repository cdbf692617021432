//! What goes into the client machine, what comes out, and what its shell stores.

use std::sync::Arc;

use super::answers::CallRecord;
use super::log_record::LogRecord;
use super::records::{
    AccountRecord, DeviceRecord, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord, NameRecord, OutboxRecord, SessionRecord,
    SpareRecord, VersionsRecord,
};
use super::vault::Secret;
use super::views::{ConnectionState, DeliveryReceipt, DeviceView, MessageStatus, MessageView, RecoveryView, SessionView, SyncStats};
use crate::conflict::Conflict;
use crate::entry::Entry;
use crate::error::SyncError;
use crate::frame::ReceiptStatus;
use crate::identity::Certificate;
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress};

/// Names a call of the application; its answer is an [`Action::Reply`] with the same number.
pub type RequestId = u64;

/// Names a call over all lives of the machine: one that is made again under the same name is done once, and has the same
/// answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKey {
    /// The tab that asks.
    pub tab: u64,
    /// Its own number for the call.
    pub call: u64,
    /// It has the answers to its calls up to this one, and never asks for them again.
    pub done_through: u64,
}

/// Names one socket. Whatever an older socket still says is ignored.
pub type Generation = u64;

/// Names one commit.
pub type CommitId = u64;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Input {
    /// The application connected a wallet: its sessions sync from now on.
    ConnectWallet { request: RequestId, wallet: WalletAddress },
    /// The application disconnected it: nothing syncs until the next.
    DisconnectWallet { request: RequestId },
    /// `startSession`. Replies [`Reply::Session`].
    OpenSession { request: RequestId, peer_wallet: WalletAddress },
    /// `startSession` of a group: with these wallets and this one, which is its admin. Replies [`Reply::Session`].
    OpenGroup { request: RequestId, name: String, members: Vec<WalletAddress> },
    /// `addMembers`, `removeMembers`, `leaveSession`, `renameSession`, `setAdmin`: what is to be different in a group. Replies
    /// [`Reply::Done`] once it is stored; the relay hears it like a message.
    Regroup { request: RequestId, session_id: SessionId, wish: GroupWish },
    /// `endSession`: stops its auto-sync and pushes; what is queued is still sent. Replies [`Reply::Done`].
    CloseSession { request: RequestId, session_id: SessionId },
    /// `acceptSession`: starts a session that another wallet began. Replies [`Reply::Session`].
    AcceptSession { request: RequestId, session_id: SessionId },
    /// `declineSession`: forgets an invitation until the peer writes more. Replies [`Reply::Done`].
    DeclineSession { request: RequestId, session_id: SessionId },
    /// `blockWallet`: no invitation of it is told, and a session with it ends. Replies [`Reply::Done`].
    BlockWallet { request: RequestId, peer_wallet: WalletAddress },
    /// `unblockWallet`. Replies [`Reply::Done`].
    UnblockWallet { request: RequestId, peer_wallet: WalletAddress },
    /// The wallet has signed what [`offer`](super::Client::offer) asked for. Replies [`Reply::Done`].
    Certify { request: RequestId, certificate: Certificate },
    /// `removeDevice`: it is no device of the wallet any more, nor is what it certified or approved. Replies [`Reply::Done`] once the
    /// account says so.
    RemoveDevice { request: RequestId, device_id: DeviceId },
    /// `approveDevice`: it may do all that approved devices may. Replies [`Reply::Done`] once the account says so.
    ApproveDevice { request: RequestId, device_id: DeviceId },
    /// `createRecoveryCode`: makes a code that takes the place of the one before it. Replies [`Reply::RecoveryCode`] once the account
    /// says so.
    CreateRecoveryCode { request: RequestId },
    /// Whether a person is to be asked for a passkey: for a new one (`makes`), or for one to come back by, which nobody needs who lacks
    /// nothing. Asked in vain, they would have a passkey that opens nothing. Replies [`Reply::Needed`] once the account is known as
    /// far as the relay says, or what the call would be answered with, whatever the person gives.
    NeedsPasskey { request: RequestId, makes: bool },
    /// `createPasskey`: what a passkey gives takes the place of the passkey before it. Replies [`Reply::Done`] once the account says so.
    CreatePasskey { request: RequestId, output: Secret },
    /// `recover`: this device is approved by the code, and has the account's keys. Replies [`Reply::Done`] once both are stored.
    Recover { request: RequestId, code: String },
    /// `recoverWithPasskey`: the same by what a passkey gives.
    RecoverWithPasskey { request: RequestId, output: Secret },
    /// `sendMessage`. Replies [`Reply::Receipt`] once the message is stored. With a name of the application's own,
    /// `message_id`, comes what is stored under that name, `known`: the same message again is the same message, another
    /// is refused.
    Send {
        request: RequestId,
        session_id: SessionId,
        text: String,
        content_type: Option<String>,
        message_id: Option<MessageId>,
        known: Option<NameRecord>,
    },
    /// A new version of an own message; `text` of `None` deletes it. Also resolves a conflict of versions, because
    /// the new version knows all that this device knows. Replies [`Reply::Receipt`].
    Edit { request: RequestId, session_id: SessionId, message_id: MessageId, text: Option<String> },
    /// `cancelMessage`: a message that was never sent leaves, as does one that failed. Replies [`Reply::Done`].
    Cancel { request: RequestId, message_id: MessageId },
    /// `retryMessage`: one that failed is queued again. Replies [`Reply::Receipt`].
    Retry { request: RequestId, message_id: MessageId },
    /// The user saw this message and all before it. Replies [`Reply::Done`].
    MarkRead { request: RequestId, session_id: SessionId, message_id: MessageId, sequence_number: u64 },
    /// `syncMessages` / `processQueuedMessages` of one session or all. Replies [`Reply::Count`] when the relay has
    /// acknowledged what was queued and the log is stored up to the relay's head.
    Sync { request: RequestId, session_id: Option<SessionId>, scope: SyncScope },
    /// `enableAutoSync` / `disableAutoSync` (`None`). Replies [`Reply::Done`].
    AutoSync { request: RequestId, session_id: SessionId, interval_ms: Option<u64> },
    /// `clearStoredMessages`: forgets the stored log (not the outbox). Replies [`Reply::Done`].
    ClearLog { request: RequestId, session_id: SessionId },
    /// `acceptRelayLog`: goes on with the relay's logs as they are now, in the sessions that [`parted`](super::Client::parted) names, and
    /// in the account. With it comes what is stored of these sessions: what this device wrote behind the place where the logs part is
    /// queued again. One that has parted since, or whose log has grown, stays as it is. Replies [`Reply::Count`], how many.
    AcceptRelayLog { request: RequestId, stored: Vec<StoredLog> },
    /// `importMessages`: entries of one session that another device exported, in order. Those that follow what is
    /// stored are stored, the rest is ignored. Replies [`Reply::Count`].
    Import { request: RequestId, peer_wallet: WalletAddress, entries: Vec<Entry> },
    /// A call under a name. One that changes nothing that is stored is made as often as it is asked for.
    Keyed { key: CallKey, call: Box<Input> },
    /// The application wants to work offline, or no longer.
    SetOffline { offline: bool },
    /// Whether somebody keeps a list of messages and wants to hear of every [`Change`]. From then on, but not before what is on
    /// its way to disk is there.
    Observe { observed: bool },
    /// The browser believes that the network came back, or the page is seen again: try now, and doubt what was open.
    Awake,
    /// A socket is open.
    Connected { generation: Generation },
    /// A frame arrived, in the binary form.
    Received { generation: Generation, frame: Arc<[u8]> },
    /// A socket closed, failed or could not be opened.
    Disconnected { generation: Generation, reason: String },
    /// The browser has closed the store: it is gone with all that was in it (`STORAGE_LOST`), or it was made anew and is
    /// another's (`PROFILE_IN_USE`). A commit that finds that fails with this error.
    StoreClosed { error: SyncError },
    /// A commit is on disk.
    Persisted { commit: CommitId },
    /// A commit is not on disk, and nothing of it is.
    PersistFailed { commit: CommitId, error: SyncError },
    /// What [`Action::ReadLog`] asked for: the last stored batch of the session that begins at this place or before it; `None` where
    /// there is none.
    LogRead { session_id: SessionId, place: u64, record: Result<Option<LogRecord>, SyncError> },
    /// The time that `next_timeout_ms` named has come. Harmless at any other time.
    Timeout,
}

/// What a member of a group wants different in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupWish {
    /// These come in.
    Add(Vec<WalletAddress>),
    /// These leave.
    Remove(Vec<WalletAddress>),
    /// It leaves itself.
    Leave,
    /// It is called so.
    Rename(String),
    /// This one may do more, or may not.
    SetAdmin(WalletAddress, bool),
}

/// What a [`Input::Sync`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncScope {
    /// The outbox sent and the log caught up; the count is of messages synced either way.
    Everything,
    /// The outbox sent; the count is of those messages.
    Outbox,
}

/// What the shell is asked to do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Action {
    /// Write all of it in one transaction, then answer `Persisted` or `PersistFailed`. One is under way at most. The one after
    /// `STORAGE_LOST` is for a new store.
    Persist(Commit),
    /// Open a socket. Answer `Connected` or `Disconnected`.
    Connect { generation: Generation },
    /// Close this socket. Needs no answer.
    Disconnect { generation: Generation },
    /// Send a frame, in the binary form.
    Transmit { generation: Generation, frame: Arc<[u8]> },
    /// Read the stored batch that has this place of a session's log. Answer `LogRead`.
    ReadLog { session_id: SessionId, place: u64 },
    /// Answer a call of the application.
    Reply { request: RequestId, result: Result<Reply, SyncError> },
    /// Tell the application.
    Notify(Event),
}

/// One transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its number.
    pub id: CommitId,
    /// Whether it must survive a power cut, or only a crash of the browser (the relay can give it again).
    pub strict: bool,
    /// What to write, in this order.
    pub writes: Vec<Write>,
}

/// One write of a transaction. Keys stand in the store's description (ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
#[allow(clippy::large_enum_variant, reason = "a session is in nearly every transaction")]
pub enum Write {
    /// The one device record.
    Device(DeviceRecord),
    /// The one record of its key. Whoever has it is the device: it must not be kept in clear.
    Identity(IdentityRecord),
    /// The account of another wallet, by the wallet.
    Account(AccountRecord),
    /// One leaves.
    ForgetAccount { wallet: WalletAddress },
    /// A session, by its id.
    Session(SessionRecord),
    /// The heads of a session of many devices, by its id.
    Heads(HeadsRecord),
    /// Unsent messages that were queued together, by session and first counter.
    Outbox(OutboxRecord),
    /// The records of unsent messages leave whose first counters are from `first` to `last`.
    DeleteOutbox { session_id: SessionId, first: u64, last: u64 },
    /// A batch of the log, by session and first sequence number.
    Log(LogRecord),
    /// The batches that begin from `first` to `last` become what [`LogRecord::join`] makes of them, or stay as they are
    /// where it fails. In the transaction, so that who reads sees the ones or the others.
    JoinLog { session_id: SessionId, first: u64, last: u64 },
    /// All batches of a session leave.
    ClearLog { session_id: SessionId },
    /// The open versions of an edited message, by session and message. A record of none leaves.
    Versions(VersionsRecord),
    /// A message that failed, by session and number.
    Failed(FailedRecord),
    /// It leaves.
    DeleteFailed { session_id: SessionId, number: u64 },
    /// A name that the application gave, by session and name.
    Name(NameRecord),
    /// The name turned out to be another message's: what the application sends under it is refused again.
    ForgetName { session_id: SessionId, message_id: MessageId },
    /// An invitation or what the user said to it, by its session.
    Invitation(InvitationRecord),
    /// One leaves: it is accepted, or its wallet is no longer blocked.
    ForgetInvitation { session_id: SessionId },
    /// The answer to a keyed call, by tab and call.
    Call(CallRecord),
    /// One leaves.
    ForgetCall { tab: u64, call: u64 },
    /// Those of a tab leave, up to a call.
    ForgetCalls { tab: u64, through: u64 },
}

/// What is stored of a session's log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLog {
    /// The session.
    pub session_id: SessionId,
    /// Where the log ends.
    pub end: u64,
    /// Its entries, in order, but for those that were cleared.
    pub entries: Vec<Entry>,
}

/// What the store holds when the machine starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The device; `None` in a new database.
    pub device: Option<DeviceRecord>,
    /// Its key; `None` where it has none.
    pub identity: Option<IdentityRecord>,
    /// 32 bytes that nobody can guess and that are nowhere stored, for new keys; `None` where no device signs in.
    pub entropy: Option<[u8; 32]>,
    /// Every account of another wallet.
    pub accounts: Vec<AccountRecord>,
    /// Every session.
    pub sessions: Vec<SessionRecord>,
    /// Every record of heads.
    pub heads: Vec<HeadsRecord>,
    /// Every record of unsent messages, in the order of their counters.
    pub outbox: Vec<OutboxRecord>,
    /// Every edited message.
    pub versions: Vec<VersionsRecord>,
    /// Every message that failed, in the order of their numbers.
    pub failed: Vec<FailedRecord>,
    /// Every invitation.
    pub invitations: Vec<InvitationRecord>,
    /// Every answer to a keyed call.
    pub calls: Vec<CallRecord>,
    /// The copy of the outbox that is kept elsewhere, in the order of its keys. It counts where the store is new.
    pub spare: Vec<SpareRecord>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is done.
    Done,
    /// It is done, for so many messages.
    Count(u64),
    /// The session.
    Session(SessionView),
    /// The message is stored and will be delivered.
    Receipt(DeliveryReceipt),
    /// The code, which is nowhere stored.
    RecoveryCode(String),
    /// Whether it is needed.
    Needed(bool),
}

/// What the application is told.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Event {
    /// For who observes.
    Changed(Change),
    /// A message of another device is stored. Once for each (I6). [`show`](super::Client::show) makes of it what people see.
    MessageReceived { session_id: SessionId, entry: Box<Entry> },
    /// A message has a new winning version, or its versions are in conflict. Ask for the message again.
    MessageChanged { session_id: SessionId, message_id: MessageId },
    /// A message of this wallet moved on. Told of those that were sent or arrived since the machine started, and of
    /// this device's older ones where a receipt names them. With `Failed`, `error` says why.
    StatusChanged { session_id: SessionId, message_id: MessageId, status: MessageStatus, error: Option<SyncError> },
    /// An own message is in the stored log.
    MessageSynced { session_id: SessionId, message_id: MessageId },
    /// A sync of a session began.
    SyncStarted { session_id: SessionId },
    /// It went on. Never falls; equal exactly when the announced head is stored (I14).
    SyncProgress { session_id: SessionId, messages_synced: u64, total_messages: u64 },
    /// It is complete.
    SyncCompleted { session_id: SessionId, stats: SyncStats },
    /// It failed for now; what is queued stays queued.
    SyncFailed { session_id: SessionId, error: SyncError },
    /// Messages that did not know of each other.
    ConflictDetected { session_id: SessionId, conflicts: Vec<Conflict> },
    /// Another wallet has begun a session with this one, or added it to a group, which has a name. Once in each life of the machine, until it is answered, from when the
    /// wallet is connected.
    SessionInvited { session_id: SessionId, peer_wallet: WalletAddress, name: Option<String> },
    /// Who is in a group, who its admins are, or what it is called is otherwise: ask for the session.
    MembersChanged { session_id: SessionId },
    /// An epoch began in an encrypted session, somebody came or left, or this device has another account key: ask for what holds.
    EncryptionChanged { session_id: SessionId },
    /// The devices of a session are others, or are known better: ask for them.
    DevicesChanged { session_id: SessionId },
    /// The connection changed.
    ConnectionChanged { state: ConnectionState },
    /// The outbox has so many messages now (I13).
    QueueChanged { queued_message_count: u64 },
    /// This device goes on under a new id, because its storage was copied or set back. Its messages keep theirs.
    DeviceReplaced { old_id: DeviceId, new_id: DeviceId },
    /// The relay's log of a session takes the place of the stored one (`acceptRelayLog`). What was stored behind `kept_through` left,
    /// and comes again where the relay or its author has it; of that, so many messages are this device's and are queued.
    LogReplaced { session_id: SessionId, kept_through: u64, offered_count: u64 },
    /// The wallet has one more device.
    DeviceAdded { device: DeviceView },
    /// It waits for this device, or another that is approved, to approve it. Told behind `DeviceAdded`.
    DeviceRequest { device: DeviceView },
    /// This device and that one show another number than before, or none any more.
    DeviceNumber { device: DeviceView },
    /// A device is approved.
    DeviceApproved { device_id: DeviceId },
    /// The wallet has it no longer, and never will again.
    DeviceRemoved { device_id: DeviceId },
    /// The account has another recovery code or passkey, or one less.
    RecoveryChanged { recovery: RecoveryView },
    /// The wallet must sign before the relay serves this device: it has not, or the relay did not take what it signed, for this
    /// reason. [`offer`](super::Client::offer) says what it must sign.
    SignInNeeded { error: Option<SyncError> },
    /// The store is gone and could not be made anew: nobody keeps these messages any more. They were not sent, as far as this
    /// device knows. An edit that was not sent is told as its message with that text.
    StorageLost { lost: Vec<MessageView> },
    /// Something is wrong that no call can be blamed for.
    Warning { error: SyncError },
}

/// What changed in what is shown of the sessions. Who read it once and takes in every change has what a new reading would
/// show; told before all other events of the same commit, and only where somebody observes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Change {
    /// A message is new, or another than before. One without a sequence number takes the place of the one without that has
    /// its id, or comes last, of those that failed or of those that wait behind them; one with it takes its place in the log, and the one without that has its id and says the same
    /// leaves. [`show`](super::Client::show) makes of the entry what people see.
    Message { session_id: SessionId, entry: Box<Entry> },
    /// A message shows another text, or has other versions.
    Stale { session_id: SessionId, message_id: MessageId },
    /// The message of this id that has no sequence number is so far.
    Status { session_id: SessionId, message_id: MessageId, status: MessageStatus, error: Option<SyncError> },
    /// A wallet has everything up to this place, or has read it: what other wallets wrote there is at least so far. What is
    /// read is delivered. What this wallet wrote is so far up to `all_through`, which the others have: all of them, in a group.
    Receipt { session_id: SessionId, wallet: WalletAddress, status: ReceiptStatus, through: u64, all_through: u64 },
    /// The message of this id that has no sequence number is no longer there.
    Removed { session_id: SessionId, message_id: MessageId },
    /// What had a sequence number is no longer there.
    Cleared { session_id: SessionId },
    /// What was on its way to disk when somebody began to observe is stored: what was read before may lack it, and is to be
    /// read again.
    Missed,
    /// The session is new, or began or ended; or an invitation to it came or was answered.
    Session { session_id: SessionId },
}
