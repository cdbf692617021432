//! One device of a wallet: a state machine that takes inputs and returns the work it asks of its shell.
//!
//! [`Client`] routes. A call or a frame goes to its session (`session`), which knows the rules; what sessions change is
//! collected in one transaction at a time (`commit`); the socket is made and given up by `link`, and what that means for
//! the sessions is in `connection`.

mod accounts;
mod answers;
mod api;
mod calls;
mod commit;
mod config;
mod connection;
mod context;
mod devices;
mod groups;
mod identity;
mod invitations;
mod keys;
mod link;
mod log_record;
mod rebuild;
mod records;
mod recovery;
mod session;
mod sessions;
mod short_number;
mod sync_calls;
mod transaction;
pub mod vault;
mod views;

use std::collections::VecDeque;

pub use answers::{CallRecord, StoredReply};
pub use api::*;
pub use config::ClientConfig;
pub use log_record::LogRecord;
pub use records::{
    AccountRecord, Answer, DeviceRecord, EpochSeal, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord, NameRecord, NumberRecord,
    OutboxRecord, ReadMark, SealedState, SessionRecord, SpareRecord, UnreadEpoch, VersionsRecord, Watermarks,
};
pub use vault::{Native, Vault};
pub use views::*;

use crate::entry::Entry;
use crate::error::SyncError;
use crate::frame::DeviceState;
use crate::identity::Evidence;
use crate::ids::{SessionId, WalletAddress, new_device_id, new_start};
use crate::time::Now;
use crate::vector_clock::VectorClock;
use accounts::Accounts;
use answers::Answers;
use commit::UnderWay;
use context::Context;
use devices::Devices;
use identity::Identity;
use invitations::Invitations;
use link::Link;
use rebuild::Rebuild;
use session::Session;
use sessions::Sessions;
use sync_calls::SyncCalls;

/// The client machine. Feed it every input in order; run the actions it returns in order.
pub struct Client {
    config: ClientConfig,
    random: fastrand::Rng,
    device: DeviceRecord,
    device_stored: bool,
    /// Its key and how it signs in; `None` where nobody does.
    identity: Option<Identity>,
    /// What it encrypts with; `None` where the application does not encrypt.
    vault: Option<Box<dyn Vault>>,
    /// What it and the relay have to say of the devices of its wallet.
    devices: Devices,
    /// The accounts of other wallets.
    accounts: Accounts,
    /// Drawn at each start, and where counters are given again: what keeps apart the ids that are made of equal counters.
    start: String,
    wallet: Option<WalletAddress>,
    sessions: Sessions,
    invitations: Invitations,
    answers: Answers,
    link: Link,
    is_offline_by_wish: bool,
    /// The session that the last heartbeat was about: they take turns.
    heartbeat_session: SessionId,
    /// The transaction that is under way.
    under_way: Option<UnderWay>,
    last_commit: CommitId,
    /// Inputs that may write, held back until it is done.
    waiting: VecDeque<Input>,
    /// Transactions in a row that were dropped, most of them because the store refused them.
    storage_failures: u32,
    /// Another tab owns the store: nothing can be written any more.
    fenced: Option<SyncError>,
    /// The store is gone and is to be made anew: nothing else is written until it is.
    rebuild: Option<Rebuild>,
    /// Calls that wait for the syncs of several sessions.
    calls: SyncCalls,
    /// The application was told that the relay serves only devices that sign in, and this one does not.
    was_shut_out: bool,
    /// How many messages the application knows to wait.
    told_queue: u64,
    /// Somebody wants to hear of changes.
    observed: bool,
}

