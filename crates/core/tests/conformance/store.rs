//! What every store of a device must do, whatever it is made of. Run it against each.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{
    AccountRecord, Answer, CallRecord, Commit, DeviceRecord, FailedRecord, HeadsRecord, InvitationRecord, LogRecord, NameRecord,
    OutboxRecord, ReadMark, SessionRecord, Snapshot, StoredReply, VersionsRecord, Write,
};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::vector_clock::VectorClock;

/// A store under test.
pub trait Store: Sized {
    /// Opens the database of that name, and claims it. Empty when it is named for the first time in a run.
    async fn open(name: &str) -> Self;
    /// Writes all of a commit, or nothing.
    async fn write(&self, commit: &Commit) -> Result<(), SyncError>;
    /// The same, but it fails when all was written and nothing was committed.
    async fn write_in_vain(&self, commit: &Commit) -> SyncError;
    /// Everything but the log.
    async fn snapshot(&self) -> Snapshot;
    /// What the application named a message of a session.
    async fn name(&self, session_id: &str, message_id: &str) -> Option<NameRecord>;
    /// The log of a session, by first sequence number.
    async fn log(&self, session_id: &str) -> Vec<LogRecord>;
}

/// Runs every check, each on a database of its own.
pub async fn store_conformance<S: Store>() {
    what_is_written_is_read_back::<S>().await;
    records_are_in_the_order_of_their_numbers::<S>().await;
    a_later_write_takes_the_place_of_an_earlier_one::<S>().await;
    writes_of_a_commit_happen_in_their_order::<S>().await;
    of_a_failed_commit_nothing_is_there::<S>().await;
    a_commit_that_is_dropped_half_way_is_whole_or_nothing::<S>().await;
    unsent_records_leave_by_their_first_counter::<S>().await;
    small_batches_become_one_and_what_cannot_be_joined_stays::<S>().await;
    batches_without_heads_get_them_from_those_before::<S>().await;
    a_cleared_log_is_empty_and_the_rest_stays::<S>().await;
    names_are_found_by_session_and_name::<S>().await;
    an_invitation_is_one_record_until_it_leaves::<S>().await;
    whoever_opened_last_writes_and_nobody_else::<S>().await;
}

fn commit(writes: Vec<Write>) -> Commit {
    Commit { id: 1, strict: true, writes }
}

async fn write<S: Store>(store: &S, writes: Vec<Write>) {
    store.write(&commit(writes)).await.expect("it can be written");
}

fn clock(text: &str) -> VectorClock {
    text.parse().expect("a clock")
}

/// A device record.
pub fn device(device_id: &str) -> DeviceRecord {
    DeviceRecord::new(device_id.to_owned())
}

/// The account of another wallet.
pub fn account(wallet: &str, content: u8) -> AccountRecord {
    AccountRecord { wallet: wallet.to_owned(), account: vec![content; 3] }
}

/// A session with every field set, whose log has so many entries.
pub fn session(session_id: &str, end: u64) -> SessionRecord {
    let mut record = SessionRecord {
        open: true,
        counter: 3,
        read_mark: ReadMark { message_id: "m".to_owned(), sequence_number: 2 },
        last_sync_ms: 1_795_000_000_000,
        small_first: 1,
        small_count: 2,
        ..SessionRecord::new(session_id.to_owned(), "me".to_owned(), "you".to_owned())
    };
    for entry in entries(session_id, end) {
        record.log.take(&entry).expect("they follow each other");
    }
    record.watermarks.of("you").delivered = 2;
    record
}

fn unsent(session_id: &str, counter: u64) -> Entry {
    let (id, session_id) = (format!("{session_id}:a:{counter}"), session_id.to_owned());
    let message = Message { id, session_id, ciphertext: "hello \u{1f44b} \0".to_owned(), ..Message::default() };
    Entry { message, counter, knows: 2, server_timestamp: 7, device_id: "a".to_owned(), ..Entry::default() }
}

/// Unsent messages of a session, in one record.
pub fn outbox(session_id: &str, counters: &[u64]) -> OutboxRecord {
    let entries = counters.iter().map(|counter| unsent(session_id, *counter)).collect();
    OutboxRecord { session_id: session_id.to_owned(), entries }
}

/// The heads of a session at a sequence number.
pub fn heads(session_id: &str, last: u64) -> HeadsRecord {
    HeadsRecord { session_id: session_id.to_owned(), heads: session(session_id, last).log.heads().to_vec() }
}

/// Open versions of a message of a session.
pub fn versions(session_id: &str, text: &str) -> VersionsRecord {
    let mut version = unsent(session_id, 9);
    version.message.ciphertext = text.to_owned();
    VersionsRecord { session_id: session_id.to_owned(), message_id: "m".to_owned(), versions: vec![version] }
}

