//! The checker: holds what devices and relay show against the invariants of docs/numbers.md, at every step. It knows
//! replies, events, frames, the journal's contents and stored records, never the machines' inner state.
//!
//! What devices show is judged in `device_rules`, what they store in `store_rules`, what the relay shows in `relay_rules`,
//! what both do about invitations in `invitation_rules`, what must be so in the end in `final_rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use solconnect_sync_core::client::MessageStatus;
use solconnect_sync_core::conflict::Strategy;
use solconnect_sync_core::entry::{Digest, Entry};
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::ids::{DeviceId, MessageId, SessionId, WalletAddress};

use crate::group_rules::GroupBook;
use crate::ledger::{Fate, Ledger};
use crate::marker::Marker;
use crate::network::ConnectionId;
use crate::reader::Reader;
use crate::relay_disk::{Journal, Rows};
use crate::vault_rules::VaultBook;
use crate::world::{PageId, ProfileId, TabId};

/// The invariants that are held, by their numbers.
pub const INVARIANTS: [u8; 30] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 30, 31, 32, 33];

/// Those that hold at a relay that lies, too: all that does not take its log for the truth.
const HELD_AGAINST_A_LIAR: [u8; 15] = [0, 7, 13, 14, 17, 18, 20, 22, 23, 30, 31, 33, e(2), e(3), e(6)];

/// The invariants of encrypted sessions that are held, by their numbers (`e`).
pub const VAULT_INVARIANTS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// The number under which invariant E`number` is counted: behind all others.
pub const fn e(number: u8) -> u8 {
    40 + number
}

/// The number of an invariant as `docs/numbers.md` has it.
pub fn label_of(invariant: u8) -> String {
    if invariant > e(0) { format!("E{}", invariant - e(0)) } else { format!("I{invariant}") }
}

/// How often each invariant was put to the test, by number.
#[derive(Clone, Copy)]
pub struct Exercised([u64; 53]);

impl Default for Exercised {
    fn default() -> Self {
        Exercised([0; 53])
    }
}

