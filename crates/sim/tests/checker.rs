//! The checker refuses histories in which an invariant does not hold: one made up for each of its rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use solconnect_sim::checker::{Checker, INVARIANTS, Loss};
use solconnect_sim::client_disk::ClientDisk;
use solconnect_sim::device::request_of;
use solconnect_sim::hostile::QUEUED_AGAIN;
use solconnect_sim::ledger::{Fate, Log as LoggedEntries, Sent};
use solconnect_sim::list::Lists;
use solconnect_sim::page::{AppCall, Terms};
use solconnect_sim::relay_disk::Journal;
use solconnect_sim::world::{Step, World};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{
    Answer, CallRecord, Change, Client, ClientConfig, Commit, ConnectionState, DeliveryReceipt, DeviceRecord, Event, FailedRecord, Input,
    InvitationRecord, LogRecord, Membership, MessageStatus, MessageView, NameRecord, OutboxRecord, Reply, SessionKind, SessionRecord,
    SessionView, StoredReply, SyncScope, SyncStats, SyncStatusView, Write,
};
use solconnect_sync_core::conflict::{Conflict, ConflictKind, ConflictingVersion, LogRange};
use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{
    Body, Chat, DeviceAnnounce, Encoding, ErrorBody, Frame, Head, ListedSession, Payload, ReadReceipt, ReadReceiptSync, Receipt,
    ReceiptStatus, SeedEntry, SeedResponse, SessionList, SyncAck, SyncHeartbeat, SyncResponse, SyncUpdate, WalletAnnounce,
};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::limits::{FRAME_BYTES_MAX, SOCKET_QUEUE_BYTES_MAX, UPDATES_IN_FLIGHT_MAX};
use solconnect_sync_core::log::{Log, LogHead};
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::relay::{DeviceRow, JournalQuestion, StoredEntry};
use solconnect_sync_core::vector_clock::VectorClock;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";
const TAB: u64 = 1;

/// A made-up history of one device, "d", in session "s".
struct History {
    world: World,
    disk: ClientDisk,
    commits: u64,
}

fn id_of(device: &str, counter: u64) -> String {
    message_id("s", device, "aB3xY9", counter)
}

fn entry(sequence_number: u64, device: &str, counter: u64, knows: u64, text: &str) -> Entry {
    let message = Message {
        id: id_of(device, counter),
        sender_wallet: if device == "d" { WALLET.into() } else { PEER.into() },
        ciphertext: text.into(),
        session_id: "s".into(),
        ..Message::default()
    };
    Entry { message, sequence_number, counter, knows, server_timestamp: 1, device_id: device.into(), ..Entry::default() }
}

/// The entry with another id than its device would have given it.
fn named(entry: Entry, id: &str) -> Entry {
    Entry { message: Message { id: id.into(), ..entry.message.clone() }, ..entry }
}

/// The entry as another kind, about that message.
fn version(entry: Entry, replaces: &str) -> Entry {
    Entry { message: Message { kind: Kind::EDIT, replaces: Some(replaces.into()), ..entry.message.clone() }, ..entry }
}

fn void(sequence_number: u64, counter: u64, knows: u64) -> Entry {
    let entry = entry(sequence_number, "d", counter, knows, "");
    Entry { message: Message { kind: Kind::VOID, ..entry.message.clone() }, ..entry }
}

fn frame_of(device: &str, body: Body) -> Payload {
    let head = Head { session_id: "s".into(), device_id: device.into(), protocol_version: Some(1), ..Head::default() };
    Payload::Binary(Frame { head, body }.to_bytes().unwrap().into())
}

fn frame(body: Body) -> Payload {
    frame_of("d", body)
}

fn seed_frame(body: Body) -> Payload {
    let head = Head { session_id: "s".into(), ..Head::default() };
    Payload::Text(Frame { head, body }.to_json().into())
}

impl History {
    /// The device has an open session and nothing else.
    fn new() -> History {
        let mut world = World::new(0, 0);
        world.checker.profile_made(WALLET, Default::default(), None);
        let mut disk = ClientDisk::default();
        let _ = disk.claim(TAB);
        world.checker.tab_started(TAB, 0, &disk, SyncStatusView::default(), &[], false);
        world.checker.relay_opened(1, Encoding::Binary, true);
        world.checker.relay_opened(2, Encoding::Json, true);
        let mut history = History { world, disk, commits: 0 };
        history.commit(true, vec![Write::Device(DeviceRecord::new("d".into())), Write::Session(session(&[]))]);
        assert_eq!(history.broken(), None, "nothing is wrong yet");
        history
    }

    /// These entries are in the log.
    fn with_log(entries: &[Entry]) -> History {
        let mut history = History::new();
        entries.iter().for_each(|entry| history.log(entry.clone()));
        assert_eq!(history.broken(), None, "nothing is wrong yet");
        history
    }

    /// These entries are in the log, and the device has stored them.
    fn with_stored_log(entries: &[Entry]) -> History {
        let mut history = History::with_log(entries);
        history.commit(false, vec![batch(entries), Write::Session(session(entries))]);
        assert_eq!(history.broken(), None, "nothing is wrong yet");
        history
    }

    /// The device has message 0 in its outbox, and has said so.
    fn with_unsent() -> History {
        let mut history = History::new();
        history.send(0);
        history.store_unsent(true, 0, 1, 0);
        history.accept(0);
        history.tell(Event::QueueChanged { queued_message_count: 1 });
        assert_eq!(history.broken(), None, "nothing is wrong yet");
        history
    }

    fn checker(&mut self) -> &mut Checker {
        &mut self.world.checker
    }

    fn broken(&self) -> Option<u8> {
        self.world.checker.violation().map(|violation| violation.invariant)
    }

    fn commit(&mut self, strict: bool, writes: Vec<Write>) {
        let before = self.world.checker.commit_begins(&writes, &self.disk, None);
        self.commits += 1;
        self.disk.write(TAB, Commit { id: self.commits, strict, writes: writes.clone() }.into(), None).unwrap();
        self.world.checker.committed(TAB, 0, &writes, &before, &self.disk);
        self.world.checker.disk_is_known(TAB);
    }

    /// The journal says that it has stored an entry.
    fn log(&mut self, entry: Entry) {
        let mut log = LoggedEntries::default();
        self.checker().ledger.log("s").entries().iter().for_each(|before| log.push("s", before.clone()));
        log.push("s", entry.clone());
        let log_hash = log.hash_at("s", log.head()).unwrap();
        self.log_as(entry, log_hash);
    }

    fn log_as(&mut self, entry: Entry, log_hash: Digest) {
        self.checker().appended("s", &[stored(entry, log_hash)]);
    }

    /// The application makes a call, and the machine is given it.
    fn call(&mut self, mut input: Input) {
        self.world.checker.called(TAB, &input, &self.disk);
        request_of(&mut input).into_iter().for_each(|request| self.world.checker.fed(*request));
    }

    /// The database is deleted under the tab, which goes on.
    fn delete_database(&mut self) {
        let disk = self.disk.clone();
        self.checker().lost_store(TAB, &disk, Loss::Remembered);
        self.disk.delete();
    }

    /// The tab makes it anew, under another id.
    fn make_anew(&mut self, writes: Vec<Write>) {
        let device = Write::Device(DeviceRecord::new("d2".into()));
        let writes: Vec<Write> = [device, Write::Session(session(&[]))].into_iter().chain(writes).collect();
        let mut before = self.world.checker.commit_begins(&writes, &self.disk, Some(Vec::new()));
        before.lost = self.disk.lost().map(|lost| lost.records.clone());
        self.disk.claim_above(TAB, 1);
        self.disk.write(TAB, Commit { id: 99, strict: true, writes: writes.clone() }.into(), None).unwrap();
        self.world.checker.committed(TAB, 0, &writes, &before, &self.disk);
        self.world.checker.disk_is_known(TAB);
        self.handled();
    }

    /// The application sends the message of this number.
    fn send(&mut self, number: u64) {
        self.send_named(number, None);
    }

    fn send_named(&mut self, number: u64, name: Option<&str>) {
        let (text, message_id) = (format!("s{number} text"), name.map(str::to_owned));
        self.call(Input::Send { request: number, session_id: "s".into(), text, content_type: None, message_id, known: None });
    }

    fn store_unsent(&mut self, strict: bool, number: u64, counter: u64, knows: u64) {
        self.commit(strict, vec![outbox(&[entry(0, "d", counter, knows, &format!("s{number} text"))])]);
    }

    fn accept(&mut self, number: u64) {
        let message_id = id_of("d", number + 1);
        let receipt = DeliveryReceipt { message_id, timestamp: String::new(), status: MessageStatus::Queued };
        self.world.checker.replied(TAB, number, &Ok(Reply::Receipt(receipt)), &self.disk);
    }

    fn tell(&mut self, event: Event) {
        self.world.checker.told(TAB, &event, &self.disk);
    }

    fn hear(&mut self, entry: &Entry) {
        self.tell(Event::MessageReceived { session_id: "s".into(), entry: Box::new(entry.clone()) });
    }

    fn status(&mut self, counter: u64, status: MessageStatus) {
        self.tell(Event::StatusChanged { session_id: "s".into(), message_id: id_of("d", counter), status, error: None });
    }

    /// The machine has handled an input.
    fn handled(&mut self) {
        self.world.checker.handled(TAB, true, &self.disk);
    }

    /// The device gives a frame to its socket.
    fn transmit(&mut self, payload: &Payload) {
        self.world.checker.transmitted(TAB, 1, payload, &self.disk);
    }

    /// The relay hears a frame of connection 1.
    fn relay_hears(&mut self, body: Body) {
        let World { ctx, checker, .. } = &mut self.world;
        checker.relay_received(ctx, 1, &frame(body));
    }

    /// The relay hears a device announce itself and send an entry, behind what it wrote before.
    fn relay_is_sent(&mut self, entry: &Entry, last_digest: Digest) {
        self.relay_hears(Body::DeviceAnnounce(DeviceAnnounce::default()));
        self.relay_hears(update(entry, last_digest));
    }

    /// The relay gives a frame to connection 1.
    fn relay_says(&mut self, body: Body) {
        self.checker().relay_transmitted(1, &frame(body));
    }

    /// The relay gives a frame to a seed client, connection 2.
    fn relay_says_to_seed(&mut self, body: Body) {
        self.checker().relay_transmitted(2, &seed_frame(body));
    }
}