/// What an application named a message.
pub fn name(session_id: &str, message_id: &str, sent_ms: u64) -> NameRecord {
    NameRecord { session_id: session_id.to_owned(), message_id: message_id.to_owned(), fingerprint: vec![7; 16], sent_ms }
}

/// What the user said to an invitation.
pub fn invitation(session_id: &str, answer: Answer) -> InvitationRecord {
    let (wallet, peer_wallet) = ("wallet".to_owned(), "peer".to_owned());
    InvitationRecord {
        session_id: session_id.to_owned(),
        wallet,
        peer_wallet,
        received_ms: 7,
        answer,
        declined_through: 3,
        name: "n".into(),
    }
}

/// The first entries of a session's log, written by two devices in turn.
/// The answer to a call.
pub fn answer(tab: u64, call: u64) -> CallRecord {
    CallRecord { tab, call, number: call, reply: StoredReply::Count(call) }
}

fn entries(session_id: &str, last: u64) -> Vec<Entry> {
    let entry = |sequence_number: u64| {
        let device_id = if sequence_number % 2 == 1 { "a" } else { "b" }.to_owned();
        let message = Message { id: format!("m{sequence_number}"), session_id: session_id.to_owned(), ..Message::default() };
        let (counter, knows) = (sequence_number.div_ceil(2), sequence_number - 1);
        Entry { message, sequence_number, device_id, counter, knows, ..Entry::default() }
    };
    (1..=last).map(entry).collect()
}

/// A message that failed.
pub fn failed(session_id: &str, number: u64) -> FailedRecord {
    let entry = Entry { sequence_number: 0, ..entries(session_id, 1).remove(0) };
    let error = SyncError::new(ErrorCode::MessageTooLarge, "no");
    FailedRecord { session_id: session_id.to_owned(), number, entry, refused_id: "refused".into(), error }
}

/// Entries `first` to `last` of a session's log, as one batch.
pub fn batch(session_id: &str, first: u64, last: u64) -> LogRecord {
    let entries = entries(session_id, last).split_off(first as usize - 1);
    let mut heads_before = VectorClock::new();
    for (device, counter) in [("a", first / 2), ("b", (first - 1) / 2)] {
        heads_before.raise(device, counter).expect("a small counter");
    }
    let batch = Batch::of(&entries).expect("they follow each other");
    LogRecord { session_id: session_id.to_owned(), first, last, heads_before: Some(heads_before), batch }
}

async fn places<S: Store>(store: &S, session_id: &str) -> Vec<(u64, u64)> {
    store.log(session_id).await.iter().map(|record| (record.first, record.last)).collect()
}

async fn what_is_written_is_read_back<S: Store>() {
    let name = "conformance-read-back";
    let store = S::open(name).await;
    assert_eq!(store.snapshot().await, Snapshot::default(), "a new store is empty");
    assert!(store.log("room").await.is_empty());
    let log = [batch("room", 1, 3), batch("room", 4, 4)];
    let mut writes = vec![
        Write::Device(device("a")),
        Write::Account(account("one", 1)),
        Write::Account(account("other", 1)),
        Write::Account(account("third", 1)),
        Write::Account(account("one", 2)),
        Write::ForgetAccount { wallet: "third".to_owned() },
        Write::Session(session("room", 4)),
        Write::Heads(heads("room", 4)),
        Write::Outbox(outbox("room", &[3, 4, 5])),
        Write::Versions(versions("room", "edited")),
        Write::Failed(failed("room", 10)),
        Write::Failed(failed("room", 3)),
        Write::Failed(failed("room", 2)),
        Write::DeleteFailed { session_id: "room".to_owned(), number: 3 },
        Write::Invitation(invitation("room", Answer::Blocked)),
    ];
    writes.extend(log.iter().cloned().map(Write::Log));
    writes.extend([answer(7, 1), answer(7, 10), answer(7, 2), answer(1 << 52, 3), answer(9, 4)].map(Write::Call));
    writes.extend([Write::ForgetCall { tab: 9, call: 4 }, Write::ForgetCalls { tab: 7, through: 1 }]);
    write(&store, writes).await;
    let expected = Snapshot {
        device: Some(device("a")),
        identity: None,
        entropy: None,
        accounts: vec![account("one", 2), account("other", 1)],
        sessions: vec![session("room", 4)],
        heads: vec![heads("room", 4)],
        outbox: vec![outbox("room", &[3, 4, 5])],
        versions: vec![versions("room", "edited")],
        failed: vec![failed("room", 2), failed("room", 10)],
        invitations: vec![invitation("room", Answer::Blocked)],
        calls: vec![answer(7, 2), answer(7, 10), answer(1 << 52, 3)],
        spare: Vec::new(),
    };
    assert_eq!(store.snapshot().await, expected);
    assert_eq!(store.log("room").await, log);
    drop(store);

    let store = S::open(name).await;
    assert_eq!(store.snapshot().await, expected, "and after opening it again (I22)");
    assert_eq!(store.log("room").await, log);
}