impl Deref for Exercised {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for Exercised {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Its number; 0 for a machine that panics.
    pub invariant: u8,
    /// What was seen.
    pub text: String,
}

/// A call of an application that awaits its reply.
pub(crate) struct Call {
    pub tab: TabId,
    pub kind: CallKind,
    /// The input, for people.
    pub name: String,
    /// The machine was given it: a frozen tab takes its calls when it thaws.
    pub fed: bool,
}

/// What a call promises when it succeeds.
pub(crate) enum CallKind {
    /// The message of this number is stored; `None` for a deletion, which carries no text. With the name that the
    /// application gave.
    Send(SessionId, Option<u64>, Option<MessageId>),
    /// The messages of these numbers leave: the one that it names and, behind it, its versions. None where that does not
    /// wait.
    Cancel(BTreeSet<u64>),
    Open(SessionId),
    Close(SessionId),
    /// The session ends too, where there is one.
    Block(SessionId),
    MarkRead(SessionId, u64),
    ClearLog(SessionId),
    /// What was queued, and the relay's head, by session, when it was made.
    Sync(Vec<(SessionId, BTreeSet<u64>, u64)>),
    Recover,
    Other,
}

/// What one tab has shown.
#[derive(Default)]
pub(crate) struct TabView {
    pub profile: ProfileId,
    pub statuses: BTreeMap<SessionId, BTreeMap<MessageId, MessageStatus>>,
    /// Of the sync under way, by session: synced and total as last told, and the relay's head when it began.
    pub syncs: BTreeMap<SessionId, Sync>,
    pub told_queue: u64,
    pub fenced: bool,
    /// Its page has given it up.
    pub is_abandoned: bool,
    /// The database is another tab's, or gone.
    pub lost_store: Option<LostStore>,
    /// What it may have told of before its database was deleted, by session: it is not told again.
    pub heard_before: BTreeMap<SessionId, u64>,
    /// But for those that it could not read then.
    pub unread_before: BTreeSet<(SessionId, u64)>,
    /// It has told that the relay was set back, or that its log is another one.
    pub rolled_back: bool,
    /// Messages that a void has taken the place of since the last commit, and those that were said to have failed.
    pub new_voids: usize,
    /// What the last commit keeps as failed: its database may be deleted before the tab tells of it.
    pub kept_failed: BTreeSet<MessageId>,
    pub told_failed: usize,
    /// A commit is stored and the tab does not know yet.
    pub disk_ahead: bool,
    /// What it must tell when it knows: messages of others, and conflicts.
    pub unheard: BTreeSet<(SessionId, u64)>,
    pub untold: BTreeSet<(SessionId, u64)>,
    /// What it may tell: messages that came while the application sent them again under their names.
    pub tellable: BTreeSet<(SessionId, u64)>,
    /// Messages of an encrypted session that it has read late: it must tell of them, in any order.
    pub read_late: BTreeSet<(SessionId, u64)>,
    /// So much of each log was there when it was cleared.
    pub cleared: BTreeMap<SessionId, u64>,
    /// What it has told of in this life. Where the store was lost, that is not read late.
    pub heard: BTreeSet<(SessionId, u64)>,
    /// Messages that left the store and are in no log: it must say that they were refused.
    pub missing: BTreeSet<u64>,
    /// Counters of update frames that are not answered, by session, on the present connection.
    pub under_way: BTreeMap<SessionId, Vec<u64>>,
    /// Up to which counter it was answered on the present connection, by session. That holds also for what it says again
    /// before it has looked at the answer.
    pub answered: BTreeMap<SessionId, u64>,
    pub connection: Option<ConnectionId>,
    /// Under which it speaks, by session.
    pub device_ids: BTreeMap<SessionId, DeviceId>,
    /// Invitations that it has told of and that are not answered.
    pub invited: BTreeSet<SessionId>,
    /// Messages that it has told of since the relay lies.
    pub told: BTreeSet<(SessionId, u64)>,
    /// The session whose progress says that all is done, in the present step.
    pub whole: BTreeSet<SessionId>,
}

/// What a tab had stored when it lost its database. It shows this until it has made the database anew, if it does.
#[derive(Clone, Copy)]
pub(crate) struct LostStore {
    pub unsent_count: u64,
    pub loss: Loss,
}

/// How a tab lost its database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It was deleted, and the tab has in memory what was in it.
    Remembered,
    /// It was deleted, and the tab is not the one that makes it anew.
    Deleted,
    /// Another tab has claimed it.
    Claimed,
}

pub(crate) struct Sync {
    pub progress: Option<(u64, u64)>,
    pub head: u64,
}

/// What one profile has shown, over all its tabs.
#[derive(Default)]
pub(crate) struct ProfileView {
    pub wallet: WalletAddress,
    pub strategy: Strategy,
    /// Messages that were accepted and are not in the log.
    pub pending: BTreeSet<u64>,
    pub ids: BTreeMap<MessageId, u64>,
    /// The tab that has claimed its database last.
    pub claimed_by: TabId,
    /// The places in logs of what it has stored and cannot read.
    pub unread: BTreeMap<SessionId, BTreeSet<u64>>,
    /// It signs garbage, and says what it likes of the relay.
    pub keeps_no_rules: bool,
}