impl Client {
    /// A machine over what the store holds. `seed` feeds device ids and jitter; take it from a good source.
    pub fn new(config: ClientConfig, mut snapshot: Snapshot, seed: u64) -> Client {
        let mut random = fastrand::Rng::with_seed(seed);
        let device_stored = snapshot.device.is_some();
        let mut sessions = Sessions::default();
        let rebuild = Client::load_spare(&mut snapshot, &mut sessions);
        let identity = Identity::load(&config.domains, snapshot.identity, snapshot.entropy);
        let accounts = identity.as_ref().map(|identity| Accounts::load(snapshot.accounts, identity.domains())).unwrap_or_default();
        let device = snapshot.device.unwrap_or_else(|| {
            let drawn = new_device_id(&mut random);
            DeviceRecord::new(identity.as_ref().map_or(drawn, Identity::device_id))
        });
        for record in snapshot.sessions {
            sessions.insert(Session::load(record, device.device_id.clone()));
        }
        // What is stored of a session that is not stored is of no use.
        for record in snapshot.heads {
            if let Some(mut session) = sessions.visit(&record.session_id) {
                session.load_heads(record.heads);
            }
        }
        for record in snapshot.outbox {
            if let Some(mut session) = sessions.visit(&record.session_id) {
                session.load_outbox(record);
            }
        }
        for record in snapshot.versions {
            if let Some(mut session) = sessions.visit(&record.session_id) {
                session.load_versions(record);
            }
        }
        for record in snapshot.failed {
            if let Some(mut session) = sessions.visit(&record.session_id) {
                session.load_failed(record);
            }
        }
        sessions.visit_all().for_each(Session::count_queue);
        let told_queue = sessions.values().map(Session::told_queue).sum();
        Client {
            config,
            device,
            device_stored,
            identity,
            vault: None,
            devices: Devices::default(),
            accounts,
            start: new_start(&mut random),
            random,
            wallet: None,
            sessions,
            invitations: Invitations::load(snapshot.invitations),
            answers: Answers::load(snapshot.calls),
            link: Link::default(),
            is_offline_by_wish: false,
            heartbeat_session: SessionId::new(),
            under_way: None,
            last_commit: 0,
            waiting: VecDeque::new(),
            storage_failures: 0,
            fenced: None,
            rebuild,
            calls: SyncCalls::default(),
            was_shut_out: false,
            told_queue,
            observed: false,
        }
    }

    /// The same for an application that encrypts: to be called before the first input.
    #[must_use]
    pub fn with_vault(mut self, vault: Box<dyn Vault>) -> Client {
        self.vault = Some(vault);
        self.identity.iter_mut().for_each(Identity::need_keys);
        self
    }