async fn records_are_in_the_order_of_their_numbers<S: Store>() {
    let store = S::open("conformance-order").await;
    let mut writes: Vec<Write> = [1_000, 2, 10, 1].map(|counter| Write::Outbox(outbox("room", &[counter]))).into();
    writes.extend([(10, 99), (100, 100), (1, 1), (2, 9)].map(|(first, last)| Write::Log(batch("room", first, last))));
    write(&store, writes).await;
    let firsts: Vec<u64> = store.snapshot().await.outbox.iter().map(OutboxRecord::first).collect();
    assert_eq!(firsts, [1, 2, 10, 1_000], "by number and not by letters");
    assert_eq!(places(&store, "room").await, [(1, 1), (2, 9), (10, 99), (100, 100)]);
}

async fn a_later_write_takes_the_place_of_an_earlier_one<S: Store>() {
    let store = S::open("conformance-replace").await;
    write(&store, vec![Write::Device(device("a")), Write::Session(session("room", 1)), Write::Outbox(outbox("room", &[1]))]).await;
    write(&store, vec![Write::Versions(versions("room", "one")), Write::Versions(versions("other", "one"))]).await;
    write(&store, vec![Write::Device(device("b")), Write::Session(session("room", 2)), Write::Outbox(outbox("room", &[1, 2]))]).await;
    write(&store, vec![Write::Versions(versions("room", "two")), Write::Session(session("other", 1))]).await;
    let mut snapshot = store.snapshot().await;
    snapshot.sessions.sort_by(|one, other| one.session_id.cmp(&other.session_id));
    snapshot.versions.sort_by(|one, other| one.session_id.cmp(&other.session_id));
    assert_eq!(snapshot.device, Some(device("b")));
    assert_eq!(snapshot.sessions, [session("other", 1), session("room", 2)]);
    assert_eq!(snapshot.outbox, [outbox("room", &[1, 2])]);
    assert_eq!(snapshot.versions, [versions("other", "one"), versions("room", "two")], "by session and message");
}

async fn writes_of_a_commit_happen_in_their_order<S: Store>() {
    let store = S::open("conformance-in-order").await;
    let delete = || Write::DeleteOutbox { session_id: "room".to_owned(), first: 1, last: 1 };
    let clear = || Write::ClearLog { session_id: "room".to_owned() };
    write(&store, vec![Write::Outbox(outbox("room", &[1])), delete(), Write::Log(batch("room", 1, 2)), clear()]).await;
    assert_eq!((store.snapshot().await.outbox.len(), store.log("room").await.len()), (0, 0), "what leaves after it came is gone");
    write(&store, vec![delete(), Write::Outbox(outbox("room", &[1])), clear(), Write::Log(batch("room", 1, 2))]).await;
    assert_eq!((store.snapshot().await.outbox.len(), store.log("room").await.len()), (1, 1), "what comes after all left is there");
}

async fn of_a_failed_commit_nothing_is_there<S: Store>() {
    let store = S::open("conformance-failed").await;
    write(&store, vec![Write::Outbox(outbox("room", &[1])), Write::Log(batch("room", 1, 1))]).await;
    let before = store.snapshot().await;
    let all = vec![
        Write::Device(device("a")),
        Write::Session(session("room", 2)),
        Write::Heads(heads("room", 2)),
        Write::Outbox(outbox("room", &[2])),
        Write::DeleteOutbox { session_id: "room".to_owned(), first: 1, last: 1 },
        Write::Log(batch("room", 2, 2)),
        Write::Versions(versions("room", "edited")),
        Write::Invitation(invitation("room", Answer::Blocked)),
        Write::Call(answer(7, 1)),
    ];
    store.write_in_vain(&commit(all.clone())).await;
    assert_eq!(store.snapshot().await, before, "nothing of it (I21)");
    assert_eq!(places(&store, "room").await, [(1, 1)]);
    let clear = Write::ClearLog { session_id: "room".to_owned() };
    store.write_in_vain(&commit(vec![clear])).await;
    assert_eq!(places(&store, "room").await, [(1, 1)], "what leaves does not leave either");
    write(&store, all).await;
    assert_eq!(places(&store, "room").await, [(1, 1), (2, 2)], "and the next one can be written");
}