fn stored(entry: Entry, log_hash: Digest) -> StoredEntry {
    let (device_id, counter, sequence) = (entry.device_id.clone(), entry.counter, entry.sequence_number);
    StoredEntry { sequence, device_id, counter, key: None, log_hash, signature: None, body: Batch::of(&[entry]).unwrap() }
}

/// The record of the session whose log these entries are.
fn session(entries: &[Entry]) -> SessionRecord {
    let mut log = Log::new("s");
    entries.iter().for_each(|entry| log.take(entry).unwrap());
    SessionRecord { open: true, log, ..SessionRecord::new("s".into(), WALLET.into(), PEER.into()) }
}

fn batch(entries: &[Entry]) -> Write {
    let (first, last) = (entries[0].sequence_number, entries[entries.len() - 1].sequence_number);
    let batch = Batch::of(entries).unwrap();
    Write::Log(LogRecord { session_id: "s".into(), first, last, heads_before: Some(VectorClock::new()), batch })
}

fn outbox(entries: &[Entry]) -> Write {
    Write::Outbox(OutboxRecord { session_id: "s".into(), entries: entries.to_vec() })
}

fn delete_outbox() -> Write {
    Write::DeleteOutbox { session_id: "s".into(), first: 1, last: 1 }
}

/// The relay's acknowledgement of one message.
fn ack(counter: u64, sequence: u64) -> Body {
    Body::SyncAck(SyncAck {
        acknowledged_counters: vec![counter],
        acknowledged_sequences: vec![sequence],
        server_timestamps: vec![1],
        ..SyncAck::default()
    })
}

fn update(entry: &Entry, last_digest: Digest) -> Body {
    Body::SyncUpdate(SyncUpdate { messages: Batch::of(std::slice::from_ref(entry)).unwrap(), last_digest, ..SyncUpdate::default() })
}

/// The digest of the first entry that its device wrote.
fn digest_of(entry: &Entry) -> Digest {
    entry.digest(&first_digest("s", &entry.device_id))
}

#[test]
fn each_invariant_has_a_history_here() {
    let text = include_str!("checker.rs");
    for number in INVARIANTS {
        assert!(text.contains(&format!(" i{number}_")) || text.contains(&format!("_i{number}_")), "no history breaks I{number}");
    }
}

#[test]
fn i23_only_who_claimed_last_writes() {
    let mut history = History::new();
    history.checker().claimed(0, TAB + 1);
    history.commit(true, vec![Write::Session(session(&[]))]);
    assert_eq!(history.broken(), Some(23));
}

#[test]
fn i30_what_is_said_not_to_be_done_is_not_stored() {
    let full = SyncError::new(ErrorCode::OutboxFull, "");
    let call = |has_run| Some(AppCall { number: Some(0), has_run, made_ms: None });
    let mut history = History::new();
    history.send(0);
    history.checker().answered(1, 1, call(true), Some(&full));
    history.store_unsent(true, 0, 1, 0);
    assert_eq!(history.broken(), Some(30), "another owner has done it since");
    let mut history = History::with_unsent();
    history.checker().answered(1, 1, call(true), Some(&full));
    assert_eq!(history.broken(), Some(30), "it was done before");
    let mut history = History::with_unsent();
    let ended = SyncError::new(ErrorCode::SdkNotInitialized, "");
    history.checker().answered(1, 1, call(true), Some(&ended));
    assert_eq!(history.broken(), None, "who ends does not know");
    history.checker().answered(1, 1, None, None);
    assert_eq!(history.broken(), Some(30), "a second answer");
}

#[test]
fn i33_who_follows_has_the_same_terms() {
    let terms = |protocol, speaks, settings: &str| Terms { protocol, speaks, settings: settings.into() };
    let owner = terms(2, 2, "one relay");
    for (own, broken) in [
        (terms(2, 1, "one relay"), None),
        (terms(2, 1, "another relay"), Some(33)),
        (terms(1, 1, "one relay"), Some(33)),
        (terms(3, 1, "one relay"), Some(33)),
    ] {
        let mut history = History::new();
        history.checker().follows(1, &own, &owner);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i31_a_list_is_kept_by_what_is_told() {
    let client = |outbox: &[u64]| {
        let disk = &mut ClientDisk::default();
        disk.claim(TAB);
        let session = SessionRecord { open: true, ..SessionRecord::new("s".into(), WALLET.into(), PEER.into()) };
        let entries: Vec<Entry> = outbox.iter().map(|counter| entry(0, "d", *counter, 0, "s0 x")).collect();
        let mut writes = vec![Write::Device(DeviceRecord::new("d".into())), Write::Session(session)];
        writes.extend((!entries.is_empty()).then(|| Write::Outbox(OutboxRecord { session_id: "s".into(), entries })));
        disk.write(TAB, std::rc::Rc::new(Commit { id: 1, strict: true, writes }), None).unwrap();
        (Client::new(ClientConfig::default(), disk.claim(TAB), 1), disk.clone())
    };
    let ((before, disk_before), (after, disk_after)) = (client(&[]), client(&[1]));
    let shown = Lists::read(&after, disk_after.state());
    let mut list = Lists::read(&before, disk_before.state());
    assert!(list.difference(&shown).is_some(), "nothing was told");
    let change = Change::Message { session_id: "s".into(), entry: Box::new(entry(0, "d", 1, 0, "s0 x")) };
    list.take(&change, &after, disk_after.state());
    assert_eq!(list.difference(&shown), None);
    let removed = Change::Removed { session_id: "s".into(), message_id: id_of("d", 1) };
    list.take(&removed, &after, disk_after.state());
    assert!(list.difference(&shown).is_some(), "what it still shows was said to be gone");
    let invited = Change::Session { session_id: "t".into() };
    let mut list = shown.clone();
    list.take(&invited, &after, disk_after.state());
    assert_eq!(list.difference(&shown), None, "an invitation is no session yet");
}

#[test]
fn i1_only_what_the_journal_has_is_acknowledged() {
    let mut history = History::new();
    history.relay_says(ack(1, 1));
    assert_eq!(history.broken(), Some(1));
}

#[test]
fn i1_a_crash_takes_nothing_from_the_journal() {
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
    history.checker().recovered(&Journal::default());
    assert_eq!(history.broken(), Some(1));
}

#[test]
fn i2_a_power_cut_takes_no_accepted_message() {
    for (strict, broken) in [(true, None), (false, Some(2))] {
        let mut history = History::new();
        history.send(0);
        history.store_unsent(strict, 0, 1, 0);
        history.accept(0);
        assert_eq!(history.broken(), broken);
    }
    let mut history = History::with_unsent();
    history.checker().power_cut(0, &Default::default());
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i2_a_message_leaves_the_outbox_for_its_place() {
    let mut history = History::with_unsent();
    history.commit(true, vec![delete_outbox()]);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i2_a_message_that_gives_way_to_a_void_has_failed() {
    for (told, broken) in [(true, None), (false, Some(2))] {
        let mut history = History::with_unsent();
        history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, 0)])]);
        if told {
            history.status(1, MessageStatus::Failed);
        }
        history.tell(Event::QueueChanged { queued_message_count: 0 });
        history.handled();
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i2_a_void_in_the_log_stands_for_a_refused_message() {
    for (waited, broken) in [(true, None), (false, Some(2))] {
        let mut history = History::with_unsent();
        if waited {
            history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, 0)])]);
        }
        history.log(void(1, 1, 0));
        assert_eq!(history.broken(), broken);
    }
    let mut history = History::with_unsent();
    history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, 0)])]);
    let mut speaking = void(1, 1, 0);
    speaking.message.ciphertext = "x".into();
    history.log(speaking);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i3_no_counter_stands_twice() {
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
    history.log(named(entry(2, "e", 1, 1, "x"), "other"));
    assert_eq!(history.broken(), Some(3));
}

#[test]
fn i3_no_text_stands_twice() {
    let mut history = History::new();
    history.send(0);
    history.log(entry(1, "d", 1, 0, "s0 text"));
    assert_eq!(history.broken(), None);
    history.log(named(entry(2, "copy", 1, 1, "s0 text"), "other"));
    assert_eq!(history.broken(), Some(3), "under whatever names");
}

#[test]
fn i3_a_wallet_has_one_message_of_a_name() {
    for (device, broken) in [("f", Some(3)), ("d", None)] {
        let mut history = History::with_log(&[named(entry(1, "e", 1, 0, "x"), "name")]);
        history.log(named(entry(2, device, 1, 1, "x"), "name"));
        assert_eq!(history.broken(), broken, "{device} is of the same wallet or of another");
    }
}

#[test]
fn i3_a_message_keeps_its_id() {
    let mut history = History::with_unsent();
    history.log(named(entry(1, "d", 1, 0, "s0 text"), "other"));
    assert_eq!(history.broken(), Some(3), "in the log");
    let mut history = History::new();
    history.send_named(0, Some("name"));
    history.store_unsent(true, 0, 1, 0);
    assert_eq!(history.broken(), Some(3), "in the outbox");
    let mut history = History::new();
    history.send_named(0, Some("name"));
    history.commit(true, vec![outbox(&[named(entry(0, "d", 1, 0, "s0 text"), "name")])]);
    assert_eq!(history.broken(), None);
    history.accept(0);
    assert_eq!(history.broken(), Some(3), "in the answer");
}