    /// The sessions, and what one of them may use for one input.
    fn lend<'a>(&'a mut self, now: Now, actions: &'a mut Vec<Action>) -> (&'a mut Sessions, Context<'a>) {
        let Client { config, random, wallet, identity, vault, accounts, start, sessions, link, calls, observed, .. } = self;
        let observed = *observed;
        let (wallet, identity, vault) = (wallet.as_deref(), identity.as_ref(), vault.as_deref());
        (sessions, Context { now, config, random, wallet, identity, vault, accounts, start, link, calls, actions, observed })
    }

    /// Takes one input and returns what to do, in order.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Persisted { commit } => self.persisted(now, commit, &mut actions),
            Input::PersistFailed { commit, error } => self.persist_failed(now, commit, error, &mut actions),
            Input::SetOffline { offline } => self.set_offline(now, offline, &mut actions),
            Input::Awake => self.awake(now, &mut actions),
            // Where a commit is under way, that finds out.
            Input::StoreClosed { error } if self.under_way.is_none() => self.store_closed(now, error, &mut actions),
            Input::StoreClosed { .. } => {}
            // At once, also while a commit is under way: the shell reads what is stored next.
            Input::Observe { observed } => self.observed = observed,
            Input::Connected { generation } => self.connected(now, generation, &mut actions),
            Input::Disconnected { generation, reason } => self.disconnected(now, generation, &reason, &mut actions),
            Input::Received { generation, frame } => {
                // What is heard first after a sleep may have come before it.
                if self.link.is_current(generation) && self.link.has_slept(now, &self.config) {
                    self.renew(now, &mut actions);
                } else if self.link.hear(now, generation) {
                    self.take_turn(now, Input::Received { generation, frame }, &mut actions);
                }
            }
            Input::Timeout => {}
            call => self.take_turn(now, call, &mut actions),
        }
        self.check_rebuild(now, &mut actions);
        self.check_time(now, &mut actions);
        self.advance_inquiries(now, &mut actions);
        self.steer(now, &mut actions);
        actions
    }

    /// When [`Input::Timeout`] is due, on the monotonic clock; `None` while nothing waits for time. May name a moment at
    /// which there turns out to be nothing to do: what was waited for has come.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let sessions = Some(self.sessions.due_ms()).filter(|at_ms| self.link.is_open() && *at_ms < u64::MAX);
        let list = self.invitations.retry_at_ms().filter(|_| self.link.is_open());
        sessions
            .into_iter()
            .chain(list)
            .chain(self.devices.deadline_ms().filter(|_| self.may_judge_answers()))
            .chain(self.link.next_timeout_ms(&self.config))
            .chain(self.rebuild_at_ms())
            .min()
    }

    /// Who this database is, until another is found to write under the same name (`DeviceReplaced`).
    pub fn device_id(&self) -> &str {
        &self.device.device_id
    }

    /// The connected wallet.
    pub fn wallet(&self) -> Option<&str> {
        self.wallet.as_deref()
    }

    /// The open sessions of the connected wallet.
    pub fn sessions(&self) -> Vec<SessionView> {
        let mine = self.stored().filter(|session| session.is_open() && self.wallet() == Some(session.wallet()));
        mine.map(Session::view).collect()
    }

    /// Every session that is stored, whoever's.
    pub fn stored_sessions(&self) -> Vec<SessionView> {
        self.stored().map(Session::view).collect()
    }

    /// One session that is stored; `None` where it is not.
    pub fn session(&self, session_id: &str) -> Option<SessionView> {
        self.sessions.get(session_id).filter(|session| session.is_stored()).map(Session::view)
    }

    /// What holds of the encryption of a session that is stored; `None` where it is not.
    pub fn encryption(&self, session_id: &str) -> Option<EncryptionView> {
        let session = self.sessions.get(session_id).filter(|session| session.is_stored())?;
        let keys = self.identity.as_ref().and_then(Identity::keys).filter(|_| self.vault.is_some());
        let account = |wallet: &str| match self.identity.as_ref().filter(|_| wallet == session.wallet()) {
            Some(identity) => identity.account(wallet),
            None => self.accounts.stored(wallet),
        };
        Some(session.encryption(account, keys, self.sign_in_needed()))
    }

    fn stored(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|session| session.is_stored())
    }

    /// The connection to the relay.
    pub fn connection(&self) -> ConnectionState {
        self.link.state()
    }

    /// What `getSyncStatus` tells.
    pub fn sync_status(&self) -> SyncStatusView {
        let last_sync_ms = self.sessions.values().map(Session::last_sync_ms).max().filter(|ms| *ms > 0);
        SyncStatusView {
            sync_in_progress: self.sessions.values().any(Session::is_syncing),
            last_sync_ms,
            queued_message_count: self.told_queue,
        }
    }

    /// Of one session, since the machine started.
    pub fn stats(&self, session_id: &str) -> Option<SyncStats> {
        self.sessions.get(session_id).map(Session::stats)
    }

    /// What shows what the relay has signed of a session, without its log; `None` where nothing is known of one, or it has
    /// signed nothing.
    pub fn evidence(&self, session_id: &str) -> Option<Evidence> {
        let relay = self.identity.as_ref()?.relay_key(self.config.relay_key)?;
        let mut heads = self.sessions.get(session_id)?.signed_heads();
        // What it has signed with an earlier key shows nothing of this one.
        heads.retain(|signed| signed.signature.check(&relay, session_id, &signed.head).is_ok());
        if heads.is_empty() {
            return None;
        }
        Some(Evidence { relay, session_id: session_id.to_owned(), heads, links: Vec::new() })
    }

    /// The sessions of the connected wallet that stopped because the relay's log is another than the stored one: `acceptRelayLog` is the
    /// way on.
    pub fn parted(&self) -> Vec<SessionId> {
        let mine = self.stored().filter(|session| self.wallet() == Some(session.wallet()));
        mine.filter(|session| session.has_parted()).map(|session| session.id().to_owned()).collect()
    }

    /// The devices of a session, as the relay last told.
    pub fn devices(&self, session_id: &str) -> Vec<DeviceState> {
        self.sessions.get(session_id).map(|session| session.devices().to_vec()).unwrap_or_default()
    }

    /// What has no place in the log of a session: the messages that failed, then what waits in its outbox, oldest first.
    pub fn unsent(&self, session_id: &str) -> Vec<&Entry> {
        self.sessions.get(session_id).map(Session::unsent).unwrap_or_default()
    }

    /// The list to show for `entries` of the session, oldest first, be they of its log or of its outbox (those have no
    /// sequence number); then, where asked, what failed and the whole outbox. With an entry comes its vector clock, where the caller has it ([`LogRecord::clocks_of`]); otherwise it is computed, and of one
    /// whose author did not know the last entries of the log it names only what the entry itself says.
    pub fn show(&self, session_id: &str, entries: Vec<(Entry, Option<VectorClock>)>, with_outbox: bool) -> Vec<MessageView> {
        let strategy = self.config.conflict_resolution_strategy;
        self.sessions.get(session_id).map(|session| session.show(entries, with_outbox, strategy)).unwrap_or_default()
    }

    /// The messages that wait in the outboxes, oldest first in each session.
    pub fn queued(&self) -> Vec<MessageView> {
        let strategy = self.config.conflict_resolution_strategy;
        let unsent = self.sessions.values().flat_map(|session| session.show(Vec::new(), true, strategy));
        unsent.filter(|message| message.status != MessageStatus::Failed).collect()
    }

    /// How far a message is that has no place in the log, and the message, where it is shown by itself; `None` where there is
    /// no such one.
    pub fn unsent_message(&self, message_id: &str) -> Option<(MessageStatus, Option<MessageView>)> {
        let strategy = self.config.conflict_resolution_strategy;
        self.sessions.values().find_map(|session| session.unsent_message(message_id, strategy))
    }
}
