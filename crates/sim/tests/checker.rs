//! The checker refuses histories in which an invariant does not hold: one made up for each.

use std::sync::Arc;

use solconnect_sim::checker::Checker;
use solconnect_sim::client_disk::ClientDisk;
use solconnect_sim::relay_disk::Journal;
use solconnect_sim::world::{Step, World};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{
    ClientConfig, Commit, ConnectionState, DeliveryReceipt, DeviceRecord, Event, Input, LogRecord, MessageStatus, OutboxRecord, Reply,
    SessionRecord, SessionView, SyncScope, SyncStats, SyncStatusView, Write,
};
use solconnect_sync_core::conflict::{Conflict, ConflictKind};
use solconnect_sync_core::frame::{
    Body, Chat, DeviceAnnounce, Encoding, Frame, Head, Payload, ReadReceiptSync, Receipt, ReceiptStatus, SyncAck, SyncHeartbeat,
    SyncUpdate, Unsent,
};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::message::{Entry, Message, Stamp};
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

fn entry(sequence_number: u64, device: &str, clock: &str, text: &str) -> Entry {
    let vector_clock: VectorClock = clock.parse().unwrap();
    let message = Message {
        id: message_id("s", device, vector_clock.get(device)),
        sender_wallet: if device == "d" { WALLET.into() } else { PEER.into() },
        ciphertext: text.into(),
        session_id: "s".into(),
        ..Message::default()
    };
    Entry { message, sequence_number, vector_clock, server_timestamp: 1, original_device_id: device.into() }
}

fn frame(body: Body) -> Vec<u8> {
    let head = Head { session_id: "s".into(), device_id: "d".into(), protocol_version: Some(1), ..Head::default() };
    Frame { head, body }.to_bytes().unwrap()
}

impl History {
    /// The device has an open session and nothing else.
    fn new() -> History {
        let mut world = World::new(0, 0);
        world.checker.profile_made(WALLET, Default::default(), None);
        let mut disk = ClientDisk::default();
        let _ = disk.claim(TAB);
        world.checker.tab_started(TAB, 0, &disk, SyncStatusView::default(), &[]);
        let mut history = History { world, disk, commits: 0 };
        history.commit(true, vec![Write::Device(DeviceRecord { device_id: "d".into() }), Write::Session(session(0))]);
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
        let before = self.world.checker.commit_begins(&writes, &self.disk);
        self.commits += 1;
        self.disk.write(TAB, Commit { id: self.commits, strict, writes: writes.clone() }.into(), None).unwrap();
        self.world.checker.committed(TAB, 0, &writes, &before, &self.disk);
        self.world.checker.disk_is_known(TAB);
    }

    /// The journal says that it has stored an entry.
    fn log(&mut self, entry: Entry) {
        let (device_id, counter, sequence) = (entry.original_device_id.clone(), entry.counter(), entry.sequence_number);
        let stored = StoredEntry { sequence, device_id, counter, key: None, digest: [0; 32], body: Batch::of(&[entry]).unwrap() };
        self.checker().appended("s", &[stored]);
    }

    /// The application makes a call, and the machine is given it.
    fn call(&mut self, input: Input) {
        self.world.checker.called(TAB, &input, &self.disk);
        self.world.checker.fed(&input);
    }

    /// The application sends the message of this number.
    fn send(&mut self, number: u64) {
        let text = format!("s{number} text");
        self.call(Input::Send { request: number, session_id: "s".into(), text, content_type: None });
    }

    fn store_unsent(&mut self, strict: bool, number: u64, clock: &str) {
        let entries = vec![entry(0, "d", clock, &format!("s{number} text"))];
        self.commit(strict, vec![Write::Outbox(OutboxRecord { session_id: "s".into(), entries })]);
    }

    fn accept(&mut self, number: u64) {
        let receipt =
            DeliveryReceipt { message_id: message_id("s", "d", number + 1), timestamp: String::new(), status: MessageStatus::Queued };
        self.world.checker.replied(TAB, number, &Ok(Reply::Receipt(receipt)), &self.disk);
    }