/// What one connection has shown at the relay's side.
#[derive(Default)]
pub(crate) struct ConnectionView {
    /// How frames are written on it.
    pub encoding: Encoding,
    /// Given to the socket and not taken by it.
    pub outstanding_bytes: usize,
    /// Since when it is full without anything being taken.
    pub full_since_ms: Option<u64>,
    /// Whose it said that it is.
    pub wallets: BTreeSet<WalletAddress>,
    /// As which device it keeps our rules, by session.
    pub v1: BTreeMap<SessionId, DeviceId>,
    /// Sessions in which it said something, by our rules or as a seed client.
    pub spoken: BTreeMap<SessionId, Spoken>,
    /// It is a device's, not a hostile member's.
    pub honest: bool,
    /// Messages that the relay has received and not answered; a hostile member sends several under one name.
    pub unanswered: BTreeMap<(SessionId, Named), Vec<Waiting>>,
    /// The account log that it says it is of, and whether the relay has answered that it is.
    pub account: Option<(SessionId, bool)>,
    /// It has proved to be a device that was in it, or what such a device has named: it may read why it is in it no longer.
    pub was_listed: bool,
    /// The wallet that it says it is a device of.
    pub signed_in: Option<WalletAddress>,
    /// What it was sent ahead of what it has stored, by session.
    pub windows: BTreeMap<SessionId, Window>,
}

impl ConnectionView {
    /// Whether a frame is written as frames on it are: any other is refused unread.
    pub fn carries(&self, payload: &Payload) -> bool {
        matches!((self.encoding, payload), (Encoding::Json, Payload::Text(_)) | (Encoding::Binary, Payload::Binary(_)))
    }
}

/// What an acknowledgement names a message by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Counter(u64),
    /// Seed clients'.
    Id(MessageId),
}

/// A message that the relay has received and not answered.
pub(crate) struct Waiting {
    /// Of a seed client's it has the message, and the clock as what is known beside the log.
    pub entry: Entry,
    /// The update that it came in; seed clients' have no digest.
    pub update: Option<Rc<(Vec<Entry>, Digest)>>,
}

/// How a connection has spoken in a session.
#[derive(Default, Clone, Copy)]
pub(crate) struct Spoken {
    pub v1: bool,
    pub seed: bool,
}

/// How far a device that keeps our rules has stored a log, and what it was sent beyond.
#[derive(Default)]
pub struct Window {
    /// Up to here it is stored.
    pub stored: u64,
    /// The places beyond that it was sent.
    pub ahead: BTreeSet<u64>,
    /// The largest batch that it asked for.
    pub batch_max: usize,
}

impl Window {
    /// It has stored more.
    pub fn store(&mut self, through: u64) {
        self.stored = self.stored.max(through);
        self.ahead = self.ahead.split_off(&(self.stored + 1));
    }
}

/// Rare situations that must come up in a long run beside faults and invariants. Without them the world would no longer test
/// what they are about.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Mark {
    /// A message left the outbox of a device that turned out to be in the log by another device of the wallet.
    KnownAgain,
    /// The relay took a message of a hostile member that was queued under two devices.
    HostileTaken,
    /// A message was refused for good, and a void stands in its place.
    VoidStands,
    /// An entry of a kind that nobody knows is in the log, or one with extensions.
    Unknown,
    /// An entry knows something beside the log.
    KnowsBeside,
    /// The application sent a message again under the name that it gave.
    SentAgain,
    /// A device compared its log with another one, of the same length or longer.
    Forked,
    /// A message was cancelled before it was sent.
    Cancelled,
    /// An invitation was accepted, here or on another device of the wallet.
    Accepted,
    /// One was declined, or its wallet was blocked.
    Declined,
    /// A call was given to a machine a second time, because who had it first is no longer the owner.
    CallRepeated,
    /// A tab tried to write after another had claimed its database.
    Fenced,
    /// A database that was deleted was made anew of what its tab had in memory, with unsent messages.
    MadeAnew,
    /// It was made anew by a tab that had been asleep, and not by the one that owned it.
    MadeAnewByAnother,
    /// A database that was gone was begun with the second copy of its outbox.
    Copied,
    /// It could not be made anew, and the application was told of messages that nobody keeps.
    ToldLost,
    /// Where devices sign in: a device was approved by another.
    Approved,
    /// A device was removed, and heard of it.
    Removed,
    /// A device took a key that its old one named.
    Succeeded,
    /// A wallet left a group, or was removed.
    LeftGroup,
    /// A member signed garbage, at an honest relay.
    GarbageSigned,
    /// A wallet signed the thief of a profile's copy out.
    Stolen,
    /// Where sessions are encrypted: a device that waited to be approved wrote a text.
    WroteWaiting,
    /// A device showed the number that it has with another one.
    ShowedNumber,
    /// A device that waited to be approved came back by a passkey.
    Recovered,
}