async fn a_commit_that_is_dropped_half_way_is_whole_or_nothing<S: Store>() {
    let store = S::open("conformance-dropped").await;
    let mut dropped = 0;
    for polls in 0..8 {
        let counter = polls as u64 + 1;
        let (first, last) = (counter * 2 - 1, counter * 2);
        let writes = vec![
            Write::Outbox(outbox("room", &[counter])),
            Write::Log(batch("room", first, first)),
            Write::Log(batch("room", last, last)),
            Write::Session(session("room", last)),
            Write::JoinLog { session_id: "room".to_owned(), first, last },
        ];
        let is_done = poll_at_most(store.write(&commit(writes)), polls).await;
        dropped += usize::from(!is_done);
        let snapshot = store.snapshot().await;
        let in_outbox = snapshot.outbox.iter().any(|record| record.first() == counter);
        let in_session = snapshot.sessions.iter().any(|record| record.log.end() == last);
        let log: Vec<_> = places(&store, "room").await.into_iter().filter(|place| place.0 >= first).collect();
        let whole = (true, true, vec![(first, last)]);
        let found = (in_outbox, in_session, log);
        assert!(found == whole || found == (false, false, vec![]), "dropped after {polls} polls: {found:?}");
        assert!(!is_done || found == whole, "what was reported is there (I21)");
    }
    assert!(dropped > 0, "one that is never polled is dropped");
}

