//! Real clients and the real relay over a network and disks that fail on command, in virtual time. What fails by chance is
//! looked for in the simulated world (`crates/sim`).

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::Records;
use solconnect_sync_core::client::{self, Client, ClientConfig, Event, MessageStatus, Reply};
use solconnect_sync_core::conflict::Conflict;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::relay::{self, DeviceRow, JournalAnswer, JournalQuestion, Relay, StoredEntry, StoredSession, WatermarkRow};
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

pub const WALLETS: [&str; 2] = ["So11111111111111111111111111111111111111112", "11111111111111111111111111111111"];

/// How often things fail; all zero is a healthy world.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub cut_per_mille: u64,
    pub half_open_per_mille: u64,
    pub storage_per_mille: u64,
}

enum Happening {
    DeviceInput(usize, u64, client::Input),
    Commit(usize, u64, client::Commit),
    RelayInput(u64, relay::Input),
    Journal(u64, u64, JournalQuestion),
    Tick,
}

pub struct Device {
    pub name: String,
    pub wallet: &'static str,
    pub client: Option<Client>,
    /// What it has stored.
    pub records: Records,
    /// Counts restarts: what belongs to an earlier life is dropped.
    life: u64,
    link: Option<(u64, u64)>,
    pub replies: BTreeMap<u64, Result<Reply, SyncError>>,
    pub heard: Vec<String>,
    pub conflicts: Vec<Conflict>,
    /// The ids that it went on under.
    pub replaced: Vec<String>,
    pub statuses: BTreeMap<String, MessageStatus>,
    pub progress: Option<(u64, u64)>,
    pub events: Vec<Event>,
    pub config: ClientConfig,
}

/// Entries, devices by id, receipts by wallet.
type SessionRows = (Vec<StoredEntry>, BTreeMap<String, DeviceRow>, BTreeMap<String, WatermarkRow>);