    fn tell(&mut self, event: Event) {
        self.world.checker.told(TAB, &event, &self.disk);
    }

    fn status(&mut self, counter: u64, status: MessageStatus) {
        let message_id = message_id("s", "d", counter);
        self.tell(Event::StatusChanged { session_id: "s".into(), message_id, status, error: None });
    }

    /// The relay hears a frame of connection 1.
    fn relay_hears(&mut self, body: Body) {
        let World { ctx, checker, .. } = &mut self.world;
        checker.relay_received(ctx, 1, true, &Payload::Binary(frame(body).into()));
    }

    /// The relay gives a frame to connection 1.
    fn relay_says(&mut self, body: Body) {
        let payload = Payload::Binary(frame(body).into());
        self.checker().relay_transmitted(1, Encoding::Binary, &payload);
    }
}

fn session(cursor: u64) -> SessionRecord {
    let (session_id, wallet, peer_wallet) = ("s".into(), WALLET.into(), PEER.into());
    SessionRecord { session_id, wallet, peer_wallet, device_id: "d".into(), open: true, cursor, ..SessionRecord::default() }
}

fn batch(entries: &[Entry]) -> Write {
    let (first, last) = (entries[0].sequence_number, entries[entries.len() - 1].sequence_number);
    let batch = Batch::of(entries).unwrap();
    Write::Log(LogRecord { session_id: "s".into(), first, last, heads_before: VectorClock::new(), batch })
}

fn ack(id: &str, sequence: u64) -> Body {
    Body::SyncAck(SyncAck { acknowledged_sequences: vec![sequence], acknowledged_message_ids: vec![id.into()], ..SyncAck::default() })
}

#[test]
fn i1_an_acknowledgement_of_what_the_journal_does_not_have() {
    let mut history = History::new();
    history.relay_says(ack("s:d:1", 1));
    assert_eq!(history.broken(), Some(1));
}

#[test]
fn i1_a_journal_that_lost_what_it_had() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.checker().recovered(&Journal::default());
    assert_eq!(history.broken(), Some(1));
}

#[test]
fn i2_a_message_that_a_power_cut_would_lose() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(false, 0, r#"{"d":1}"#);
    history.accept(0);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i2_a_message_that_left_the_outbox_for_nowhere() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, r#"{"d":1}"#);
    history.accept(0);
    history.tell(Event::QueueChanged { queued_message_count: 0 });
    history.commit(true, vec![Write::DeleteOutbox { session_id: "s".into(), first: 1, last: 1 }]);
    history.world.checker.handled(TAB, true, &history.disk);
    assert_eq!(history.broken(), Some(2));
}