/// Polls a future so often at most, and then drops it; says whether it was done.
async fn poll_at_most<F: Future>(future: F, polls_max: usize) -> bool {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == polls_max {
            return Poll::Ready(false);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls == polls_max => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn unsent_records_leave_by_their_first_counter<S: Store>() {
    let store = S::open("conformance-delete").await;
    let delete = |session_id: &str, first, last| vec![Write::DeleteOutbox { session_id: session_id.to_owned(), first, last }];
    let mut writes: Vec<Write> = [&[1][..], &[2, 3], &[4], &[10]].map(|counters| Write::Outbox(outbox("room", counters))).into();
    writes.extend(["room 2", "roo"].map(|session_id| Write::Outbox(outbox(session_id, &[2]))));
    write(&store, writes).await;
    let left = async || -> Vec<(String, u64)> {
        let outbox = store.snapshot().await.outbox;
        let mut left: Vec<_> = outbox.iter().map(|record| (record.session_id.clone(), record.first())).collect();
        left.sort();
        left
    };
    let named = |left: &[(&str, u64)]| left.iter().map(|(session_id, first)| ((*session_id).to_owned(), *first)).collect::<Vec<_>>();
    write(&store, delete("room", 3, 3)).await;
    assert_eq!(left().await.len(), 6, "no record begins there");
    write(&store, delete("room", 2, 4)).await;
    assert_eq!(left().await, named(&[("roo", 2), ("room", 1), ("room", 10), ("room 2", 2)]), "both ends included, in this session");
    write(&store, delete("room", 5, 1_000)).await;
    assert_eq!(left().await, named(&[("roo", 2), ("room", 1), ("room 2", 2)]));
}

async fn small_batches_become_one_and_what_cannot_be_joined_stays<S: Store>() {
    let store = S::open("conformance-join").await;
    let join = |first, last| Write::JoinLog { session_id: "room".to_owned(), first, last };
    let mut writes: Vec<Write> = (1..=12).map(|sequence| Write::Log(batch("room", sequence, sequence))).collect();
    writes.push(Write::Log(batch("other", 5, 5)));
    // In the commit that stores the last of them.
    writes.push(join(4, 9));
    write(&store, writes).await;
    let joined = [(1, 1), (2, 2), (3, 3), (4, 9), (10, 10), (11, 11), (12, 12)];
    assert_eq!(places(&store, "room").await, joined);
    assert_eq!(places(&store, "other").await, [(5, 5)]);
    let log = store.log("room").await;
    assert_eq!(log[3].heads_before, Some(clock(r#"{"a":2,"b":1}"#)), "a message is still found by device and counter");
    let sequences: Vec<u64> =
        log.iter().flat_map(|record| record.entries().expect("they can be read")).map(|entry| entry.sequence_number).collect();
    assert_eq!(sequences, (1..=12).collect::<Vec<_>>());
    write(&store, vec![join(20, 30)]).await;
    assert_eq!(places(&store, "room").await, joined, "there is nothing to join");
    let damaged = LogRecord { batch: Batch::from_bytes(b"damaged"), ..batch("room", 2, 2) };
    write(&store, vec![Write::Log(damaged), join(1, 12)]).await;
    assert_eq!(places(&store, "room").await, joined, "what cannot be read stays as it is");
    write(&store, vec![Write::Log(batch("room", 2, 2)), Write::Log(batch("room", 11, 11)), join(10, 12), join(1, 3)]).await;
    assert_eq!(places(&store, "room").await, [(1, 3), (4, 9), (10, 12)], "two in one commit");
}

async fn batches_without_heads_get_them_from_those_before<S: Store>() {
    let store = S::open("conformance-heads").await;
    let headless = |first, last| LogRecord { heads_before: None, ..batch("room", first, last) };
    let records = [batch("room", 1, 2), batch("room", 3, 3), headless(4, 4), headless(5, 7), headless(8, 8)];
    write(&store, records.into_iter().map(Write::Log).collect()).await;
    let read: Vec<_> = store.log("room").await.into_iter().map(|record| record.heads_before).collect();
    let expected = [(1, 2), (3, 3), (4, 4), (5, 7), (8, 8)].map(|(first, last)| batch("room", first, last).heads_before);
    assert_eq!(read, expected);
    write(&store, vec![Write::JoinLog { session_id: "room".to_owned(), first: 3, last: 8 }]).await;
    assert_eq!(places(&store, "room").await, [(1, 2), (3, 8)]);
}

async fn a_cleared_log_is_empty_and_the_rest_stays<S: Store>() {
    let store = S::open("conformance-clear").await;
    let mut writes = vec![Write::Session(session("room", 4)), Write::Outbox(outbox("room", &[1]))];
    writes.extend(["room", "room 2", "roo"].map(|session_id| Write::Log(batch(session_id, 1, 4))));
    writes.push(Write::Log(batch("room", 5, 5)));
    write(&store, writes).await;
    write(&store, vec![Write::ClearLog { session_id: "room".to_owned() }]).await;
    assert!(store.log("room").await.is_empty());
    assert_eq!((places(&store, "room 2").await, places(&store, "roo").await), (vec![(1, 4)], vec![(1, 4)]));
    let snapshot = store.snapshot().await;
    assert_eq!((snapshot.sessions.len(), snapshot.outbox.len()), (1, 1));
}

async fn names_are_found_by_session_and_name<S: Store>() {
    let store = S::open("conformance-names").await;
    let names = [name("room", "one", 1), name("room", "two", 2), name("room 2", "one", 3)];
    write(&store, names.iter().cloned().map(Write::Name).collect()).await;
    for named in names {
        assert_eq!(store.name(&named.session_id, &named.message_id).await, Some(named));
    }
    assert_eq!(store.name("room 2", "two").await, None);
    store.write_in_vain(&commit(vec![Write::Name(name("room", "three", 4))])).await;
    assert_eq!(store.name("room", "three").await, None, "I21");
    write(&store, vec![Write::Name(name("room", "one", 5)), Write::ClearLog { session_id: "room".to_owned() }]).await;
    assert_eq!(store.name("room", "one").await, Some(name("room", "one", 5)), "it outlives the log");
    assert_eq!(store.snapshot().await, Snapshot::default(), "it is read where it is asked for");
}

async fn an_invitation_is_one_record_until_it_leaves<S: Store>() {
    let store = S::open("conformance-invitations").await;
    let (one, other) = (invitation("one", Answer::None), invitation("other", Answer::None));
    write(&store, vec![Write::Invitation(one), Write::Invitation(other.clone())]).await;
    write(&store, vec![Write::Invitation(invitation("one", Answer::Declined))]).await;
    assert_eq!(store.snapshot().await.invitations, [invitation("one", Answer::Declined), other.clone()]);
    write(&store, vec![Write::ForgetInvitation { session_id: "one".to_owned() }]).await;
    assert_eq!(store.snapshot().await.invitations, [other]);
}

async fn whoever_opened_last_writes_and_nobody_else<S: Store>() {
    let name = "conformance-fenced";
    let first = S::open(name).await;
    write(&first, vec![Write::Device(device("first"))]).await;
    let second = S::open(name).await;
    let late = commit(vec![Write::Device(device("late")), Write::Log(batch("room", 1, 1))]);
    assert_eq!(first.write(&late).await.expect_err("it is fenced").code, ErrorCode::ProfileInUse, "I23");
    assert_eq!((second.snapshot().await.device, second.log("room").await.len()), (Some(device("first")), 0));
    write(&second, vec![Write::Device(device("second"))]).await;
    assert_eq!(second.snapshot().await.device, Some(device("second")));
}