impl Mark {
    /// All of them.
    pub const ALL: [Mark; 25] = [
        Mark::KnownAgain,
        Mark::HostileTaken,
        Mark::VoidStands,
        Mark::Unknown,
        Mark::KnowsBeside,
        Mark::SentAgain,
        Mark::Forked,
        Mark::Cancelled,
        Mark::Accepted,
        Mark::Declined,
        Mark::CallRepeated,
        Mark::Fenced,
        Mark::MadeAnew,
        Mark::MadeAnewByAnother,
        Mark::Copied,
        Mark::ToldLost,
        Mark::Approved,
        Mark::Removed,
        Mark::Succeeded,
        Mark::LeftGroup,
        Mark::GarbageSigned,
        Mark::Stolen,
        Mark::WroteWaiting,
        Mark::ShowedNumber,
        Mark::Recovered,
    ];

    /// Whether it only comes up where devices sign in.
    pub fn needs_sign_in(self) -> bool {
        self >= Mark::Approved
    }

    /// Whether it only comes up where sessions are encrypted.
    pub fn needs_encryption(self) -> bool {
        self >= Mark::WroteWaiting
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Mark::KnownAgain => "messages known again by their names, written by another device",
            Mark::HostileTaken => "messages of hostile members that the relay took by the rules of our own devices",
            Mark::VoidStands => "voids in the place of messages that were refused for good",
            Mark::Unknown => "entries of unknown kinds or with extensions",
            Mark::KnowsBeside => "entries that know something beside the log",
            Mark::SentAgain => "messages that the application sent again under their names",
            Mark::Forked => "logs that were found to be others",
            Mark::Cancelled => "messages that were cancelled before they were sent",
            Mark::Accepted => "invitations that were accepted",
            Mark::Declined => "invitations that were declined, or whose wallets were blocked",
            Mark::CallRepeated => "calls that were given to another owner again",
            Mark::Fenced => "commits that came after another claim",
            Mark::MadeAnew => "databases with unsent messages that were deleted and made anew",
            Mark::MadeAnewByAnother => "databases that were deleted and made anew by a tab that had been asleep",
            Mark::Copied => "databases that were gone and begun with the second copy of their outbox",
            Mark::ToldLost => "losses of messages that were told",
            Mark::Approved => "devices that were approved by another",
            Mark::Removed => "devices that were removed and heard of it",
            Mark::Succeeded => "devices that were certified by their old keys",
            Mark::LeftGroup => "wallets that left a group or were removed from it",
            Mark::GarbageSigned => "members that signed garbage",
            Mark::Stolen => "thieves of a profile's copy that the wallet signed out",
            Mark::WroteWaiting => "encrypted texts of devices that waited to be approved",
            Mark::ShowedNumber => "numbers that a device showed with another one that waited to be approved, or for which it waited",
            Mark::Recovered => "devices that came back by a passkey",
        }
    }
}