#[test]
fn i3_a_counter_or_a_text_that_stands_twice() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.log(entry(2, "e", r#"{"e":1}"#, "x"));
    assert_eq!(history.broken(), Some(3));
    let mut history = History::new();
    history.send(0);
    history.log(entry(1, "d", r#"{"d":1}"#, "s0 text"));
    history.log(entry(2, "d", r#"{"d":2}"#, "s0 text"));
    assert!(matches!(history.broken(), Some(3 | 8)));
    let mut history = History::new();
    history.send(0);
    history.log(entry(1, "d", r#"{"d":1}"#, "s0 text"));
    history.log(entry(2, "renamed", r#"{"renamed":1}"#, "s0 text"));
    assert_eq!(history.broken(), Some(3), "under whatever names");
}

#[test]
fn i4_another_content_is_acknowledged_under_the_same_id() {
    let mut history = History::new();
    history.log(entry(1, "d", r#"{"d":1}"#, "one"));
    let Entry { message, vector_clock, .. } = entry(0, "d", r#"{"d":1}"#, "other");
    let unsent = Unsent { message, sequence_number: 1, vector_clock, ..Unsent::default() };
    history.relay_hears(Body::DeviceAnnounce(DeviceAnnounce::default()));
    history.relay_hears(Body::SyncUpdate(SyncUpdate { messages: vec![unsent] }));
    history.relay_says(ack("s:d:1", 1));
    assert_eq!(history.broken(), Some(4));
}

#[test]
fn i5_a_log_with_a_hole() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.log(entry(3, "e", r#"{"e":2}"#, "x"));
    assert_eq!(history.broken(), Some(5));
}

#[test]
fn i5_a_receipt_ahead_of_the_log() {
    for (place, broken) in [(1, None), (2, Some(5))] {
        let mut history = History::new();
        history.log(entry(1, "e", r#"{"e":1}"#, "x"));
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
fn i6_a_message_that_is_told_twice_or_not_at_all() {
    let heard = |history: &mut History| {
        history.tell(Event::MessageReceived { session_id: "s".into(), entry: Box::new(entry(1, "e", r#"{"e":1}"#, "x")) });
    };
    let stored = |history: &mut History| {
        let one = entry(1, "e", r#"{"e":1}"#, "x");
        history.log(one.clone());
        history.commit(false, vec![batch(&[one]), Write::Session(session(1))]);
    };
    let mut history = History::new();
    stored(&mut history);
    heard(&mut history);
    assert_eq!(history.broken(), None);
    heard(&mut history);
    assert_eq!(history.broken(), Some(6));
    let mut history = History::new();
    stored(&mut history);
    history.world.checker.handled(TAB, true, &history.disk);
    assert_eq!(history.broken(), Some(6));
}

#[test]
fn i7_a_cursor_without_its_data_and_an_acknowledgement_ahead_of_it() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.commit(false, vec![Write::Session(session(1))]);
    assert_eq!(history.broken(), Some(7));
    let mut history = History::new();
    let told = Payload::Binary(frame(ack("", 1)).into());
    history.world.checker.transmitted(TAB, 1, &told, &history.disk);
    assert_eq!(history.broken(), Some(7));
}

#[test]
fn i8_messages_in_another_order_than_they_were_sent() {
    let mut history = History::new();
    history.send(0);
    history.send(1);
    history.log(entry(1, "d", r#"{"d":1}"#, "s1 text"));
    history.log(entry(2, "d", r#"{"d":2}"#, "s0 text"));
    assert_eq!(history.broken(), Some(8));
}

#[test]
fn i9_a_device_that_stores_another_entry_than_the_log_has() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.commit(false, vec![batch(&[entry(1, "e", r#"{"e":1}"#, "y")]), Write::Session(session(1))]);
    assert_eq!(history.broken(), Some(9));
}

#[test]
fn i10_an_entry_before_what_it_knows_of() {
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1,"f":1}"#, "x"));
    assert_eq!(history.broken(), Some(10));
}

#[test]
fn i11_a_clock_that_knows_more_or_less_than_its_device() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, r#"{"d":1,"e":1}"#);
    assert_eq!(history.broken(), Some(11));
    let mut history = History::new();
    let one = entry(1, "e", r#"{"e":1}"#, "x");
    history.log(one.clone());
    history.commit(false, vec![batch(&[one]), Write::Session(session(1))]);
    history.send(0);
    let unsent = OutboxRecord { session_id: "s".into(), entries: vec![entry(0, "d", r#"{"d":1}"#, "s0 text")] };
    history.commit(true, vec![Write::Outbox(unsent), Write::Session(session(1))]);
    assert_eq!(history.broken(), Some(11));
}

#[test]
fn i12_a_conflict_that_is_none_and_one_that_is_not_told() {
    let conflict = |from| Conflict {
        kind: ConflictKind::ConcurrentMessages,
        message_id: "s:f:1".into(),
        sequence_number: 2,
        device_id: "f".into(),
        vector_clock: VectorClock::new(),
        concurrent_with: vec![solconnect_sync_core::conflict::CounterRange { device_id: "e".into(), from, to: 1 }],
        conflicting_versions: Vec::new(),
        resolution: Some("log_order".into()),
    };
    let concurrent = || {
        let mut history = History::new();
        history.log(entry(1, "e", r#"{"e":1}"#, "x"));
        history.log(entry(2, "f", r#"{"f":1}"#, "y"));
        history
    };
    for (from, broken) in [(1, None), (0, Some(12))] {
        let mut history = concurrent();
        history.tell(Event::ConflictDetected { session_id: "s".into(), conflicts: vec![conflict(from)] });
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i13_a_count_that_is_not_what_is_stored() {
    let mut history = History::new();
    history.send(0);
    history.store_unsent(true, 0, r#"{"d":1}"#);
    let status = SyncStatusView { queued_message_count: 2, ..SyncStatusView::default() };
    history.world.checker.looked(TAB, status, 1, &[], ConnectionState::Connected, &history.disk);
    assert_eq!(history.broken(), Some(13));
}

#[test]
fn i14_progress_that_falls_and_a_sync_that_ends_early() {
    let progress = |messages_synced| Event::SyncProgress { session_id: "s".into(), messages_synced, total_messages: 3 };
    let mut history = History::new();
    history.tell(Event::SyncStarted { session_id: "s".into() });
    history.tell(progress(2));
    assert_eq!(history.broken(), None);
    history.tell(progress(1));
    assert_eq!(history.broken(), Some(14));
    let mut history = History::new();
    history.log(entry(1, "e", r#"{"e":1}"#, "x"));
    history.tell(Event::SyncStarted { session_id: "s".into() });
    history.tell(Event::SyncCompleted { session_id: "s".into(), stats: SyncStats::default() });
    assert_eq!(history.broken(), Some(14));
}

#[test]
fn i15_a_status_that_goes_back() {
    let mut history = History::new();
    history.checker().expect_lies();
    history.log(entry(1, "d", r#"{"d":1}"#, "x"));
    history.status(1, MessageStatus::Sending);
    history.status(1, MessageStatus::Queued);
    history.status(1, MessageStatus::Read);
    assert_eq!(history.broken(), None);
    history.status(1, MessageStatus::Delivered);
    assert_eq!(history.broken(), Some(15));
}

#[test]
fn i15_a_message_that_nobody_has_is_not_delivered() {
    let mut history = History::new();
    history.log(entry(1, "d", r#"{"d":1}"#, "x"));
    history.status(1, MessageStatus::Delivered);
    assert_eq!(history.broken(), Some(15));
}

#[test]
fn i20_a_socket_that_takes_nothing_is_not_held_for_ever() {
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
fn i20_a_live_message_for_a_socket_that_is_full() {
    for (bytes, broken) in [(1_000, None), (100_000, Some(20))] {
        let mut history = History::new();
        let says = |history: &mut History, message: &str| {
            let head = Head { session_id: "s".into(), ..Head::default() };
            let chat = Body::Chat(Chat { message: message.into(), ..Chat::default() });
            let payload = Payload::Text(Frame { head, body: chat }.to_json().into());
            history.checker().relay_transmitted(1, Encoding::Json, &payload);
        };
        says(&mut history, &"x".repeat(bytes));
        says(&mut history, "y");
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i20_a_visitor_in_the_journal() {
    for (last_counter, broken) in [(1, None), (0, Some(20))] {
        let mut history = History::new();
        let one = entry(1, "e", r#"{"e":1}"#, "x");
        let body = Batch::of(std::slice::from_ref(&one)).unwrap();
        let stored = StoredEntry { sequence: 1, device_id: "e".into(), counter: 1, key: None, digest: one.message.digest(), body };
        let row = DeviceRow { device_id: "e".into(), last_counter, ..DeviceRow::default() };
        let mut journal = Journal::default();
        let _ = journal.answer(&JournalQuestion::Append { session_id: "s".into(), entries: vec![stored], devices: vec![row] });
        history.checker().recovered(&journal);
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i21_a_message_that_is_said_to_be_stored_and_is_not() {
    let mut history = History::new();
    history.send(0);
    history.accept(0);
    assert_eq!(history.broken(), Some(21));
}

#[test]
fn i21_a_session_that_is_shown_ahead_of_what_is_stored() {
    let shown = |last_synced_sequence, session_id: &str| SessionView {
        session_id: session_id.into(),
        wallet: WALLET.into(),
        peer_wallet: String::new(),
        device_id: "d".into(),
        last_synced_sequence,
        queued_message_count: 0,
        vector_clock: VectorClock::new(),
    };
    for (view, broken) in [(shown(0, "s"), None), (shown(1, "s"), Some(21)), (shown(0, "unstored"), Some(21))] {
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
fn i16_a_device_that_is_told_before_it_has_announced_itself() {
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
fn i22_a_frame_that_nobody_can_read() {
    let mut history = History::new();
    history.checker().relay_transmitted(1, Encoding::Binary, &Payload::Binary(Arc::from(&[0xff, 0xff][..])));
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i23_a_tab_that_speaks_though_another_has_the_profile() {
    let mut history = History::new();
    history.checker().fenced(TAB);
    let told = Payload::Binary(frame(Body::SyncHeartbeat(SyncHeartbeat::default())).into());
    history.world.checker.transmitted(TAB, 1, &told, &history.disk);
    assert_eq!(history.broken(), Some(23));
}

fn sync(request: u64) -> Input {
    Input::Sync { request, session_id: None, scope: SyncScope::Outbox }
}

#[test]
fn i22_a_store_that_a_tab_opens_without_its_sessions() {
    let mut history = History::new();
    let disk = history.disk.clone();
    history.checker().tab_started(2, 0, &disk, SyncStatusView::default(), &[]);
    assert_eq!(history.broken(), Some(22));
}

#[test]
fn i13_a_queue_that_a_tab_forgot_with_its_database() {
    for (queued, broken) in [(1, None), (0, Some(13))] {
        let mut history = History::new();
        history.send(0);
        history.store_unsent(true, 0, r#"{"d":1}"#);
        history.accept(0);
        history.tell(Event::QueueChanged { queued_message_count: queued });
        let disk = history.disk.clone();
        history.checker().lost_store(TAB, &disk, true);
        history.checker().handled(TAB, false, &ClientDisk::default());
        assert_eq!(history.broken(), broken);
    }
}

#[test]
fn i30_a_call_that_is_answered_twice_or_was_never_made() {
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
fn i30_an_answer_of_a_tab_that_is_gone() {
    let mut history = History::new();
    history.call(sync(7));
    history.checker().tab_ended(TAB);
    history.world.checker.replied(TAB, 7, &Ok(Reply::Count(0)), &history.disk);
    assert_eq!(history.broken(), Some(30));
}

#[test]
fn i30_a_fenced_tab_that_leaves_a_call_open() {
    let mut history = History::new();
    history.call(sync(7));
    history.checker().owes_nothing_when_fenced(TAB);
    assert_eq!(history.broken(), None, "it may still wait for the relay");
    history.checker().fenced(TAB);
    history.checker().owes_nothing_when_fenced(TAB);
    assert_eq!(history.broken(), Some(30));
}

#[test]
fn i30_a_call_that_is_open_when_all_else_has_converged() {
    let mut world = settled();
    let disk = world.profiles[0].disk.clone();
    world.checker.called(1, &sync(1_000), &disk);
    assert_eq!(judged(world), Some(30));
}

/// A rule that looks at nothing counts as nothing, and a rule without a condition cannot be written unseen.
#[test]
fn what_is_not_looked_at_is_not_counted() {
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
fn i25_i26_i27_what_has_not_converged() {
    assert_eq!(judged(settled()), None);
    let session_id = solconnect_sync_core::ids::session_of(WALLET, PEER);

    let mut world = settled();
    let device = world.profiles[0].disk.state().name_in(&session_id).to_owned();
    let mut unsent = entry(0, &device, &format!(r#"{{"{device}":1}}"#), "x");
    unsent.message.session_id.clone_from(&session_id);
    let writes = vec![Write::Outbox(OutboxRecord { session_id: session_id.clone(), entries: vec![unsent] })];
    let disk = &mut world.profiles[0].disk;
    disk.write(disk.owner(), Commit { id: 99, strict: true, writes }.into(), None).unwrap();
    assert_eq!(judged(world), Some(25));

    let mut world = settled();
    world.checker.ledger.log_mut(&session_id).push(entry(1, "e", r#"{"e":1}"#, "x"));
    assert_eq!(judged(world), Some(26));

    let mut world = settled();
    world.close_profile(0);
    assert_eq!(judged(world), Some(27));
}