pub struct World {
    pub now: Now,
    pub random: fastrand::Rng,
    pub faults: Faults,
    queue: BTreeMap<(u64, u64), Happening>,
    last_happening: u64,
    pub devices: Vec<Device>,
    relay: Option<Relay>,
    relay_life: u64,
    pub journal: BTreeMap<String, SessionRows>,
    /// Connection to device, its life and its generation.
    connections: BTreeMap<u64, (usize, u64, u64)>,
    half_open: BTreeSet<u64>,
    last_connection: u64,
    last_request: u64,
    in_order: BTreeMap<(u64, bool), u64>,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        World {
            now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            random: fastrand::Rng::with_seed(seed),
            faults,
            queue: BTreeMap::new(),
            last_happening: 0,
            devices: Vec::new(),
            relay: Some(Relay::new()),
            relay_life: 0,
            journal: BTreeMap::new(),
            connections: BTreeMap::new(),
            half_open: BTreeSet::new(),
            last_connection: 0,
            last_request: 0,
            in_order: BTreeMap::new(),
        }
    }

    pub fn add_device(&mut self, name: &str, wallet: &'static str, config: ClientConfig) -> usize {
        self.devices.push(Device {
            name: name.into(),
            wallet,
            client: None,
            records: Records::default(),
            life: 0,
            link: None,
            replies: BTreeMap::new(),
            heard: Vec::new(),
            conflicts: Vec::new(),
            replaced: Vec::new(),
            statuses: BTreeMap::new(),
            progress: None,
            events: Vec::new(),
            config,
        });
        let index = self.devices.len() - 1;
        self.start(index);
        index
    }

    /// The page is opened: the machine starts from what the store holds.
    pub fn start(&mut self, index: usize) {
        let seed = self.random.u64(..);
        let device = &mut self.devices[index];
        device.client = Some(Client::new(device.config.clone(), device.records.snapshot(), seed));
        device.statuses.clear();
        self.open(index);
    }

    /// What an application does at its start.
    pub fn open(&mut self, index: usize) {
        let wallet = self.devices[index].wallet;
        let peer_wallet = WALLETS.iter().find(|other| **other != wallet).unwrap().to_string();
        self.call(index, |request| client::Input::ConnectWallet { request, wallet: wallet.into() });
        self.call(index, |request| client::Input::OpenSession { request, peer_wallet });
    }

    /// The tab is killed: what was under way to disk may or may not arrive.
    pub fn kill(&mut self, index: usize) {
        let commits: Vec<(u64, u64)> = self
            .queue
            .iter()
            .filter(|(_, happening)| matches!(happening, Happening::Commit(device, ..) if *device == index))
            .map(|(key, _)| *key)
            .collect();
        for key in commits {
            if let Some(Happening::Commit(_, life, commit)) = self.queue.remove(&key)
                && life == self.devices[index].life
                && self.random.bool()
            {
                commit.writes.iter().for_each(|write| self.devices[index].records.apply(write).unwrap());
            }
        }
        let device = &mut self.devices[index];
        device.client = None;
        device.life += 1;
        if let Some((connection, _)) = device.link.take() {
            self.cut(connection);
        }
    }

    pub fn kill_relay(&mut self) {
        self.relay_life += 1;
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.cut(connection);
        }
        let questions: Vec<(u64, u64)> =
            self.queue.iter().filter(|(_, happening)| matches!(happening, Happening::Journal(..))).map(|(key, _)| *key).collect();
        for key in questions {
            if let Some(Happening::Journal(_, _, question)) = self.queue.remove(&key)
                && self.random.bool()
            {
                self.ask_journal(question);
            }
        }
        self.relay = Some(Relay::new());
    }

    pub fn call(&mut self, index: usize, input: impl FnOnce(u64) -> client::Input) -> u64 {
        self.last_request += 1;
        let request = self.last_request;
        self.feed(index, input(request));
        request
    }

    pub fn feed(&mut self, index: usize, input: client::Input) {
        let now = self.now;
        let Some(client) = self.devices[index].client.as_mut() else {
            return;
        };
        let actions = client.handle(now, input);
        for action in actions {
            self.run_client_action(index, action);
        }
        self.schedule_tick();
    }

    fn schedule_tick(&mut self) {
        let clients = self.devices.iter().filter_map(|device| device.client.as_ref()?.next_timeout_ms());
        let next = clients.chain(self.relay.as_ref().and_then(Relay::next_timeout_ms)).min();
        if let Some(at_ms) = next {
            self.at(at_ms.max(self.now.monotonic_ms), Happening::Tick);
        }
    }

    fn at(&mut self, at_ms: u64, happening: Happening) {
        self.last_happening += 1;
        self.queue.insert((at_ms, self.last_happening), happening);
    }

    fn soon(&mut self, happening: Happening) {
        let delay_ms = self.random.u64(0..=2);
        self.at(self.now.monotonic_ms + delay_ms, happening);
    }

    /// A FIFO channel: later messages never overtake earlier ones.
    fn deliver(&mut self, connection: u64, to_relay: bool, happening: Happening) {
        if self.half_open.contains(&connection) {
            return;
        }
        let delay_ms = self.random.u64(0..=5);
        let at_ms = self.in_order.get(&(connection, to_relay)).copied().unwrap_or(0).max(self.now.monotonic_ms + delay_ms);
        self.in_order.insert((connection, to_relay), at_ms);
        self.at(at_ms, happening);
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.u64(0..1_000) < per_mille
    }

    fn run_client_action(&mut self, index: usize, action: client::Action) {
        let life = self.devices[index].life;
        match action {
            client::Action::Persist(commit) => self.soon(Happening::Commit(index, life, commit)),
            client::Action::Connect { generation } => {
                self.last_connection += 1;
                let connection = self.last_connection;
                self.connections.insert(connection, (index, life, generation));
                self.devices[index].link = Some((connection, generation));
                self.deliver(
                    connection,
                    true,
                    Happening::RelayInput(self.relay_life, relay::Input::Opened { connection, encoding: Encoding::Binary, source: None }),
                );
                self.deliver(connection, false, Happening::DeviceInput(index, life, client::Input::Connected { generation }));
            }
            client::Action::Disconnect { generation } => {
                if let Some((connection, _)) = self.devices[index].link.take_if(|link| link.1 == generation) {
                    self.close(connection);
                }
            }
            client::Action::Transmit { generation, frame } => {
                let Some((connection, _)) = self.devices[index].link.filter(|link| link.1 == generation) else {
                    return;
                };
                if self.chance(self.faults.cut_per_mille) {
                    return self.cut(connection);
                }
                if self.chance(self.faults.half_open_per_mille) {
                    self.half_open.insert(connection);
                }
                let input = relay::Input::Received { connection, payload: Payload::Binary(frame) };
                self.deliver(connection, true, Happening::RelayInput(self.relay_life, input));
            }
            client::Action::Reply { request, result } => {
                self.devices[index].replies.insert(request, result);
            }
            client::Action::ReadLog { .. } => unreachable!("no session is encrypted here"),
            client::Action::Notify(event) => self.observe(index, event),
        }
    }

    fn observe(&mut self, index: usize, event: Event) {
        let device = &mut self.devices[index];
        match &event {
            Event::MessageReceived { entry, .. } => device.heard.push(entry.message.id.clone()),
            Event::ConflictDetected { conflicts, .. } => device.conflicts.extend(conflicts.clone()),
            Event::DeviceReplaced { new_id, .. } => device.replaced.push(new_id.clone()),
            Event::StatusChanged { message_id, status, .. } => {
                let before = device.statuses.insert(message_id.clone(), *status);
                let back = (before, *status) == (Some(MessageStatus::Sending), MessageStatus::Queued);
                assert!(before.is_none_or(|before| before <= *status) || back, "I15: {message_id} went from {before:?} to {status:?}");
            }
            Event::SyncStarted { .. } => device.progress = Some((0, 0)),
            Event::SyncProgress { messages_synced, total_messages, .. } => {
                let (before, _) = device.progress.unwrap_or_default();
                assert!(
                    *messages_synced >= before && messages_synced <= total_messages,
                    "I14: {before} then {messages_synced} of {total_messages}"
                );
                device.progress = Some((*messages_synced, *total_messages));
            }
            Event::SyncCompleted { .. } => {
                let (synced, total) = device.progress.take().unwrap_or_default();
                assert_eq!(synced, total, "I14: a sync ended before it was complete");
            }
            _ => {}
        }
        device.events.push(event);
    }

    /// Both sides hear of the end, after what is under way in order.
    fn close(&mut self, connection: u64) {
        self.deliver(connection, true, Happening::RelayInput(self.relay_life, relay::Input::Closed { connection }));
        if let Some((index, life, generation)) = self.connections.remove(&connection) {
            let input = client::Input::Disconnected { generation, reason: "closed".into() };
            self.deliver(connection, false, Happening::DeviceInput(index, life, input));
        }
    }

    /// From now on nothing comes through its connection, and nobody is told (F6).
    pub fn deaden(&mut self, index: usize) {
        self.half_open.extend(self.devices[index].link.map(|(connection, _)| connection));
    }

    /// A suffix of what is under way is lost on both sides (F1).
    pub fn cut(&mut self, connection: u64) {
        let Some((index, life, generation)) = self.connections.remove(&connection) else {
            return;
        };
        let mut lost = false;
        let keys: Vec<(u64, u64)> = self.queue.keys().copied().collect();
        for key in keys {
            let concerned = match &self.queue[&key] {
                Happening::RelayInput(_, relay::Input::Received { connection: other, .. }) => *other == connection,
                Happening::DeviceInput(other, _, client::Input::Received { generation: other_generation, .. }) => {
                    (*other, *other_generation) == (index, generation)
                }
                _ => false,
            };
            lost |= concerned && self.random.u8(0..3) == 0;
            if concerned && lost {
                self.queue.remove(&key);
            }
        }
        self.deliver(connection, true, Happening::RelayInput(self.relay_life, relay::Input::Closed { connection }));
        let input = client::Input::Disconnected { generation, reason: "cut".into() };
        self.deliver(connection, false, Happening::DeviceInput(index, life, input));
    }

    fn feed_relay(&mut self, input: relay::Input) {
        let now = self.now;
        let Some(relay) = self.relay.as_mut() else { return };
        let actions = relay.handle(now, input);
        for action in actions {
            match action {
                relay::Action::Transmit { connection, payload } => {
                    let bytes = payload.len();
                    if let Some((index, life, generation)) = self.connections.get(&connection).copied() {
                        self.check_bounded(&payload);
                        let Payload::Binary(frame) = payload else { panic!("a text frame on a binary connection") };
                        let input = client::Input::Received { generation, frame };
                        self.deliver(connection, false, Happening::DeviceInput(index, life, input));
                    }
                    self.soon(Happening::RelayInput(self.relay_life, relay::Input::Sent { connection, bytes }));
                }
                relay::Action::Disconnect { connection, .. } => self.close(connection),
                relay::Action::Journal { ticket, question } => self.soon(Happening::Journal(self.relay_life, ticket, question)),
                relay::Action::Log { .. } => {}
            }
        }
        self.schedule_tick();
    }

    fn check_bounded(&self, payload: &Payload) {
        assert!(payload.len() <= solconnect_sync_core::limits::FRAME_BYTES_MAX, "a frame of {} bytes", payload.len());
    }

    /// The journal as a real one would answer.
    fn ask_journal(&mut self, question: JournalQuestion) -> Option<JournalAnswer> {
        let answer = match question {
            JournalQuestion::Load { session_id } => {
                let (entries, devices, watermarks) = self.journal.entry(session_id).or_default();
                JournalAnswer::Session(StoredSession {
                    head: entries.len() as u64,
                    log_hash: entries.last().map_or([0; 32], |entry| entry.log_hash),
                    last_written: entries.iter().rfind(|entry| entry.is_written()).map_or(0, |entry| entry.sequence),
                    members: Vec::new(),
                    group: None,
                    epochs: None,
                    has_keys: entries.iter().any(|entry| entry.key.is_some()),
                    devices: devices.values().cloned().collect(),
                    watermarks: watermarks.values().cloned().collect(),
                })
            }
            JournalQuestion::Append { session_id, entries: new, devices: rows, .. } => {
                let (entries, devices, _) = self.journal.entry(session_id).or_default();
                let follows = new.iter().enumerate().all(|(index, entry)| entry.sequence == (entries.len() + index + 1) as u64);
                let unique = new.iter().all(|entry| {
                    let same = |old: &StoredEntry| {
                        (&old.device_id, old.counter) == (&entry.device_id, entry.counter) || (old.key.is_some() && old.key == entry.key)
                    };
                    !entries.iter().any(same)
                });
                if !follows || !unique {
                    return Some(JournalAnswer::Failed { reason: "the append does not follow".into() });
                }
                entries.extend(new);
                devices.extend(rows.into_iter().map(|row| (row.device_id.clone(), row)));
                JournalAnswer::Appended
            }
            JournalQuestion::Read { session_id, from, count_max, bytes_max } => {
                let (entries, ..) = self.journal.entry(session_id).or_default();
                let mut bytes = 0;
                let within = entries.iter().filter(|entry| entry.sequence >= from).take(count_max);
                let read = within.take_while(|entry| {
                    let fits = bytes == 0 || bytes + entry.body.bytes().len() <= bytes_max;
                    bytes += entry.body.bytes().len();
                    fits
                });
                JournalAnswer::Entries(read.cloned().collect())
            }
            JournalQuestion::Find { session_id, counters, keys, places } => {
                let (entries, ..) = self.journal.entry(session_id).or_default();
                let wanted = |entry: &&StoredEntry| {
                    counters.contains(&(entry.device_id.clone(), entry.counter))
                        || entry.key.as_ref().is_some_and(|key| keys.contains(key))
                        || places.contains(&entry.sequence)
                };
                JournalAnswer::Entries(entries.iter().filter(wanted).cloned().collect())
            }
            JournalQuestion::Clocks { session_id, at } => {
                let (entries, ..) = self.journal.entry(session_id).or_default();
                let clock_at = |sequence: u64| {
                    let mut clock = VectorClock::new();
                    for entry in entries.iter().take_while(|entry| entry.sequence <= sequence) {
                        clock.raise(&entry.device_id, entry.counter).unwrap();
                    }
                    clock
                };
                JournalAnswer::Clocks(at.into_iter().map(clock_at).collect())
            }
            JournalQuestion::Sessions { .. } => JournalAnswer::Sessions(Vec::new()),
            JournalQuestion::Note { session_id, devices: rows, watermarks: marks, .. } => {
                let (_, devices, watermarks) = self.journal.entry(session_id).or_default();
                for row in rows {
                    let old = devices.get(&row.device_id).cloned().unwrap_or_default();
                    let DeviceRow { last_counter, last_sequence, last_digest, .. } = old;
                    devices.insert(row.device_id.clone(), DeviceRow { last_counter, last_sequence, last_digest, ..row });
                }
                watermarks.extend(marks.into_iter().map(|row| (row.wallet.clone(), row)));
                return None;
            }
        };
        Some(answer)
    }

    /// One happening; `false` when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(((at_ms, _), happening)) = self.queue.pop_first() else {
            return false;
        };
        let passed_ms = at_ms.saturating_sub(self.now.monotonic_ms);
        self.now = Now { monotonic_ms: self.now.monotonic_ms + passed_ms, wall_ms: self.now.wall_ms + passed_ms };
        match happening {
            Happening::DeviceInput(index, life, input) => {
                if self.devices[index].life == life {
                    self.feed(index, input);
                }
            }
            Happening::Commit(index, life, commit) => {
                if self.devices[index].life == life {
                    let id = commit.id;
                    if self.chance(self.faults.storage_per_mille) {
                        let error = SyncError::new(ErrorCode::StorageFull, "quota");
                        self.feed(index, client::Input::PersistFailed { commit: id, error });
                    } else {
                        commit.writes.iter().for_each(|write| self.devices[index].records.apply(write).unwrap());
                        self.feed(index, client::Input::Persisted { commit: id });
                    }
                }
            }
            Happening::RelayInput(life, input) => {
                if self.relay_life == life {
                    self.feed_relay(input);
                }
            }
            Happening::Journal(life, ticket, question) => {
                if self.relay_life == life
                    && let Some(answer) = self.ask_journal(question)
                {
                    self.feed_relay(relay::Input::Journal { ticket, answer });
                }
            }
            Happening::Tick => {
                for index in 0..self.devices.len() {
                    let due = self.devices[index].client.as_ref().and_then(Client::next_timeout_ms);
                    if due.is_some_and(|at_ms| at_ms <= self.now.monotonic_ms) {
                        self.feed(index, client::Input::Timeout);
                    }
                }
                let due = self.relay.as_ref().and_then(Relay::next_timeout_ms);
                if due.is_some_and(|at_ms| at_ms <= self.now.monotonic_ms) {
                    self.feed_relay(relay::Input::Timeout);
                }
            }
        }
        true
    }

    pub fn run_for(&mut self, ms: u64) {
        let until_ms = self.now.monotonic_ms + ms;
        while self.queue.first_key_value().is_some_and(|((at_ms, _), _)| *at_ms <= until_ms) {
            self.step();
        }
        let passed_ms = until_ms - self.now.monotonic_ms;
        self.now = Now { monotonic_ms: until_ms, wall_ms: self.now.wall_ms + passed_ms };
    }

    /// Runs until a call is answered; panics after `ms_max` of virtual time.
    pub fn answer(&mut self, index: usize, request: u64, ms_max: u64) -> Result<Reply, SyncError> {
        let until_ms = self.now.monotonic_ms + ms_max;
        loop {
            if let Some(result) = self.devices[index].replies.get(&request) {
                return result.clone();
            }
            assert!(self.now.monotonic_ms <= until_ms && self.step(), "call {request} of {} was never answered", self.devices[index].name);
        }
    }
}