/// What it has seen, and the first invariant that did not hold.
#[derive(Default)]
pub struct Checker {
    /// What was shown.
    pub ledger: Ledger,
    violation: Option<Violation>,
    exercised: Exercised,
    marks: [u64; Mark::ALL.len()],
    pub(crate) calls: BTreeMap<u64, Call>,
    /// The highest request that an application has made.
    pub(crate) last_call: u64,
    pub(crate) tabs: BTreeMap<TabId, TabView>,
    pub(crate) profiles: Vec<ProfileView>,
    pub(crate) connections: BTreeMap<ConnectionId, ConnectionView>,
    /// What connections that are gone had not been answered: the relay may be storing it.
    pub(crate) unanswered_gone: BTreeMap<(SessionId, Named), Vec<Waiting>>,
    /// Sessions, and the devices that have announced themselves in them by our rules, on whatever connection.
    pub(crate) announced: BTreeSet<(SessionId, DeviceId)>,
    /// How far any device of a wallet has stored a session, and read it: what receipts may say.
    pub(crate) delivered: BTreeMap<(SessionId, WalletAddress), (u64, u64)>,
    /// Sessions that the relay has not read from its journal: what arrives for them waits, by its own cap.
    pub(crate) loading: BTreeSet<SessionId>,
    /// Messages that the relay holds unanswered, by session.
    pub(crate) held: BTreeMap<SessionId, usize>,
    /// The last numbered message of each page of each device in each log (I8).
    pub(crate) logged: BTreeMap<(SessionId, DeviceId, PageId), u64>,
    /// Messages that applications were told are not stored.
    pub(crate) denied: BTreeSet<u64>,
    /// The ids that devices with our rules have had, which no hostile member has.
    pub(crate) device_ids: BTreeSet<DeviceId>,
    /// Where voids wait or stand, by session, device and counter, since their messages were said to have failed.
    pub(crate) voided: BTreeSet<(SessionId, DeviceId, u64)>,
    /// Messages that an application has asked to cancel, and was not refused.
    pub(crate) cancelled: BTreeSet<u64>,
    /// Hostile members are about: receipts may be invented.
    pub(crate) lies: bool,
    /// The relay's journal was set back (F19): what it has lost is lost.
    pub(crate) set_back: bool,
    /// The relay lies (F48): its own book is worth nothing.
    pub(crate) relay_lies: bool,
    /// Messages that left with a membership, in the present commit.
    pub(crate) excused: Vec<u64>,
    /// The groups, by their logs.
    pub(crate) groups: BTreeMap<SessionId, GroupBook>,
    /// All who write have signed in, and what they write is signed.
    pub(crate) all_sign: bool,
    /// What devices said of the relay.
    pub(crate) accusations: BTreeSet<(ProfileId, &'static str)>,
    /// The frames that it has read.
    pub(crate) reader: Reader,
    /// Sessions are encrypted.
    pub(crate) encrypts: bool,
    /// What stands in all that people write.
    pub(crate) marker: Option<Marker>,
    /// Who can read what.
    pub(crate) vault: VaultBook,
}

impl Checker {
    /// The first violation, if there is one.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// How often each invariant was put to the test, by number.
    pub fn exercised(&self) -> &Exercised {
        &self.exercised
    }

    /// How often each mark came up, in the order of [`Mark::ALL`].
    pub fn marks(&self) -> &[u64; Mark::ALL.len()] {
        &self.marks
    }

    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks[mark as usize] += 1;
    }

    /// The relay's journal is set back: from now on all that matters is that devices say so (I19).
    pub fn expect_set_back(&mut self, journal: &Journal) {
        self.set_back = true;
        // A device that had not stored its places sends again what the journal has lost.
        self.logged.clear();
        let entries = |rows: &Rows| rows.entries.iter().flat_map(|stored| stored.body.entries().unwrap_or_default()).collect();
        self.ledger.replace_logs(journal.sessions().iter().map(|(id, rows)| (id.clone(), entries(rows))).collect());
        self.groups_again();
        self.vault_again();
    }

    /// Whether a tab has told of it, whatever it was.
    pub fn has_told_of_set_back(&self, tab: TabId) -> bool {
        self.tabs.get(&tab).is_some_and(|view| view.rolled_back)
    }

    /// Receipts may be lies from now on.
    pub fn expect_lies(&mut self) {
        self.lies = true;
    }