#[test]
fn i3_a_message_made_anew_says_the_same() {
    for (text, broken) in [("s0 text", None), ("s0 other", Some(3))] {
        let mut history = History::with_unsent();
        history.commit(true, vec![delete_outbox(), outbox(&[entry(0, "d", 1, 0, text)])]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i4_only_the_same_content_is_acknowledged_again() {
    for (text, broken) in [("one", None), ("other", Some(4))] {
        let mut history = History::with_log(&[entry(1, "d", 1, 0, "one")]);
        let sent = entry(0, "d", 1, 0, text);
        history.relay_is_sent(&sent, digest_of(&entry(0, "d", 1, 0, "one")));
        history.relay_says(ack(1, 1));
        assert_eq!(history.broken(), broken);
    }
}

/// What the relay says of a message that is the first of its device and knows nothing.
fn refusal(code: ErrorCode, expected_counter: Option<u64>, stored_sequence: Option<u64>) -> Body {
    let (session_id, refused_message_id) = (Some("s".into()), Some(id_of("d", 1)));
    Body::Error(ErrorBody { code, session_id, refused_message_id, expected_counter, stored_sequence, ..ErrorBody::default() })
}

#[test]
fn i4_a_refusal_has_the_reason_that_it_names() {
    let refused = |log: &[Entry], knows: u64, last_digest: Option<Digest>, refusal: Body| {
        let mut history = History::with_log(log);
        let sent = entry(0, "d", 1, knows, "x");
        history.relay_is_sent(&sent, last_digest.unwrap_or_else(|| digest_of(&sent)));
        history.relay_says(refusal);
        history.broken()
    };
    let other = [entry(1, "d", 1, 0, "other")];
    let namesake = [named(Entry { message: entry(1, "d", 1, 0, "other").message, ..entry(1, "e", 1, 0, "") }, &id_of("d", 1))];
    let same = [Entry { message: entry(1, "d", 1, 0, "x").message, ..entry(1, "e", 1, 0, "") }];

    let reused = || refusal(ErrorCode::CounterReused, None, None);
    assert_eq!(refused(&other, 0, None, reused()), None);
    assert_eq!(refused(&[], 0, Some([9; 32]), reused()), None, "the device wrote something else before");
    assert_eq!(refused(&[], 0, None, reused()), Some(4));

    let taken = || refusal(ErrorCode::MessageIdTaken, None, None);
    assert_eq!(refused(&[], 0, None, taken()), Some(4));
    assert_eq!(refused(&same, 0, None, taken()), Some(4), "it is the same message");

    assert_eq!(refused(&same, 0, None, refusal(ErrorCode::AlreadyStored, None, Some(1))), None);
    assert_eq!(refused(&namesake, 0, None, refusal(ErrorCode::AlreadyStored, None, Some(1))), Some(4));
    assert_eq!(refused(&same, 0, None, refusal(ErrorCode::AlreadyStored, None, Some(2))), Some(4));

    assert_eq!(refused(&[], 0, None, refusal(ErrorCode::CounterGap, Some(0), None)), None);
    assert_eq!(refused(&[], 0, None, refusal(ErrorCode::CounterGap, Some(1), None)), Some(4));

    assert_eq!(refused(&[], 1, None, refusal(ErrorCode::RelayRolledBack, None, None)), None);
    assert_eq!(refused(&[], 0, None, refusal(ErrorCode::RelayRolledBack, None, None)), Some(4));
}

#[test]
fn i4_a_name_that_a_device_gives_is_let_to_nobody_else() {
    for (name, broken) in [(id_of("d", 1), Some(4)), (id_of("e", 1), None), ("app".to_owned(), None)] {
        let namesake = named(Entry { message: entry(1, "d", 1, 0, "other").message, ..entry(1, "e", 1, 0, "") }, &name);
        let sent = named(entry(0, "d", 1, 0, "x"), &name);
        let mut history = History::with_log(&[namesake]);
        history.relay_is_sent(&sent, digest_of(&sent));
        let Body::Error(refusal) = refusal(ErrorCode::MessageIdTaken, None, None) else { unreachable!() };
        history.relay_says(Body::Error(ErrorBody { refused_message_id: Some(name.clone()), ..refusal }));
        assert_eq!(history.broken(), broken, "{name}");
    }
}

#[test]
fn i4_a_refusal_is_about_one_message_of_its_name() {
    let (one, two) = (entry(0, "d", 1, 0, "x"), named(entry(0, "d", 2, 0, "y"), &id_of("d", 1)));
    let mut history = History::with_log(&[Entry { message: one.message.clone(), ..entry(1, "e", 1, 0, "") }]);
    history.relay_is_sent(&one, digest_of(&one));
    history.relay_hears(update(&two, [9; 32]));
    history.relay_says(refusal(ErrorCode::AlreadyStored, None, Some(1)));
    assert_eq!(history.broken(), None);
}

#[test]
fn i4_a_name_is_taken_only_by_another_message() {
    for (names, broken) in [(["name", "name"], None), (["name", "other"], Some(4))] {
        let mut history = History::new();
        history.send_named(0, Some(names[0]));
        history.send_named(1, Some(names[1]));
        let refused = Err(SyncError::new(ErrorCode::MessageIdTaken, ""));
        history.world.checker.replied(TAB, 1, &refused, &history.disk);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i5_a_log_has_no_hole() {
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
    history.log(entry(3, "e", 2, 0, "x"));
    assert_eq!(history.broken(), Some(5));
}

#[test]
fn i5_an_entry_is_stored_with_the_hash_of_its_log() {
    let mut history = History::new();
    history.log_as(entry(1, "e", 1, 0, "x"), [9; 32]);
    assert_eq!(history.broken(), Some(5));
}

#[test]
fn i5_a_message_stands_in_the_session_it_was_sent_to() {
    let mut history = History::new();
    let (session_id, text) = ("other".into(), "s0 text".into());
    history.call(Input::Send { request: 0, session_id, text, content_type: None, message_id: None, known: None });
    history.log(entry(1, "d", 1, 0, "s0 text"));
    assert_eq!(history.broken(), Some(5));
}

#[test]
fn i5_the_relay_names_the_hash_that_its_log_has() {
    let one = entry(1, "e", 1, 0, "x");
    for (hash, broken) in [(session(std::slice::from_ref(&one)).log.hash(), None), ([9; 32], Some(5))] {
        let log = Some(LogHead { sequence: 1, hash });
        let heartbeat = SyncHeartbeat { sequence_number: 1, log, ..SyncHeartbeat::default() };
        let acked = SyncAck { log, ..SyncAck::default() };
        for body in [Body::SyncHeartbeat(heartbeat), Body::SyncAck(acked), response(&one, 1, log)] {
            let mut history = History::with_log(std::slice::from_ref(&one));
            history.relay_says(body);
            assert_eq!(history.broken(), broken);
        }
    }
}

fn response(entry: &Entry, latest_sequence: u64, log: Option<LogHead>) -> Body {
    let messages = Batch::of(std::slice::from_ref(entry)).unwrap();
    Body::SyncResponse(SyncResponse { messages, latest_sequence, log, ..SyncResponse::default() })
}

#[test]
fn i5_the_relay_serves_what_stands_in_the_log() {
    let one = entry(1, "e", 1, 0, "x");
    let first = Some(LogHead { sequence: 0, hash: first_log_hash("s") });
    for (body, broken) in [
        (response(&one, 1, None), None),
        (response(&entry(1, "e", 1, 0, "y"), 1, None), Some(5)),
        (response(&one, 2, None), Some(5)),
        (response(&one, 1, first), Some(5)),
    ] {
        let mut history = History::with_log(std::slice::from_ref(&one));
        history.relay_says(body);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i5_a_seed_client_is_served_what_stands_in_the_log() {
    let one = entry(1, "e", 1, 0, "x");
    for (text, broken) in [("x", None), ("y", Some(5))] {
        let mut history = History::with_log(std::slice::from_ref(&one));
        let message = entry(1, "e", 1, 0, text).message;
        let (vector_clock, original_device_id) = (r#"{"e":1}"#.parse().unwrap(), "e".into());
        let served = SeedEntry { message, sequence_number: 1, vector_clock, server_timestamp: 1, original_device_id };
        history.relay_says_to_seed(Body::SeedResponse(SeedResponse { messages: [served].into(), ..SeedResponse::default() }));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i5_no_receipt_is_ahead_of_the_log() {
    for (place, broken) in [(1, None), (2, Some(5))] {
        let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
        let receipt = Receipt {
            message_id: String::new(),
            status: ReceiptStatus::Read,
            timestamp: Stamp::Millis(0),
            reader_wallet: Some(PEER.into()),
            device_id: None,
            sequence_number: Some(place),
        };
        history.relay_says(Body::ReadReceiptSync(ReadReceiptSync { receipts: vec![receipt] }));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i6_each_message_is_told_once() {
    let one = entry(1, "e", 1, 0, "x");
    let mut history = History::with_stored_log(std::slice::from_ref(&one));
    history.hear(&one);
    assert_eq!(history.broken(), None);
    history.hear(&one);
    assert_eq!(history.broken(), Some(6));
    let mut history = History::with_stored_log(&[one]);
    history.handled();
    assert_eq!(history.broken(), Some(6));
}

#[test]
fn i6_what_came_and_left_in_one_commit_is_own() {
    let Entry { message, .. } = named(entry(0, "d", 1, 0, "s0 text"), "x");
    let logged = [Entry { message: message.clone(), ..entry(1, "e", 1, 0, "") }];
    for (said, broken) in [(message.fingerprint(), None), (Vec::new(), Some(6))] {
        let mut history = History::new();
        history.send_named(0, Some("x"));
        history.log(logged[0].clone());
        let name = NameRecord { session_id: "s".into(), message_id: "x".into(), fingerprint: said, sent_ms: 1 };
        history.commit(true, vec![Write::Name(name), batch(&logged), Write::Session(session(&logged))]);
        history.handled();
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i6_what_was_cancelled_before_the_log_brings_it_is_told() {
    let logged = [entry(1, "d", 1, 0, "s0 text")];
    for (forgets, broken) in [(true, None), (false, Some(6))] {
        let mut history = History::with_unsent();
        history.log(logged[0].clone());
        let name = Write::ForgetName { session_id: "s".into(), message_id: id_of("d", 1) };
        let writes = [delete_outbox(), batch(&logged), Write::Session(session(&logged))];
        history.commit(true, forgets.then_some(name).into_iter().chain(writes).collect());
        history.hear(&logged[0]);
        history.tell(Event::QueueChanged { queued_message_count: 0 });
        history.handled();
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i6_messages_are_told_in_their_order() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "e", 2, 1, "y")];
    let mut history = History::with_stored_log(&entries);
    history.hear(&entries[1]);
    assert_eq!(history.broken(), Some(6));
}

#[test]
fn i6_an_entry_of_an_unknown_kind_is_not_told() {
    let mut unknown = entry(1, "e", 1, 0, "x");
    unknown.message.kind = Kind(1_000);
    let mut history = History::with_stored_log(std::slice::from_ref(&unknown));
    history.handled();
    assert_eq!(history.broken(), None);
    history.hear(&unknown);
    assert_eq!(history.broken(), Some(6));
}

#[test]
fn i7_a_cursor_is_stored_with_its_data() {
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
    history.commit(false, vec![Write::Session(session(&[entry(1, "e", 1, 0, "x")]))]);
    assert_eq!(history.broken(), Some(7));
}

#[test]
fn i7_a_cursor_never_falls() {
    let mut history = History::with_stored_log(&[entry(1, "e", 1, 0, "x")]);
    history.commit(false, vec![Write::Session(session(&[]))]);
    assert_eq!(history.broken(), Some(7));
}

#[test]
fn i7_a_device_says_no_more_than_it_has_stored() {
    for (said, broken) in [(0, None), (1, Some(7))] {
        let mut history = History::new();
        history.transmit(&frame(Body::SyncAck(SyncAck { acknowledged_sequences: vec![said], ..SyncAck::default() })));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i8_messages_stand_in_the_order_they_were_sent() {
    let mut history = History::new();
    history.send(0);
    history.send(1);
    history.log(entry(1, "d", 1, 0, "s1 text"));
    history.log(entry(2, "d", 2, 0, "s0 text"));
    assert_eq!(history.broken(), Some(8));
}

#[test]
fn i9_a_device_stores_the_entries_of_the_log() {
    let one = entry(1, "e", 1, 0, "x");
    let mut history = History::with_log(std::slice::from_ref(&one));
    history.commit(false, vec![batch(&[entry(1, "e", 1, 0, "y")]), Write::Session(session(&[one]))]);
    assert_eq!(history.broken(), Some(9));
}

#[test]
fn i9_a_device_stores_the_hash_of_the_log() {
    let one = entry(1, "e", 1, 0, "x");
    let mut history = History::with_log(std::slice::from_ref(&one));
    history.commit(false, vec![batch(&[one]), Write::Session(session(&[entry(1, "e", 1, 0, "y")]))]);
    assert_eq!(history.broken(), Some(9));
}

#[test]
fn i9_all_that_is_stored_is_the_log() {
    let one = entry(1, "e", 1, 0, "x");
    for (text, broken) in [("x", None), ("y", Some(9))] {
        let mut history = History::with_log(std::slice::from_ref(&one));
        let record = session(std::slice::from_ref(&one));
        history.checker().stored(0, &record, 0, &[entry(1, "e", 1, 0, text)]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i10_no_entry_stands_before_what_its_device_had_stored() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "e", 2, 1, "y")];
    for (kept, broken) in [(&entries[..], None), (&entries[..1], Some(10))] {
        let mut history = History::with_stored_log(&entries);
        history.send(0);
        history.store_unsent(true, 0, 1, 2);
        assert_eq!(history.broken(), None);
        history.checker().ledger.replace_logs([("s".into(), kept.to_vec())].into());
        let place = kept.len() as u64 + 1;
        history.log(entry(place, "d", 1, place - 1, "s0 text"));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_counters_ascend_in_the_log() {
    let mut history = History::with_log(&[entry(1, "e", 2, 0, "x")]);
    history.log(entry(2, "e", 1, 1, "y"));
    assert_eq!(history.broken(), Some(11));
}

#[test]
fn i11_an_unsent_message_knows_what_its_device_has_stored() {
    let one = entry(1, "e", 1, 0, "x");
    for (knows, broken) in [(0, Some(11)), (1, None), (2, Some(11))] {
        let mut history = History::with_stored_log(std::slice::from_ref(&one));
        history.send(0);
        history.store_unsent(true, 0, 1, knows);
        assert_eq!(history.broken(), broken);
    }
    let mut history = History::with_log(std::slice::from_ref(&one));
    history.send(0);
    let own = entry(0, "d", 1, 1, "s0 text");
    let stored = std::slice::from_ref(&one);
    history.commit(true, vec![outbox(&[own]), batch(stored), Write::Session(session(stored))]);
    assert_eq!(history.broken(), Some(11), "what the same transaction stores was not known");
}

#[test]
fn i11_a_void_knows_no_more_than_is_stored() {
    for (knows, broken) in [(0, None), (1, Some(11))] {
        let mut history = History::with_unsent();
        history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, knows)])]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_an_entry_in_the_log_knows_what_it_was_written_with() {
    let one = entry(1, "e", 1, 0, "x");
    for (knows, broken) in [(0, None), (1, Some(11))] {
        let mut history = History::with_unsent();
        history.log(one.clone());
        history.log(entry(2, "d", 1, knows, "s0 text"));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_what_waits_is_of_the_one_device() {
    let mut history = History::new();
    history.commit(true, vec![outbox(&[entry(0, "other", 1, 0, "x")])]);
    assert_eq!(history.broken(), Some(11));
}

#[test]
fn i11_counters_of_what_waits_follow_the_log() {
    for (counter, broken) in [(1, None), (2, Some(11))] {
        let mut history = History::new();
        history.commit(true, vec![outbox(&[entry(0, "d", counter, 0, "x")])]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_a_device_announces_itself_as_what_it_is() {
    for (device, broken) in [("d", None), ("other", Some(11))] {
        let mut history = History::new();
        history.transmit(&frame_of(device, Body::DeviceAnnounce(DeviceAnnounce::default())));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_messages_are_sent_with_their_digest() {
    let sent = entry(0, "d", 1, 0, "s0 text");
    for (last_digest, broken) in [(digest_of(&sent), None), ([9; 32], Some(11))] {
        let mut history = History::with_unsent();
        history.transmit(&frame(update(&sent, last_digest)));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_the_relay_cuts_nothing_off_that_a_message_knows() {
    for (knows, broken) in [(1, None), (0, Some(11))] {
        let sent = entry(0, "d", 1, 1, "x");
        let mut history = History::with_log(&[entry(1, "e", 1, 0, "y")]);
        history.relay_is_sent(&sent, digest_of(&sent));
        history.log(entry(2, "d", 1, knows, "x"));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_the_relay_acknowledges_only_what_its_chain_leads_to() {
    let sent = entry(0, "d", 1, 0, "x");
    for (last_digest, broken) in [(digest_of(&sent), None), ([9; 32], Some(11))] {
        let mut history = History::new();
        history.relay_is_sent(&sent, last_digest);
        history.log(entry(1, "d", 1, 0, "x"));
        history.relay_says(ack(1, 1));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i11_a_seed_client_is_told_the_clock_of_an_entry() {
    for (clock, broken) in [(r#"{"e":1,"f":1}"#, None), (r#"{"f":1}"#, Some(11))] {
        assert_eq!(told_live(clock, "y"), broken);
    }
}

/// What a seed client being told that of entry 2, whose text is "y", breaks.
fn told_live(clock: &str, text: &str) -> Option<u8> {
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x"), entry(2, "f", 1, 1, "y")]);
    let (room_id, message_id, vector_clock) = (Some("s".into()), Some(id_of("f", 1)), Some(clock.parse().unwrap()));
    let chat = Chat { room_id, message: text.into(), message_id, vector_clock, sequence_number: Some(2), ..Chat::default() };
    history.relay_says_to_seed(Body::Chat(chat));
    history.broken()
}

#[test]
fn i5_a_live_message_to_a_seed_client_stands_in_the_log() {
    assert_eq!(told_live(r#"{"e":1,"f":1}"#, "other"), Some(5));
}

/// What a tab shows of an entry.
fn shown(entry: &Entry, text: &str, clock: &str) -> MessageView {
    MessageView {
        pending_edit: false,
        id: entry.message.id.clone(),
        session_id: "s".into(),
        sender_wallet: entry.message.sender_wallet.clone(),
        timestamp: String::new(),
        content_type: None,
        text: text.into(),
        device_id: entry.device_id.clone(),
        sequence_number: Some(entry.sequence_number),
        vector_clock: clock.parse().unwrap(),
        status: MessageStatus::Sent,
        read_by: None,
        error: None,
        edited: false,
        deleted: false,
        versions: Vec::new(),
    }
}

#[test]
fn i9_i11_i12_a_tab_shows_what_its_log_says() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "f", 1, 1, "y")];
    let edited = [entry(1, "e", 1, 0, "x"), version(entry(2, "f", 1, 1, "y"), &id_of("e", 1))];
    let first = shown(&entries[0], "x", r#"{"e":1}"#);
    let second = |text, clock| vec![first.clone(), shown(&entries[1], text, clock)];
    for (log, views, broken) in [
        (&entries, second("y", r#"{"e":1,"f":1}"#), None),
        (&entries, second("other", r#"{"e":1,"f":1}"#), Some(9)),
        (&entries, vec![first.clone()], Some(9)),
        (&entries, second("y", r#"{"f":1}"#), Some(11)),
        (&edited, vec![shown(&entries[0], "y", r#"{"e":1}"#)], Some(12)),
    ] {
        let mut history = History::with_stored_log(log);
        history.checker().shown(TAB, &session(log), &views, &BTreeSet::from([1, 2]), 1, &[]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i9_a_tab_without_its_store_shows_each_message_at_its_place() {
    let one = entry(1, "e", 1, 0, "x");
    for (place, broken) in [(1, None), (2, Some(9))] {
        let mut history = History::with_log(std::slice::from_ref(&one));
        let view = MessageView { sequence_number: Some(place), ..shown(&one, "x", "{}") };
        history.checker().shown_without_store(TAB, "s", &[view]);
        assert_eq!(history.broken(), broken);
    }
}

fn conflict(kind: ConflictKind) -> Conflict {
    Conflict {
        kind,
        message_id: id_of("f", 1),
        sequence_number: 2,
        device_id: "f".into(),
        vector_clock: VectorClock::new(),
        concurrent_with: None,
        conflicting_versions: Vec::new(),
        resolution: Some("log_order".into()),
    }
}

fn conflicting(entry: &Entry) -> ConflictingVersion {
    ConflictingVersion { message: entry.message.clone(), device_id: entry.device_id.clone(), ..ConflictingVersion::default() }
}

#[test]
fn i12_a_conflict_is_what_its_writer_did_not_know() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "f", 1, 0, "y")];
    let stranger = entry(1, "g", 1, 0, "x");
    for (from, other, broken) in [(1, &entries[0], None), (0, &entries[0], Some(12)), (1, &stranger, Some(12))] {
        let mut history = History::with_log(&entries);
        let (concurrent_with, named) = (Some(LogRange { from, to: 1 }), vec![conflicting(&entries[1]), conflicting(other)]);
        let conflict = Conflict { concurrent_with, conflicting_versions: named, ..conflict(ConflictKind::ConcurrentMessages) };
        history.tell(Event::ConflictDetected { session_id: "s".into(), conflicts: vec![conflict] });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i12_what_its_writer_knew_is_no_conflict() {
    let mut beside = entry(2, "f", 1, 0, "y");
    beside.also.raise("e", 1).unwrap();
    for second in [entry(2, "f", 1, 1, "y"), beside] {
        let concurrent_with = Some(LogRange { from: second.knows + 1, to: 1 });
        let mut history = History::with_log(&[entry(1, "e", 1, 0, "x"), second]);
        let conflict = Conflict { concurrent_with, ..conflict(ConflictKind::ConcurrentMessages) };
        history.tell(Event::ConflictDetected { session_id: "s".into(), conflicts: vec![conflict] });
        assert_eq!(history.broken(), Some(12));
    }
}

#[test]
fn i12_each_conflict_is_told() {
    for (knows, broken) in [(1, None), (0, Some(12))] {
        let entries = [entry(1, "e", 1, 0, "x"), entry(2, "f", 1, knows, "y")];
        let mut history = History::with_stored_log(&entries);
        entries.iter().for_each(|entry| history.hear(entry));
        history.handled();
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i12_conflicting_versions_are_told_in_their_order() {
    let target = id_of("e", 1);
    let edit = |place: u64, device: &str| version(entry(place, device, 1, 1, "y"), &target);
    let entries = [entry(1, "e", 1, 0, "x"), edit(2, "f"), edit(3, "g")];
    for (order, broken) in [([2, 1], None), ([1, 2], Some(12))] {
        let mut history = History::with_log(&entries);
        let conflict = Conflict {
            message_id: target.clone(),
            sequence_number: 3,
            conflicting_versions: order.map(|place: usize| conflicting(&entries[place])).into(),
            ..conflict(ConflictKind::ConcurrentVersions)
        };
        history.tell(Event::ConflictDetected { session_id: "s".into(), conflicts: vec![conflict] });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i13_counts_are_what_is_stored() {
    for (queued, broken) in [(1, None), (2, Some(13))] {
        let mut history = History::with_unsent();
        let status = SyncStatusView { queued_message_count: queued, ..SyncStatusView::default() };
        let vector_clock = r#"{"d":1}"#.parse().unwrap();
        let view = SessionView { queued_message_count: 1, vector_clock, ..session_view(0, "s") };
        history.world.checker.looked(TAB, status, 1, &[view], ConnectionState::Connected, &history.disk);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i14_progress_rises_and_a_sync_ends_at_the_end() {
    let progress = |messages_synced| Event::SyncProgress { session_id: "s".into(), messages_synced, total_messages: 3 };
    let mut history = History::new();
    history.tell(Event::SyncStarted { session_id: "s".into() });
    history.tell(progress(2));
    assert_eq!(history.broken(), None);
    history.tell(progress(1));
    assert_eq!(history.broken(), Some(14));
    let mut history = History::with_log(&[entry(1, "e", 1, 0, "x")]);
    history.tell(Event::SyncStarted { session_id: "s".into() });
    history.tell(Event::SyncCompleted { session_id: "s".into(), stats: SyncStats::default() });
    assert_eq!(history.broken(), Some(14));
}

#[test]
fn i15_no_status_goes_back() {
    let mut history = History::new();
    history.checker().expect_lies();
    history.log(entry(1, "d", 1, 0, "x"));
    history.status(1, MessageStatus::Sending);
    history.status(1, MessageStatus::Queued);
    history.status(1, MessageStatus::Read);
    assert_eq!(history.broken(), None);
    history.status(1, MessageStatus::Delivered);
    assert_eq!(history.broken(), Some(15));
}

#[test]
fn i15_what_nobody_has_is_not_delivered() {
    let mut history = History::new();
    history.log(entry(1, "d", 1, 0, "x"));
    history.status(1, MessageStatus::Delivered);
    assert_eq!(history.broken(), Some(15));
}

#[test]
fn i20_catches_a_stalled_socket_held_for_ever() {
    let mut history = History::new();
    let heartbeat = frame(Body::SyncHeartbeat(SyncHeartbeat::default()));
    for _ in 0..100_000 / heartbeat.len() {
        history.relay_says(Body::SyncHeartbeat(SyncHeartbeat::default()));
    }
    history.checker().relay_handled(1_000);
    assert_eq!(history.broken(), None);
    history.checker().relay_handled(9_000);
    assert_eq!(history.broken(), Some(20));
}

#[test]
fn i20_a_full_socket_gets_no_live_message() {
    let heartbeat = Body::SyncHeartbeat(SyncHeartbeat::default());
    let many = SOCKET_QUEUE_BYTES_MAX / seed_frame(heartbeat.clone()).len() + 1;
    for (count, broken) in [(1, None), (many, Some(20))] {
        let mut history = History::new();
        (0..count).for_each(|_| history.relay_says_to_seed(heartbeat.clone()));
        assert_eq!(history.broken(), None);
        history.relay_says_to_seed(Body::Chat(Chat::default()));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i20_the_journal_has_no_visitor() {
    for (last_counter, broken) in [(1, None), (0, Some(20))] {
        let mut history = History::new();
        let one = entry(1, "e", 1, 0, "x");
        let log_hash = session(std::slice::from_ref(&one)).log.hash();
        let stored = stored(one, log_hash);
        let row = DeviceRow { device_id: "e".into(), last_counter, ..DeviceRow::default() };
        let mut journal = Journal::default();
        let _ = journal.answer(&JournalQuestion::Append {
            session_id: "s".into(),
            entries: vec![stored],
            devices: vec![row],
            members: Vec::new(),
            group: None,
            epochs: None,
        });
        history.checker().recovered(&journal);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i21_a_message_is_stored_when_that_is_said() {
    let mut history = History::new();
    history.send(0);
    history.accept(0);
    assert_eq!(history.broken(), Some(21));
}

fn session_view(last_synced_sequence: u64, session_id: &str) -> SessionView {
    SessionView {
        session_id: session_id.into(),
        wallet: WALLET.into(),
        peer_wallet: String::new(),
        kind: SessionKind::Pair,
        name: None,
        members: Vec::new(),
        membership: Membership::Member,
        device_id: "d".into(),
        last_synced_sequence,
        queued_message_count: 0,
        read_through: 0,
        is_active: true,
        vector_clock: VectorClock::new(),
    }
}

#[test]
fn i21_a_device_sends_what_it_has_stored() {
    let mut history = History::new();
    let sent = entry(0, "d", 1, 0, "x");
    history.transmit(&frame(update(&sent, digest_of(&sent))));
    assert_eq!(history.broken(), Some(21));
}

#[test]
fn i21_a_device_goes_on_as_what_it_has_stored() {
    for (new_id, broken) in [("d", None), ("other", Some(21))] {
        let mut history = History::new();
        history.tell(Event::DeviceReplaced { old_id: "old".into(), new_id: new_id.into() });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i21_what_is_said_to_be_synced_is_in_the_log() {
    for (log, broken) in [(&[entry(1, "d", 1, 0, "x")][..], None), (&[], Some(21))] {
        let mut history = History::with_log(log);
        history.tell(Event::MessageSynced { session_id: "s".into(), message_id: id_of("d", 1) });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i21_no_session_is_shown_ahead_of_what_is_stored() {
    for (view, broken) in [(session_view(0, "s"), None), (session_view(1, "s"), Some(21)), (session_view(0, "unstored"), Some(21))] {
        let mut history = History::new();
        let disk = history.disk.clone();
        let checker = history.checker();
        checker.handled(TAB, true, &disk);
        checker.disk_is_known(TAB);
        checker.looked(TAB, SyncStatusView::default(), 0, &[view], ConnectionState::Connected, &disk);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i19_only_a_relay_that_was_set_back_is_warned_of() {
    for (code, set_back, broken) in
        [(ErrorCode::RelayForked, true, None), (ErrorCode::RelayForked, false, Some(19)), (ErrorCode::RelayRolledBack, false, Some(19))]
    {
        let mut history = History::new();
        if set_back {
            history.checker().expect_set_back(&Journal::default());
        }
        history.tell(Event::Warning { error: SyncError::new(code, "") });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i17_a_message_is_shown_as_of_who_wrote_it() {
    for (device, text, is_broken) in [("d", "s0 text", false), ("d", "nobody wrote this", true), ("other", "s0 text", true)] {
        let mut history = History::new();
        history.send(0);
        history.checker().expect_signatures();
        history.hear(&entry(1, device, 1, 0, text));
        assert_eq!(history.broken() == Some(17), is_broken, "{device}: {text}");
    }
}

#[test]
fn i18_an_honest_relay_is_not_accused() {
    for (code, broken) in [(ErrorCode::EntryForged, Some(18)), (ErrorCode::RelayMisbehaved, None)] {
        let mut history = History::new();
        history.tell(Event::Warning { error: SyncError::new(code, "") });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i20_a_device_has_few_updates_under_way() {
    let sent = entry(0, "d", 1, 0, "s0 text");
    let mut history = History::with_unsent();
    for _ in 0..UPDATES_IN_FLIGHT_MAX {
        history.transmit(&frame(update(&sent, digest_of(&sent))));
    }
    assert_eq!(history.broken(), None);
    history.transmit(&frame(update(&sent, digest_of(&sent))));
    assert_eq!(history.broken(), Some(20));
}

#[test]
fn i22_nothing_is_stored_without_who_the_device_is() {
    let mut history = History::new();
    let before = history.world.checker.commit_begins(&[], &history.disk, None);
    history.world.checker.committed(TAB, 0, &[], &before, &ClientDisk::default());
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i22_an_entry_that_nobody_can_read_is_in_no_journal() {
    let mut history = History::new();
    let one = stored(entry(1, "e", 1, 0, "x"), [0; 32]);
    history.checker().appended("s", &[StoredEntry { body: Batch::from_bytes(&[0xff, 0xff]), ..one }]);
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i16_a_device_is_told_nothing_before_it_announces_itself() {
    for (announces, broken) in [(true, None), (false, Some(16))] {
        let mut history = History::new();
        if announces {
            history.relay_hears(Body::DeviceAnnounce(DeviceAnnounce::default()));
        }
        history.relay_hears(Body::SyncHeartbeat(SyncHeartbeat::default()));
        history.relay_says(Body::SyncHeartbeat(SyncHeartbeat::default()));
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i16_i32_the_relay_lists_what_a_wallet_has() {
    let id = session_of(WALLET, PEER);
    for (wallet, latest_sequence, broken) in [(WALLET, 0, None), (WALLET, 1, Some(32)), ("other", 0, Some(16))] {
        let mut history = History::new();
        let said = Body::WalletAnnounce(WalletAnnounce { wallet: wallet.into(), ..WalletAnnounce::default() });
        let head = Head { device_id: "d".into(), protocol_version: Some(1), ..Head::default() };
        let said = Payload::Binary(Frame { head, body: said }.to_bytes().unwrap().into());
        let World { ctx, checker, .. } = &mut history.world;
        checker.relay_received(ctx, 1, &said);
        let listed = ListedSession { session_id: id.clone(), peer_wallet: PEER.into(), latest_sequence, ..ListedSession::default() };
        history.relay_says(Body::SessionList(SessionList { sessions: vec![listed], ..SessionList::default() }));
        assert_eq!(history.broken(), broken);
    }
}

fn invitation(answer: Answer) -> Write {
    let (session_id, wallet, peer_wallet) = ("t".into(), WALLET.into(), PEER.into());
    Write::Invitation(InvitationRecord { session_id, wallet, peer_wallet, answer, ..InvitationRecord::default() })
}

#[test]
fn i32_an_invitation_is_told_once_while_it_waits() {
    for (answer, times, broken) in [(Answer::None, 1, None), (Answer::None, 2, Some(32)), (Answer::Declined, 1, Some(32))] {
        let mut history = History::new();
        history.commit(true, vec![invitation(answer)]);
        for _ in 0..times {
            history.tell(Event::SessionInvited { session_id: "t".into(), peer_wallet: PEER.into(), name: None });
        }
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i32_a_blocked_wallet_invites_nobody() {
    for (answer, broken) in [(Answer::Declined, None), (Answer::Blocked, Some(32))] {
        let mut history = History::new();
        history.commit(true, vec![invitation(answer)]);
        history.commit(true, vec![invitation(Answer::None)]);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i22_every_frame_can_be_read() {
    let mut history = History::new();
    history.checker().relay_transmitted(1, &Payload::Binary(Arc::from(&[0xff, 0xff][..])));
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i23_a_tab_that_lost_its_profile_is_silent() {
    let mut history = History::new();
    history.checker().fenced(TAB);
    history.transmit(&frame(Body::SyncHeartbeat(SyncHeartbeat::default())));
    assert_eq!(history.broken(), Some(23));
}

fn sync(request: u64) -> Input {
    Input::Sync { request, session_id: None, scope: SyncScope::Outbox }
}

#[test]
fn i21_a_sync_waits_for_no_session_that_is_blocked_before() {
    let id = session_of(WALLET, PEER);
    for (blocks, broken) in [(true, None), (false, Some(21))] {
        let mut history = History::new();
        let record = SessionRecord { open: true, ..SessionRecord::new(id.clone(), WALLET.into(), PEER.into()) };
        history.commit(true, vec![Write::Session(record)]);
        let mut written = entry(1, "e", 1, 0, "x");
        written.message.session_id.clone_from(&id);
        history.checker().ledger.log_mut(&id).push(&id, written);
        if blocks {
            history.call(Input::BlockWallet { request: 1, peer_wallet: PEER.into() });
        }
        history.call(Input::Sync { request: 2, session_id: None, scope: SyncScope::Everything });
        history.world.checker.replied(TAB, 2, &Ok(Reply::Count(0)), &history.disk);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i22_a_tab_opens_its_store_with_all_its_sessions() {
    let mut history = History::new();
    let disk = history.disk.clone();
    history.checker().tab_started(2, 0, &disk, SyncStatusView::default(), &[], false);
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i13_a_tab_remembers_its_queue_without_its_database() {
    for (queued, broken) in [(1, None), (0, Some(13))] {
        let mut history = History::new();
        history.send(0);
        history.store_unsent(true, 0, 1, 0);
        history.accept(0);
        history.tell(Event::QueueChanged { queued_message_count: queued });
        let disk = history.disk.clone();
        history.checker().lost_store(TAB, &disk, Loss::Deleted);
        history.checker().handled(TAB, false, &ClientDisk::default());
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i30_each_call_is_answered_once() {
    for request in [7, 8] {
        let mut history = History::new();
        history.call(sync(7));
        history.world.checker.replied(TAB, 7, &Ok(Reply::Count(0)), &history.disk);
        assert_eq!(history.broken(), None);
        history.world.checker.replied(TAB, request, &Ok(Reply::Count(0)), &history.disk);
        assert_eq!(history.broken(), Some(30));
    }
}

#[test]
fn i30_a_tab_that_is_gone_answers_nothing() {
    let mut history = History::new();
    history.call(sync(7));
    history.checker().tab_ended(TAB);
    history.world.checker.replied(TAB, 7, &Ok(Reply::Count(0)), &history.disk);
    assert_eq!(history.broken(), Some(30));
}

#[test]
fn i30_a_fenced_tab_leaves_no_call_open() {
    let mut history = History::new();
    history.call(sync(7));
    history.checker().owes_nothing_when_fenced(TAB);
    assert_eq!(history.broken(), None, "it may still wait for the relay");
    history.checker().fenced(TAB);
    history.checker().owes_nothing_when_fenced(TAB);
    assert_eq!(history.broken(), Some(30));
}

#[test]
fn i30_every_call_is_answered_in_the_end() {
    let mut world = settled();
    let disk = world.profiles[0].disk.clone();
    world.checker.called(1, &sync(1_000), &disk);
    assert_eq!(judged(world), Some(30));
}

#[test]
fn i2_what_leaves_the_store_unsent_is_said_to_have_failed() {
    let mut history = History::with_unsent();
    history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, 0)])]);
    history.status(9, MessageStatus::Failed);
    history.handled();
    assert_eq!(history.broken(), Some(2), "another one was said to have failed");
    let mut history = History::with_unsent();
    history.checker().tab_ended(TAB);
    history.commit(true, vec![delete_outbox(), outbox(&[void(0, 1, 0)])]);
    assert_eq!(history.broken(), Some(2), "nobody is there to say so");
}

/// The application cancels message 0, which waits with message 1, a version of it, in front of it or behind.
fn cancelling(message: u64, version_of_it: u64) -> History {
    let mut history = History::new();
    history.send(0);
    let (message_id, text) = (id_of("d", 1), Some("s1 text".to_owned()));
    history.call(Input::Edit { request: 1, session_id: "s".into(), message_id: message_id.clone(), text });
    let message = named(entry(0, "d", message, 0, "s0 text"), &message_id);
    let version_of_it = version(named(entry(0, "d", version_of_it, 0, "s1 text"), &id_of("d", 2)), &message_id);
    let mut entries = [message, version_of_it];
    entries.sort_by_key(|entry| entry.counter);
    history.commit(true, vec![outbox(&entries)]);
    history.accept(0);
    history.accept(1);
    history.call(Input::Cancel { request: 2, message_id });
    assert_eq!(history.broken(), None, "nothing is wrong yet");
    history
}

#[test]
fn i2_versions_leave_with_the_message_in_front_of_them() {
    for (message, version_of_it, broken) in [(1, 2, None), (2, 1, Some(2))] {
        let mut history = cancelling(message, version_of_it);
        history.commit(true, vec![delete_outbox()]);
        history.world.checker.replied(TAB, 2, &Ok(Reply::Done), &history.disk);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i2_a_refused_cancel_ends_no_other_that_is_under_way() {
    let mut history = cancelling(1, 2);
    history.call(Input::Cancel { request: 3, message_id: id_of("d", 1) });
    history.world.checker.replied(TAB, 3, &Err(SyncError::new(ErrorCode::MessageSent, "")), &history.disk);
    history.commit(true, vec![delete_outbox()]);
    history.world.checker.replied(TAB, 2, &Ok(Reply::Done), &history.disk);
    assert_eq!(history.broken(), None);
}

#[test]
fn i2_what_is_said_to_be_cancelled_has_left() {
    for (result, broken) in [(Ok(Reply::Done), Some(2)), (Err(SyncError::new(ErrorCode::MessageSent, "")), None)] {
        let mut history = cancelling(1, 2);
        let is_refused = result.is_err();
        history.world.checker.replied(TAB, 2, &result, &history.disk);
        assert_eq!(history.broken(), broken);
        if is_refused {
            history.commit(true, vec![delete_outbox()]);
            assert_eq!(history.broken(), Some(2), "it was not cancelled");
        }
    }
}

#[test]
fn i2_who_thaws_may_say_that_a_cancelled_message_is_stored() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, 1, 0);
    let (disk, page) = (history.disk.clone(), 2);
    history.checker().tab_started(
        page,
        0,
        &disk,
        SyncStatusView { queued_message_count: 1, ..Default::default() },
        &[session_view(0, "s")],
        false,
    );
    history.checker().runs(page, &Input::Cancel { request: 1, message_id: id_of("d", 1) }, &disk);
    history.checker().fed(1);
    let _ = history.disk.claim(page);
    history.disk.write(page, Commit { id: 99, strict: true, writes: vec![delete_outbox()] }.into(), None).unwrap();
    history.world.checker.replied(page, 1, &Ok(Reply::Done), &history.disk);
    history.accept(0);
    assert_eq!((history.broken(), history.checker().ledger.sent[0].fate), (None, Fate::Cancelled));
}

#[test]
fn i2_what_a_tab_remembers_of_its_database_is_written_anew() {
    for (is_written, broken) in [(true, None), (false, Some(2))] {
        let mut history = History::with_unsent();
        history.delete_database();
        let unsent = Entry { device_id: "d2".into(), ..entry(0, "d", 1, 0, "s0 text") };
        history.make_anew(if is_written { vec![outbox(&[unsent])] } else { vec![] });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i2_what_was_stored_before_the_loss_is_accepted_after_it() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, 1, 0);
    history.delete_database();
    history.accept(0);
    assert_eq!(history.broken(), None);
    history.make_anew(vec![]);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i2_messages_that_nobody_keeps_are_told() {
    for (text, broken) in [("s0 text", None), ("another", Some(2))] {
        let mut history = History::with_unsent();
        history.delete_database();
        history.tell(Event::StorageLost { lost: vec![shown(&entry(0, "d", 1, 0, "s0 text"), text, "{}")] });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i2_i22_i30_i32_a_new_database_has_what_its_tab_remembers() {
    let (session_id, message) = ("s".to_owned(), entry(0, "d", 1, 0, "x"));
    let refused_id = message.message.id.clone();
    let error = SyncError::new(ErrorCode::MessageTooLarge, "");
    let invitation = InvitationRecord { session_id: "t".into(), ..InvitationRecord::default() };
    for (write, broken) in [
        (Write::Call(CallRecord { tab: 1, call: 2, number: 1, reply: StoredReply::Done }), 30),
        (Write::Failed(FailedRecord { session_id, number: 1, entry: message, refused_id, error }), 2),
        (Write::Invitation(invitation), 32),
        (Write::Session(SessionRecord { open: false, ..session(&[]) }), 22),
    ] {
        for is_written in [true, false] {
            let mut history = History::new();
            history.commit(true, vec![write.clone()]);
            history.delete_database();
            history.make_anew(if is_written { vec![write.clone()] } else { vec![] });
            assert_eq!(history.broken(), (!is_written).then_some(broken));
        }
    }
}

#[test]
fn i6_nothing_is_told_again_after_a_loss() {
    let logged = [entry(1, "e", 1, 0, "x")];
    let mut history = History::with_stored_log(&logged);
    history.hear(&logged[0]);
    history.delete_database();
    history.make_anew(vec![]);
    history.commit(false, vec![batch(&logged), Write::Session(session(&logged))]);
    history.handled();
    assert_eq!(history.broken(), None);
    history.hear(&logged[0]);
    assert_eq!(history.broken(), Some(6));
}

#[test]
fn i6_a_call_that_was_done_twice_is_two_messages() {
    let done_before = Entry { device_id: "b".into(), ..entry(1, "d", 1, 0, "s0 text") };
    let mut history = History::new();
    history.send(0);
    let calls = [(1, AppCall { number: Some(0), has_run: true, made_ms: None })].into();
    history.checker().forgot(&calls);
    history.commit(true, vec![outbox(&[named(entry(0, "d", 1, 0, "s0 text"), "its other name")])]);
    history.log(done_before.clone());
    let logged = [done_before];
    history.commit(false, vec![batch(&logged), Write::Session(session(&logged))]);
    history.hear(&logged[0]);
    assert_eq!(history.broken(), None);
}

#[test]
fn i2_what_is_sent_again_is_cancelled_no_more() {
    let mut history = History::new();
    history.send_named(0, Some("x"));
    let unsent = || vec![outbox(&[named(entry(0, "d", 1, 0, "s0 text"), "x")])];
    history.commit(true, unsent());
    history.call(Input::Cancel { request: 1, message_id: "x".into() });
    history.commit(true, vec![delete_outbox()]);
    history.world.checker.replied(TAB, 1, &Ok(Reply::Done), &history.disk);
    let call = Input::Send {
        request: 2,
        session_id: "s".into(),
        text: "s0 text".into(),
        content_type: None,
        message_id: Some("x".into()),
        known: None,
    };
    history.call(call);
    history.commit(true, unsent());
    assert_eq!(history.broken(), None);
    history.commit(true, vec![delete_outbox()]);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i2_what_was_accepted_is_in_the_log_in_the_end() {
    let mut world = settled();
    let (session_id, fate) = ("s".into(), Fate::Accepted);
    world.checker.ledger.sent.push(Sent {
        profile: 0,
        page: 1,
        tab: 1,
        session_id,
        id: None,
        replaces: None,
        again: false,
        forgotten: false,
        copied: false,
        seen: None,
        fate,
        places: Vec::new(),
    });
    assert_eq!(judged(world), Some(2));
}

#[test]
fn i3_what_is_made_anew_stays_the_same_message() {
    let again = Entry { server_timestamp: 2, ..entry(0, "d", 1, 0, "s0 text") };
    let elsewhere = |text: &str| {
        let Entry { message, .. } = named(entry(0, "d", 1, 0, text), &id_of("d", 1));
        Entry { message, ..entry(1, "e", 1, 0, "") }
    };
    for (text, broken) in [("s0 text", None), ("another", Some(3))] {
        let logged = [elsewhere(text)];
        let mut history = History::with_unsent();
        history.log(logged[0].clone());
        history.commit(true, vec![delete_outbox(), batch(&logged), outbox(std::slice::from_ref(&again)), Write::Session(session(&logged))]);
        assert_eq!(history.broken(), broken, "one that left with its place may have been sent again");
    }
    let mut history = History::with_unsent();
    history.commit(true, vec![delete_outbox(), outbox(&[again])]);
    assert_eq!(history.broken(), Some(3));
}

#[test]
fn i3_what_was_queued_again_stands_once() {
    let text = format!("{QUEUED_AGAIN}1");
    let mut history = History::with_log(&[entry(1, "e", 1, 0, &text)]);
    history.log(entry(2, "f", 1, 1, &text));
    assert_eq!(history.broken(), Some(3));
}

#[test]
fn i3_i5_the_relay_appends_what_a_journal_takes() {
    for (reason, broken) in [("counter 1 is used a second time", 3), ("entry 3 does not follow", 5)] {
        let mut history = History::new();
        history.checker().append_refused("s", reason);
        assert_eq!(history.broken(), Some(broken));
    }
}

#[test]
fn i7_a_rewritten_batch_takes_nothing_from_the_log() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "e", 2, 1, "y")];
    let mut history = History::with_stored_log(&entries);
    history.commit(false, vec![batch(&entries[..1]), Write::Session(session(&entries[..1]))]);
    assert_eq!(history.broken(), Some(7));
}

#[test]
fn i7_stored_batches_hold_what_they_say_without_holes() {
    let entries = [entry(1, "e", 1, 0, "x"), entry(2, "e", 2, 1, "y"), entry(3, "e", 3, 2, "z")];
    let mut history = History::with_log(&entries);
    let Write::Log(record) = batch(&entries[..1]) else { return };
    history.commit(false, vec![Write::Log(LogRecord { last: 2, ..record })]);
    assert_eq!(history.broken(), Some(7));
    let mut history = History::with_log(&entries);
    history.commit(false, vec![batch(&entries[..1]), batch(&entries[2..])]);
    assert_eq!(history.broken(), Some(7));
}

#[test]
fn i9_a_message_is_told_where_it_stands() {
    let one = entry(1, "e", 1, 0, "x");
    let mut history = History::with_stored_log(std::slice::from_ref(&one));
    history.hear(&named(one, "other"));
    assert_eq!(history.broken(), Some(9));
}

#[test]
fn i12_a_conflict_is_of_an_entry_in_the_log() {
    let mut history = History::new();
    let conflicts = vec![conflict(ConflictKind::ConcurrentMessages)];
    history.tell(Event::ConflictDetected { session_id: "s".into(), conflicts });
    assert_eq!(history.broken(), Some(12));
}

#[test]
fn i13_a_tab_begins_with_what_is_stored() {
    for (queued, broken) in [(0, None), (1, Some(13))] {
        let mut history = History::new();
        let (disk, status) = (history.disk.clone(), SyncStatusView { queued_message_count: queued, ..SyncStatusView::default() });
        history.checker().tab_started(2, 0, &disk, status, &[session_view(0, "s")], false);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i13_a_tab_lists_what_is_stored_with_or_without_its_database() {
    for is_lost in [false, true] {
        let mut history = History::with_unsent();
        let disk = history.disk.clone();
        if is_lost {
            history.checker().lost_store(TAB, &disk, Loss::Deleted);
        }
        let status = SyncStatusView { queued_message_count: 1, ..SyncStatusView::default() };
        history.checker().looked(TAB, status, 0, &[session_view(0, "s")], ConnectionState::Connected, &disk);
        assert_eq!(history.broken(), Some(13));
    }
}

#[test]
fn i13_i14_a_sync_is_told_as_it_went() {
    let session_id = || -> String { "s".into() };
    let started = || Event::SyncStarted { session_id: session_id() };
    let progress = |messages_synced| Event::SyncProgress { session_id: session_id(), messages_synced, total_messages: 3 };
    let completed =
        |pending_messages| Event::SyncCompleted { session_id: session_id(), stats: SyncStats { pending_messages, ..SyncStats::default() } };
    for (events, broken) in [
        (vec![started(), progress(3), completed(0)], None),
        (vec![progress(1)], Some(14)),
        (vec![completed(0)], Some(14)),
        (vec![started(), progress(2), completed(0)], Some(14)),
        (vec![started(), progress(3)], Some(14)),
        (vec![started(), completed(1)], Some(13)),
    ] {
        let mut history = History::new();
        events.into_iter().for_each(|event| history.tell(event));
        history.handled();
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i15_a_message_is_queued_first_and_sent_when_logged() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, 1, 0);
    let receipt = DeliveryReceipt { message_id: id_of("d", 1), timestamp: String::new(), status: MessageStatus::Sent };
    history.world.checker.replied(TAB, 0, &Ok(Reply::Receipt(receipt)), &history.disk);
    assert_eq!(history.broken(), Some(15));
    let mut history = History::with_unsent();
    history.status(1, MessageStatus::Sent);
    assert_eq!(history.broken(), Some(15));
}

#[test]
fn i19_a_log_that_differs_is_told_and_kept() {
    let one = [entry(1, "e", 1, 0, "x")];
    for (open, told, kept, broken) in [
        (true, true, true, None),
        (true, false, true, Some(19)),
        (true, true, false, Some(19)),
        (false, false, true, None),
        (false, true, true, Some(19)),
        (false, false, false, Some(19)),
    ] {
        let mut world = settled();
        world.checker.expect_set_back(&Journal::default());
        let disk = &mut world.profiles[0].disk;
        let writes = vec![batch(&one), Write::Session(SessionRecord { open, ..session(&one) })];
        disk.write(disk.owner(), Commit { id: 99, strict: true, writes }.into(), None).unwrap();
        let before = disk.clone();
        if !kept {
            disk.delete();
        }
        if told {
            let error = SyncError::new(ErrorCode::RelayForked, "");
            world.checker.told(world.profiles[0].tab.unwrap(), &Event::Warning { error }, &before);
        }
        world.judge_set_back(&[before]);
        assert_eq!(world.checker.violation().map(|violation| violation.invariant), broken);
    }
}

#[test]
fn i20_no_frame_is_too_large() {
    let large = Payload::Binary(vec![0; FRAME_BYTES_MAX + 1].into());
    let mut history = History::new();
    history.transmit(&large);
    assert_eq!(history.broken(), Some(20));
    let mut history = History::new();
    history.checker().relay_transmitted(1, &large);
    assert_eq!(history.broken(), Some(20));
}

#[test]
fn i20_little_is_sent_ahead_of_what_is_stored() {
    for (count, broken) in [(999, None), (1_000, Some(20))] {
        let entries: Vec<Entry> = (1..=count).map(|place| entry(place, "e", place, place - 1, "x")).collect();
        let mut history = History::new();
        entries.iter().for_each(|entry| history.checker().ledger.log_mut("s").push("s", entry.clone()));
        history.relay_hears(Body::DeviceAnnounce(DeviceAnnounce::default()));
        let messages = Batch::of(&entries).unwrap();
        history.relay_says(Body::SyncResponse(SyncResponse { messages, latest_sequence: count, ..SyncResponse::default() }));
        assert_eq!(history.broken(), broken);
    }
}

/// Six updates, together of more messages than the relay may hold.
fn flood() -> Vec<Body> {
    let entries = |from: u64| -> Vec<Entry> { (1..=1_000).map(|number| entry(0, "d", from + number, 0, "x")).collect() };
    let update =
        |first: u64| Body::SyncUpdate(SyncUpdate { messages: Batch::of(&entries(first * 1_000)).unwrap(), ..SyncUpdate::default() });
    (0..6).map(update).collect()
}

#[test]
fn i20_the_relay_holds_few_unanswered_messages() {
    let mut history = History::new();
    for update in flood() {
        history.checker().relay_handled(0);
        assert_eq!(history.broken(), None);
        history.relay_hears(update);
    }
    history.checker().relay_handled(0);
    assert_eq!(history.broken(), Some(20));
}

#[test]
fn i20_nothing_is_held_of_a_connection_that_has_ended() {
    let ends: [fn(&mut Checker); 3] = [
        |_| (),
        |checker| checker.relay_forgot(1),
        // A frame may reach the relay that was started after the one it was sent to.
        |checker| checker.relay_ended(),
    ];
    for (end, broken) in ends.into_iter().zip([Some(20), None, None]) {
        let mut history = History::new();
        history.relay_hears(flood().remove(0));
        end(history.checker());
        flood().into_iter().for_each(|update| history.relay_hears(update));
        history.checker().relay_handled(0);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i20_nothing_is_held_of_a_frame_that_is_refused_unread() {
    let head =
        |session_id: &str| Head { session_id: session_id.into(), device_id: "d".into(), protocol_version: Some(1), ..Head::default() };
    for (session_id, connection, broken) in [("s", 1, Some(20)), ("", 1, None), ("s", 2, None)] {
        let mut history = History::new();
        for body in flood() {
            let payload = Payload::Binary(Frame { head: head(session_id), body }.to_bytes().unwrap().into());
            let World { ctx, checker, .. } = &mut history.world;
            checker.relay_received(ctx, connection, &payload);
        }
        history.checker().relay_handled(0);
        assert_eq!(history.broken(), broken, "session {session_id:?}, connection {connection}");
    }
}

#[test]
fn i20_nothing_is_sent_on_a_connection_that_has_ended() {
    let mut history = History::new();
    history.relay_says(Body::SyncHeartbeat(SyncHeartbeat::default()));
    assert_eq!(history.broken(), None);
    history.checker().relay_forgot(1);
    history.relay_says(Body::SyncHeartbeat(SyncHeartbeat::default()));
    assert_eq!(history.broken(), Some(20));
}

#[test]
fn i21_what_a_call_promises_is_stored() {
    let (s, other) = (|| -> String { "s".into() }, || -> String { "other".into() });
    let receipt = || Reply::Receipt(DeliveryReceipt { message_id: id_of("d", 1), timestamp: String::new(), status: MessageStatus::Queued });
    let everything = Input::Sync { request: 7, session_id: None, scope: SyncScope::Everything };
    let one = [entry(1, "e", 1, 0, "x")];
    for (mut history, input, reply, broken) in [
        (History::new(), Input::Edit { request: 7, session_id: s(), message_id: other(), text: None }, receipt(), Some(21)),
        (History::new(), Input::CloseSession { request: 7, session_id: s() }, Reply::Done, None),
        (History::new(), Input::CloseSession { request: 7, session_id: other() }, Reply::Done, Some(21)),
        (History::new(), Input::MarkRead { request: 7, session_id: s(), message_id: other(), sequence_number: 1 }, Reply::Done, Some(21)),
        (History::with_stored_log(&one), everything.clone(), Reply::Count(0), None),
        (History::with_log(&one), everything, Reply::Count(0), Some(21)),
        (History::with_unsent(), sync(7), Reply::Count(0), Some(21)),
    ] {
        history.call(input.clone());
        history.world.checker.replied(TAB, 7, &Ok(reply), &history.disk);
        assert_eq!(history.broken(), broken, "{input:?}");
    }
}

#[test]
fn i21_a_device_tells_what_it_has_stored() {
    let mut history = History::new();
    let mut empty = ClientDisk::default();
    let _ = empty.claim(TAB);
    history.world.checker.transmitted(TAB, 1, &frame_of("", Body::DeviceAnnounce(DeviceAnnounce::default())), &empty);
    assert_eq!(history.broken(), Some(21));
    let mut history = History::new();
    let (status, timestamp) = (ReceiptStatus::Read, Stamp::Millis(0));
    let receipt = Receipt { message_id: id_of("e", 1), status, timestamp, reader_wallet: None, device_id: None, sequence_number: Some(1) };
    history.transmit(&frame(Body::ReadReceipt(ReadReceipt { receipts: vec![receipt], unreadable: None })));
    assert_eq!(history.broken(), Some(21));
}

#[test]
fn i22_every_batch_can_be_read() {
    let unreadable = || Batch::from_bytes(&[0xff, 0xff]);
    let Write::Log(record) = batch(&[entry(1, "e", 1, 0, "x")]) else { return };
    let write = Write::Log(LogRecord { batch: unreadable(), ..record });
    let mut history = History::new();
    history.commit(false, vec![write.clone()]);
    assert_eq!(history.broken(), Some(22), "when it is stored");
    let mut history = History::new();
    let mut disk = history.disk.clone();
    disk.write(TAB, Commit { id: 99, strict: true, writes: vec![write] }.into(), None).unwrap();
    history.checker().tab_started(2, 0, &disk, SyncStatusView::default(), &[session_view(0, "s")], false);
    assert_eq!(history.broken(), Some(22), "when it is opened");
    let mut history = History::new();
    history.relay_says(Body::SyncResponse(SyncResponse { messages: unreadable(), ..SyncResponse::default() }));
    assert_eq!(history.broken(), Some(22), "when it is served");
    let mut history = History::new();
    history.transmit(&Payload::Binary(Arc::from(&[0xff, 0xff][..])));
    assert_eq!(history.broken(), Some(22), "when it is sent");
}

#[test]
fn i23_a_fenced_tab_is_offline() {
    let mut history = History::new();
    history.checker().fenced(TAB);
    history.tell(Event::ConnectionChanged { state: ConnectionState::Connected });
    assert_eq!(history.broken(), Some(23));
    let mut history = History::new();
    let disk = history.disk.clone();
    history.checker().fenced(TAB);
    let view = [session_view(0, "s")];
    history.checker().looked(TAB, SyncStatusView::default(), 0, &view, ConnectionState::Connected, &disk);
    assert_eq!(history.broken(), Some(23));
}

/// A rule that looks at nothing counts as nothing, and a rule without a condition cannot be written unseen.
#[test]
fn a_check_over_nothing_is_not_counted() {
    let mut checker = Checker::default();
    checker.require_none(9, 0, None::<u64>, |_| String::new());
    checker.require_where(9, false, false, String::new);
    assert_eq!((checker.exercised()[9], checker.violation().is_none()), (0, true));
    checker.require_none(9, 3, None::<u64>, |_| String::new());
    assert_eq!(checker.exercised()[9], 3);
    checker.require_none(9, 3, Some(2), |wrong| wrong.to_string());
    assert!(checker.violation().is_some());
}

#[test]
fn no_rule_has_a_constant_for_its_condition() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        for (place, _) in text.match_indices(".require") {
            let call: String = text[place..].chars().take(60).collect();
            let mut arguments = call.split_once('(').map_or("", |(_, rest)| rest).split(',').skip(1);
            let constant = |argument: Option<&str>| argument.is_some_and(|text| ["true", "false", "None", "1"].contains(&text));
            let first = arguments.next();
            assert!(!constant(first) && !constant(arguments.next()), "{}: {call}", path.display());
        }
        let counted = text.matches("exercised[invariantasusize]+=").count();
        assert_eq!(counted, usize::from(path.ends_with("checker.rs")), "{} counts beside the checks", path.display());
    }
}

/// A world of one healthy device that has converged.
fn settled() -> World {
    let mut world = World::new(3, 0);
    world.ctx.faults.stop();
    world.start_relay();
    world.add_profile(WALLET, vec![PEER], ClientConfig::default());
    while world.unsettled().is_some() || world.profiles[0].disk.commits() == 0 {
        assert!(world.step().is_some_and(|step| step == Step::World));
    }
    world
}

fn judged(mut world: World) -> Option<u8> {
    world.judge();
    world.checker.violation().map(|violation| violation.invariant)
}

#[test]
fn i23_i25_i26_i27_everything_converges() {
    assert_eq!(judged(settled()), None);
    let session_id = solconnect_sync_core::ids::session_of(WALLET, PEER);

    let mut world = settled();
    let device = world.profiles[0].disk.state().device_id().to_owned();
    let mut unsent = entry(0, &device, 1, 0, "x");
    unsent.message.session_id.clone_from(&session_id);
    let writes = vec![Write::Outbox(OutboxRecord { session_id: session_id.clone(), entries: vec![unsent] })];
    let disk = &mut world.profiles[0].disk;
    disk.write(disk.owner(), Commit { id: 99, strict: true, writes }.into(), None).unwrap();
    assert_eq!(judged(world), Some(25));

    let mut world = settled();
    world.checker.ledger.log_mut(&session_id).push(&session_id, entry(1, "e", 1, 0, "x"));
    assert_eq!(judged(world), Some(26));

    let mut world = settled();
    let tab = world.profiles[0].tab.unwrap();
    world.feed(tab, Input::SetOffline { offline: true });
    assert_eq!(judged(world), Some(27));

    let mut world = settled();
    world.close_profile(0);
    assert_eq!(judged(world), Some(23), "no tab owns it");
}