    /// A device sends on this connection what no honest one would.
    pub fn keeps_no_rules(&mut self, profile: ProfileId, connection: ConnectionId) {
        self.profiles[profile].keeps_no_rules = true;
        self.connections.entry(connection).and_modify(|view| view.honest = false);
    }

    /// Puts an invariant to the test, on one thing that was seen and could have been otherwise.
    pub fn require(&mut self, invariant: u8, holds: bool, text: impl FnOnce() -> String) {
        self.tested(invariant, 1, (!holds).then(text));
    }

    /// The same where the rule `applies`. Elsewhere nothing could have failed: nothing is looked at and nothing counted.
    pub fn require_where(&mut self, invariant: u8, applies: bool, holds: bool, text: impl FnOnce() -> String) {
        if applies {
            self.require(invariant, holds, text);
        }
    }

    /// Puts an invariant to the test on `count` things, of which `wrong` is one for which it does not hold. Where there
    /// was none to look at, nothing is counted.
    pub fn require_none<T>(&mut self, invariant: u8, count: usize, wrong: Option<T>, text: impl FnOnce(T) -> String) {
        self.tested(invariant, count as u64, wrong.map(text));
    }

    /// The only place that counts tests of an invariant. It is reached with the outcome of a check alone.
    fn tested(&mut self, invariant: u8, count: u64, broken: Option<String>) {
        if self.relay_lies && !HELD_AGAINST_A_LIAR.contains(&invariant) {
            return;
        }
        self.exercised[invariant as usize] += count;
        if let Some(text) = broken {
            self.violate(invariant, text);
        }
    }

    /// An invariant does not hold. Only the first is kept.
    pub fn violate(&mut self, invariant: u8, text: String) {
        self.violation.get_or_insert(Violation { invariant, text });
    }

    /// A new profile; a copy knows its source's messages by their ids.
    pub fn profile_made(&mut self, wallet: &str, strategy: Strategy, copy_of: Option<ProfileId>) {
        let source = copy_of.map(|source| &self.profiles[source]);
        let (ids, unread) = source.map(|source| (source.ids.clone(), source.unread.clone())).unwrap_or_default();
        self.profiles.push(ProfileView { wallet: wallet.to_owned(), strategy, ids, unread, ..ProfileView::default() });
    }

    /// Messages wait in a copy of their profile too, or in an older state of it: it may send what was cancelled since, and does
    /// not know which of them were sent.
    pub fn wait_elsewhere<'a>(&mut self, numbers: impl IntoIterator<Item = &'a u64>) {
        for number in numbers {
            self.ledger.sent[*number as usize].copied = true;
        }
    }

    /// The storage of a profile went back to an older state.
    pub fn profile_set_back(&mut self, profile: ProfileId, unsent: &BTreeMap<u64, bool>) {
        let lost: Vec<u64> = self.profiles[profile].pending.iter().copied().filter(|number| !unsent.contains_key(number)).collect();
        for number in lost {
            self.profiles[profile].pending.remove(&number);
            self.ledger.sent[number as usize].fate = Fate::Excused;
        }
        self.wait_elsewhere(unsent.keys());
        // What was cancelled since waits again.
        for sent in self.ledger.sent.iter_mut().filter(|sent| sent.profile == profile && sent.fate == Fate::Cancelled) {
            sent.fate = Fate::Excused;
        }
    }

    /// A device's machine went down: what was stored strictly is still there (I2).
    pub fn power_cut(&mut self, profile: ProfileId, unsent: &BTreeMap<u64, bool>) {
        let lost = self.profiles[profile].pending.difference(&self.cancelled).copied().find(|number| !unsent.contains_key(number));
        let count = self.profiles[profile].pending.len();
        self.require_none(2, count, lost, |number| format!("message s{number} was accepted and did not survive a power cut"));
    }
}
