//! What every journal must do, whatever it is made of: the simulated one, SQLite's, and every later one.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::SyncState;
use solconnect_sync_core::identity::UpdateSignature;
use solconnect_sync_core::ids::is_sealed_id;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::{
    DeviceRow, GroupRow, JournalAnswer, JournalQuestion, Key, MemberRow, StoredEntry, StoredSession, WatermarkRow,
};
use solconnect_sync_core::vector_clock::VectorClock;
use solconnect_sync_core::watermark::Watermark;

/// Asks an open journal; `None` for questions that have no answer. Dropping it closes the journal.
pub type Ask = Box<dyn FnMut(JournalQuestion) -> Option<JournalAnswer>>;

/// How a journal's process or machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed.
    Killed,
    /// The machine goes down in the middle of the last write, of which a part is on the disk.
    TornTail,
}

/// Runs every check. `open` opens the same journal each time it is called, empty at first. `crash` opens what such an end
/// would leave of it at this moment, in which the journal is open.
///
/// # Panics
/// Where a check fails.
pub fn journal_conformance(open: &dyn Fn() -> Ask, crash: &dyn Fn(Crash) -> Ask) {
    let mut ask = open();
    a_session_never_seen_is_empty(&mut ask);
    entries_are_stored_in_sequence_and_all_or_none(&mut ask);
    a_repeated_append_fails_and_changes_nothing(&mut ask);
    a_second_write_that_fails_takes_the_first_with_it(&mut ask);
    reads_keep_to_their_bounds(&mut ask);
    entries_are_found_by_counter_and_by_key(&mut ask);
    a_session_knows_its_hash_and_whether_it_has_keys(&mut ask);
    what_no_person_wrote_is_no_news(&mut ask);
    clocks_are_the_counters_up_to_a_place(&mut ask);
    sessions_do_not_touch_each_other(&mut ask);
    drop(ask);
    a_wallets_sessions_are_listed_those_it_took_part_in_first(open);
    a_session_is_listed_to_the_account_that_it_is_of(open);
    a_group_is_listed_to_who_is_in_it(open);
    what_was_stored_and_noted_is_there_after_a_restart(open);
    what_was_answered_survives_a_kill(open, crash);
    a_torn_tail_takes_its_whole_write_and_no_other(open, crash);
}

/// An entry whose device is `device`, with a counter equal to its sequence number.
pub fn entry(sequence: u64, device: &str, key: Option<&str>) -> StoredEntry {
    // What the journal cannot read it takes for something that a person wrote.
    let body = Batch::from_bytes(format!("{sequence} \u{ff}\0 {device}").as_bytes());
    StoredEntry {
        sequence,
        device_id: device.to_owned(),
        counter: sequence,
        key: key.map(key_of),
        log_hash: hash_at(sequence),
        signature: signature_at(sequence),
        body,
    }
}

/// An entry of the device `d` that can be read.
pub fn of_kind(session: &str, sequence: u64, kind: Kind) -> StoredEntry {
    let message = Message { kind, session_id: session.to_owned(), id: sequence.to_string(), ..Message::default() };
    let written = Entry { message, device_id: "d".into(), counter: sequence, sequence_number: sequence, ..Entry::default() };
    StoredEntry { body: Batch::of(&[written]).expect("a batch"), ..entry(sequence, "d", None) }
}

/// Every other entry has one.
fn signature_at(sequence: u64) -> Option<UpdateSignature> {
    let seen = LogHead { sequence: sequence.saturating_sub(1), hash: [8; 32] };
    sequence.is_multiple_of(2).then_some(UpdateSignature { key: [5; 32], counter: sequence, seen, signature: [6; 64] })
}

/// The hash of the log up to an entry that [`entry`] makes.
fn hash_at(sequence: u64) -> [u8; 32] {
    let mut hash = [0xa5; 32];
    hash[24..].copy_from_slice(&sequence.to_be_bytes());
    hash
}

/// A key for each name. Keys are not texts: it has bytes that none has.
fn key_of(name: &str) -> Key {
    let mut key = [0xff; 16];
    key[1..=name.len()].copy_from_slice(name.as_bytes());
    key
}

/// Appends entries without devices.
pub fn append(ask: &mut Ask, session: &str, entries: Vec<StoredEntry>) -> JournalAnswer {
    append_for(ask, session, entries, Vec::new())
}

fn append_for(ask: &mut Ask, session: &str, entries: Vec<StoredEntry>, members: Vec<MemberRow>) -> JournalAnswer {
    ask(JournalQuestion::Append { session_id: session.to_owned(), entries, devices: Vec::new(), members, group: None, epochs: None })
        .expect("appends are answered")
}

/// Both wallets of a session; the first has taken part.
fn members(wallet: &str, peer_wallet: &str) -> Vec<MemberRow> {
    let row = |wallet: &str, peer_wallet: &str, joined| MemberRow {
        wallet: wallet.into(),
        peer_wallet: peer_wallet.into(),
        joined,
        ..MemberRow::default()
    };
    vec![row(wallet, peer_wallet, true), row(peer_wallet, wallet, false)]
}

/// The sessions of a wallet, with what is told of each: the other wallet, the end of the log, whether it has taken part.
fn sessions_of(ask: &mut Ask, wallet: &str, after: Option<&str>, count_max: usize) -> Vec<(String, String, u64, bool)> {
    let after = after.map(str::to_owned);
    match ask(JournalQuestion::Sessions { wallet: wallet.to_owned(), after, count_max, account_id: None, sealed: false }) {
        Some(JournalAnswer::Sessions(sessions)) => {
            sessions.into_iter().map(|found| (found.session_id, found.peer_wallet, found.latest_sequence, found.joined)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// What is known of a session.
pub fn load(ask: &mut Ask, session: &str) -> StoredSession {
    match ask(JournalQuestion::Load { session_id: session.to_owned() }) {
        Some(JournalAnswer::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

/// Every entry of a session.
pub fn read_all(ask: &mut Ask, session: &str) -> Vec<StoredEntry> {
    read(ask, session, 1, usize::MAX, usize::MAX)
}

fn read(ask: &mut Ask, session: &str, from: u64, count_max: usize, bytes_max: usize) -> Vec<StoredEntry> {
    match ask(JournalQuestion::Read { session_id: session.to_owned(), from, count_max, bytes_max }) {
        Some(JournalAnswer::Entries(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

fn find(ask: &mut Ask, session: &str, counters: &[(&str, u64)], keys: &[&str], places: &[u64]) -> Vec<u64> {
    let counters = counters.iter().map(|(device, counter)| ((*device).to_owned(), *counter)).collect();
    let keys = keys.iter().map(|key| key_of(key)).collect();
    match ask(JournalQuestion::Find { session_id: session.to_owned(), counters, keys, places: places.to_vec() }) {
        Some(JournalAnswer::Entries(entries)) => {
            let mut sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
            sequences.sort_unstable();
            sequences
        }
        other => panic!("{other:?}"),
    }
}

fn clocks(ask: &mut Ask, session: &str, at: &[u64]) -> Vec<VectorClock> {
    match ask(JournalQuestion::Clocks { session_id: session.to_owned(), at: at.to_vec() }) {
        Some(JournalAnswer::Clocks(clocks)) => clocks,
        other => panic!("{other:?}"),
    }
}

fn assert_failed(answer: &JournalAnswer) {
    assert!(matches!(answer, JournalAnswer::Failed { reason } if !reason.is_empty()), "{answer:?}");
}

fn a_session_never_seen_is_empty(ask: &mut Ask) {
    assert_eq!(load(ask, "never"), StoredSession::default());
    assert_eq!(read_all(ask, "never"), []);
    assert!(find(ask, "never", &[("d", 1)], &["k"], &[1]).is_empty());
    assert_eq!(clocks(ask, "never", &[0, 5]), [VectorClock::new(), VectorClock::new()]);
}

fn entries_are_stored_in_sequence_and_all_or_none(ask: &mut Ask) {
    let session = "sequence";
    assert_failed(&append(ask, session, vec![]));
    assert_failed(&append(ask, session, vec![entry(2, "d", None)]));
    assert_failed(&append(ask, session, vec![entry(0, "d", None)]));
    assert_failed(&append(ask, session, vec![entry(1, "d", None), entry(3, "d", None)]));
    assert_eq!(load(ask, session), StoredSession::default(), "nothing of a refused append is there");
    let entries = vec![entry(1, "d", None), entry(2, "e", Some("k")), entry(3, "d", None)];
    assert_eq!(append(ask, session, entries.clone()), JournalAnswer::Appended);
    assert_eq!(load(ask, session).head, 3);
    assert_eq!(read_all(ask, session), entries);
    assert_failed(&append(ask, session, vec![entry(5, "d", None)]));
    assert_eq!(append(ask, session, vec![entry(4, "d", None)]), JournalAnswer::Appended);
}

fn a_repeated_append_fails_and_changes_nothing(ask: &mut Ask) {
    let session = "repeat";
    let entries = vec![entry(1, "d", None), entry(2, "d", None)];
    assert_eq!(append(ask, session, entries.clone()), JournalAnswer::Appended);
    assert_failed(&append(ask, session, entries.clone()));
    assert_eq!(read_all(ask, session), entries);
}

fn a_second_write_that_fails_takes_the_first_with_it(ask: &mut Ask) {
    let session = "atomic";
    let stored = vec![StoredEntry { counter: 10, ..entry(1, "d", Some("k")) }];
    assert_eq!(append(ask, session, stored.clone()), JournalAnswer::Appended);
    let counter_again = StoredEntry { counter: 10, ..entry(3, "d", None) };
    assert_failed(&append(ask, session, vec![entry(2, "d", None), counter_again]));
    assert_failed(&append(ask, session, vec![entry(2, "d", None), entry(3, "d", Some("k"))]));
    assert_eq!(read_all(ask, session), stored);
    assert_eq!(load(ask, session).head, 1);
    assert_eq!(append(ask, session, vec![entry(2, "d", Some("l")), entry(3, "d", None)]), JournalAnswer::Appended);
}

fn reads_keep_to_their_bounds(ask: &mut Ask) {
    let session = "bounds";
    let entries: Vec<_> = (1..=9).map(|sequence| entry(sequence, "d", None)).collect();
    assert_eq!(append(ask, session, entries.clone()), JournalAnswer::Appended);
    let bytes = entries[0].body.bytes().len();
    assert_eq!(read(ask, session, 3, 4, usize::MAX), entries[2..6]);
    assert_eq!(read(ask, session, 8, 4, usize::MAX), entries[7..]);
    assert_eq!(read(ask, session, 10, 4, usize::MAX), []);
    assert_eq!(read(ask, session, 1, 9, bytes * 3), entries[..3]);
    assert_eq!(read(ask, session, 1, 9, bytes * 3 - 1), entries[..2]);
    assert_eq!(read(ask, session, 2, 9, 1), entries[1..2], "at least one, however large");
    assert_eq!(read(ask, session, 2, 0, 1), []);
}

fn entries_are_found_by_counter_and_by_key(ask: &mut Ask) {
    let session = "find";
    let entries = vec![entry(1, "d", Some("k")), entry(2, "e", None), entry(3, "d", Some("l"))];
    assert_eq!(append(ask, session, entries), JournalAnswer::Appended);
    assert_eq!(find(ask, session, &[("d", 3), ("e", 2), ("e", 3), ("f", 1)], &[], &[]), [2, 3]);
    assert_eq!(find(ask, session, &[], &["k", "m"], &[]), [1]);
    assert_eq!(find(ask, session, &[("d", 1)], &["k", "l"], &[3, 2]), [1, 2, 3], "each once");
    assert_eq!(find(ask, session, &[], &[], &[0, 2, 9]), [2], "those that are there");
    assert!(find(ask, session, &[], &[], &[]).is_empty());
}

fn a_session_knows_its_hash_and_whether_it_has_keys(ask: &mut Ask) {
    let session = "hash";
    assert_eq!(append(ask, session, vec![entry(1, "d", None)]), JournalAnswer::Appended);
    let known = |ask: &mut Ask| {
        let StoredSession { head, log_hash, has_keys, .. } = load(ask, session);
        (head, log_hash, has_keys)
    };
    assert_eq!(known(ask), (1, hash_at(1), false));
    assert_failed(&append(ask, session, vec![entry(2, "d", Some("k")), entry(2, "d", None)]));
    assert_eq!(known(ask), (1, hash_at(1), false), "nothing of a refused append is there");
    assert_eq!(append(ask, session, vec![entry(2, "d", Some("k")), entry(3, "d", None)]), JournalAnswer::Appended);
    assert_eq!(known(ask), (3, hash_at(3), true));
    assert_eq!(append(ask, session, vec![entry(4, "d", None)]), JournalAnswer::Appended);
    assert_eq!(known(ask), (4, hash_at(4), true), "any of the entries");
}

fn what_no_person_wrote_is_no_news(ask: &mut Ask) {
    let session = "written";
    let kinds = [Kind::EPOCH, Kind::VOID, Kind::DELETION, Kind::MESSAGE, Kind::RESEAL, Kind::ASKS, Kind::GROUP, Kind::EDIT, Kind::EPOCH];
    for (place, last) in [0, 0, 3, 4, 4, 4, 4, 8, 8].into_iter().enumerate() {
        let question = JournalQuestion::Append {
            session_id: session.to_owned(),
            entries: vec![of_kind(session, place as u64 + 1, kinds[place])],
            devices: Vec::new(),
            members: members("reader", "writer"),
            group: None,
            epochs: None,
        };
        assert_eq!(ask(question), Some(JournalAnswer::Appended));
        assert_eq!(load(ask, session).last_written, last, "{:?}", kinds[place]);
        assert_eq!(sessions_of(ask, "reader", None, 9)[0].2, last, "{:?}", kinds[place]);
    }
}

fn clocks_are_the_counters_up_to_a_place(ask: &mut Ask) {
    let session = "clocks";
    let writers = [("d", 1), ("e", 1), ("d", 2), ("f", 7), ("e", 40), ("d", 3), ("f", 8)];
    let entries = (1..).zip(writers).map(|(sequence, (device, counter))| StoredEntry { counter, ..entry(sequence, device, None) });
    assert_eq!(append(ask, session, entries.collect()), JournalAnswer::Appended);
    let clock = |counters: &[(&str, u64)]| {
        let mut clock = VectorClock::new();
        for (device, counter) in counters {
            clock.raise(device, *counter).expect("it is in range");
        }
        clock
    };
    let expected = [
        clock(&[("d", 2), ("e", 40), ("f", 7)]),
        clock(&[]),
        clock(&[("d", 1)]),
        clock(&[("d", 2), ("e", 1), ("f", 7)]),
        clock(&[("d", 2), ("e", 40), ("f", 7)]),
        clock(&[("d", 3), ("e", 40), ("f", 8)]),
        clock(&[("d", 3), ("e", 40), ("f", 8)]),
    ];
    assert_eq!(clocks(ask, session, &[5, 0, 1, 4, 5, 7, 900]), expected, "in the order of the question");
    assert_eq!(clocks(ask, session, &[]), []);
}

fn sessions_do_not_touch_each_other(ask: &mut Ask) {
    for session in ["one", "other"] {
        assert_eq!(append(ask, session, vec![entry(1, "d", Some("k"))]), JournalAnswer::Appended);
    }
    assert_eq!(append(ask, "other", vec![entry(2, "e", None)]), JournalAnswer::Appended);
    assert_eq!(find(ask, "one", &[("d", 1), ("e", 2)], &["k"], &[]), [1]);
    assert_eq!(clocks(ask, "one", &[2])[0].get("e"), 0);
    assert_eq!((load(ask, "one").head, load(ask, "other").head), (1, 2));
}

fn a_wallets_sessions_are_listed_those_it_took_part_in_first(open: &dyn Fn() -> Ask) {
    let mut ask = open();
    let entry = || vec![entry(1, "d", None)];
    for (session, wallet, peer_wallet) in
        [("list-1", "ann", "eve"), ("list-2", "eve", "ann"), ("list-3", "eve", "bob"), ("list-4", "ann", "ann")]
    {
        let mut rows = members(wallet, peer_wallet);
        rows.truncate(if wallet == peer_wallet { 1 } else { 2 });
        assert_eq!(append_for(&mut ask, session, entry(), rows), JournalAnswer::Appended);
    }
    assert_eq!(append(&mut ask, "list-0", entry()), JournalAnswer::Appended, "a session whose wallets nobody has named");
    let all = [("list-4", "ann", true), ("list-1", "eve", true), ("list-2", "eve", false)];
    let all = all.map(|(session, peer, joined)| (session.to_owned(), peer.to_owned(), 1, joined));
    assert_eq!(sessions_of(&mut ask, "ann", None, 9), all);
    assert_eq!(sessions_of(&mut ask, "ann", None, 2), all[..2]);
    assert_eq!(sessions_of(&mut ask, "ann", Some("list-4"), 1), all[1..2]);
    assert_eq!(sessions_of(&mut ask, "ann", Some("list-1"), 9), all[2..]);
    for nothing in [sessions_of(&mut ask, "ann", Some("list-2"), 9), sessions_of(&mut ask, "ann", Some("list-3"), 9)] {
        assert_eq!(nothing, []);
    }
    assert_eq!(sessions_of(&mut ask, "nobody", None, 9), []);
    drop(ask);
    assert_eq!(sessions_of(&mut open(), "ann", None, 9), all, "after a restart");
}

fn a_session_is_listed_to_the_account_that_it_is_of(open: &dyn Fn() -> Ask) {
    let of = |account: Option<&str>| {
        let account_id = |wallet: &str| account.map(|account| format!("{account}:{wallet}"));
        members("joe", "kim").into_iter().map(|row| MemberRow { account_id: account_id(&row.wallet), ..row }).collect::<Vec<_>>()
    };
    // Encrypted sessions are asked for alone, or not at all.
    let told = |ask: &mut Ask, account: Option<&str>, session: &str| {
        let sealed = is_sealed_id(session);
        let account_id = account.map(|account| format!("{account}:joe"));
        let question = JournalQuestion::Sessions { wallet: "joe".to_owned(), after: None, count_max: 9, account_id, sealed };
        let Some(JournalAnswer::Sessions(sessions)) = ask(question) else { panic!() };
        sessions.into_iter().map(|found| found.session_id).collect::<Vec<_>>()
    };
    let sessions = [("open-1", None), ("signed-1", Some("account")), ("signed-2", Some("elsewhere")), ("sealed:1", Some("account"))];
    let mut ask = open();
    for (session, account) in sessions {
        assert_eq!(append_for(&mut ask, session, vec![entry(1, "d", None)], of(account)), JournalAnswer::Appended);
        assert_eq!(told(&mut ask, account, session), [session]);
    }
    drop(ask);
    let mut ask = open();
    for (session, account) in sessions {
        assert_eq!(
            (told(&mut ask, account, session), load(&mut ask, session).members),
            (vec![session.to_owned()], of(account)),
            "after a restart"
        );
    }
}

fn a_group_is_listed_to_who_is_in_it(open: &dyn Fn() -> Ask) {
    let session = "group";
    let row = |wallet: &str, since, joined, left| MemberRow {
        wallet: wallet.to_owned(),
        peer_wallet: "eve".to_owned(),
        joined,
        account_id: Some(format!("account:{wallet}")),
        since,
        left,
    };
    let state = |name: &str| GroupRow { name: name.to_owned(), state: name.as_bytes().to_vec() };
    let append = |ask: &mut Ask, sequence, members, group| {
        let (session_id, entries, devices) = (session.to_owned(), vec![entry(sequence, "d", None)], Vec::new());
        let epochs = (sequence == 2).then(|| b"epochs".to_vec());
        let question = JournalQuestion::Append { session_id, entries, devices, members, group, epochs };
        assert_eq!(ask(question), Some(JournalAnswer::Appended));
    };
    let listed = |ask: &mut Ask, account_id: Option<&str>| {
        let (wallet, account_id) = ("fay".to_owned(), account_id.map(str::to_owned));
        let Some(JournalAnswer::Sessions(found)) =
            ask(JournalQuestion::Sessions { wallet, after: None, count_max: 9, account_id, sealed: false })
        else {
            panic!()
        };
        found.into_iter().map(|found| (found.latest_sequence, found.joined, found.name.unwrap())).collect::<Vec<_>>()
    };
    let note = |ask: &mut Ask, members| {
        let (devices, watermarks) = (Vec::new(), Vec::new());
        assert_eq!(ask(JournalQuestion::Note { session_id: session.to_owned(), devices, watermarks, members }), None);
    };
    let (own, nothing) = (Some("account:fay"), Vec::<(u64, bool, String)>::new());
    let mut ask = open();
    append(&mut ask, 1, vec![row("eve", 1, true, false), row("fay", 1, false, false)], Some(state("one")));
    append(&mut ask, 2, Vec::new(), Some(state("two")));
    append(&mut ask, 3, Vec::new(), None);
    assert_eq!(listed(&mut ask, own), [(1, false, "two".to_owned())]);
    assert_eq!((listed(&mut ask, None), listed(&mut ask, Some("account:other"))), (nothing.clone(), nothing.clone()));
    note(&mut ask, vec![row("fay", 1, true, false)]);
    assert_eq!(listed(&mut ask, own), [(1, true, "two".to_owned())]);
    append(&mut ask, 4, vec![row("fay", 1, true, true)], Some(state("two")));
    assert_eq!(listed(&mut ask, own), nothing);
    // What was noted before is late.
    note(&mut ask, vec![row("fay", 1, true, false)]);
    drop(ask);
    let mut ask = open();
    assert_eq!(listed(&mut ask, own), nothing, "after a restart");
    let stored = load(&mut ask, session);
    assert_eq!((stored.group, stored.members), (Some(state("two")), vec![row("eve", 1, true, false)]));
    assert_eq!(stored.epochs.as_deref(), Some(&b"epochs"[..]), "as they were told last");
    append(&mut ask, 5, vec![row("fay", 5, false, false)], Some(state("two")));
    assert_eq!(listed(&mut ask, own), [(5, false, "two".to_owned())], "who comes again is asked again");
    note(&mut ask, vec![row("fay", 1, true, true)]);
    assert_eq!(listed(&mut ask, own), [(5, false, "two".to_owned())]);
}

fn what_was_stored_and_noted_is_there_after_a_restart(open: &dyn Fn() -> Ask) {
    let session = "restart";
    let entries = vec![entry(1, "d", Some("k")), entry(2, "e", None)];
    let device = |id: &str, last: u64, last_seen_ms| DeviceRow {
        device_id: id.to_owned(),
        wallet: Some("w".to_owned()),
        platform: "web".to_owned(),
        last_counter: last,
        last_sequence: last,
        last_digest: if last == 0 { [0; 32] } else { hash_at(last) },
        last_seen_ms,
        sync_state: SyncState { last_synced_sequence: last_seen_ms, ..SyncState::default() },
    };
    let watermark = |read| WatermarkRow { wallet: "w".to_owned(), watermark: Watermark { delivered: 2, read } };
    let note = |devices, watermarks, members| JournalQuestion::Note { session_id: session.to_owned(), devices, watermarks, members };

    let mut ask = open();
    let devices = vec![device("d", 1, 10), device("e", 2, 10)];
    let question = JournalQuestion::Append {
        session_id: session.to_owned(),
        entries: entries.clone(),
        devices,
        members: members("w", "p"),
        group: None,
        epochs: None,
    };
    assert_eq!(ask(question), Some(JournalAnswer::Appended));
    // Notes change nothing of what the log says of a device, whatever they have there.
    assert_eq!(ask(note(vec![device("d", 1, 20), device("f", 7, 20)], vec![watermark(0)], Vec::new())), None);
    let joined: Vec<MemberRow> = members("p", "w").into_iter().take(1).collect();
    assert_eq!(ask(note(vec![device("d", 9, 30), device("e", 0, 30)], vec![watermark(1)], joined.clone())), None);
    let expected = StoredSession {
        head: 2,
        log_hash: hash_at(2),
        last_written: 2,
        has_keys: true,
        devices: vec![device("d", 1, 30), device("e", 2, 30), device("f", 0, 20)],
        watermarks: vec![watermark(1)],
        members: joined.into_iter().chain(members("w", "p").into_iter().take(1)).collect(),
        group: None,
        epochs: None,
    };
    assert_eq!(load(&mut ask, session), expected, "what is noted is known at once");
    assert_eq!(sessions_of(&mut ask, "p", None, 9), [(session.to_owned(), "w".to_owned(), 2, true)]);
    drop(ask);

    let mut ask = open();
    assert_eq!(load(&mut ask, session), expected);
    assert_eq!(read_all(&mut ask, session), entries);
    assert_eq!(append(&mut ask, session, vec![entry(3, "d", None)]), JournalAnswer::Appended);
}

fn what_was_answered_survives_a_kill(open: &dyn Fn() -> Ask, crash: &dyn Fn(Crash) -> Ask) {
    let session = "killed";
    let entries = vec![entry(1, "d", Some("k")), entry(2, "e", None)];
    let mut ask = open();
    assert_eq!(append(&mut ask, session, entries.clone()), JournalAnswer::Appended);
    let mut after = crash(Crash::Killed);
    assert_eq!(read_all(&mut after, session), entries);
    assert_failed(&append(&mut after, session, entries));
    assert_eq!(append(&mut after, session, vec![entry(3, "d", None)]), JournalAnswer::Appended);
}

fn a_torn_tail_takes_its_whole_write_and_no_other(open: &dyn Fn() -> Ask, crash: &dyn Fn(Crash) -> Ask) {
    let session = "torn";
    let whole = vec![entry(1, "d", None), entry(2, "d", Some("k"))];
    let torn = vec![entry(3, "d", None), entry(4, "d", Some("l"))];
    let mut ask = open();
    assert_eq!(append(&mut ask, session, whole.clone()), JournalAnswer::Appended);
    assert_eq!(append(&mut ask, session, torn.clone()), JournalAnswer::Appended);
    let mut after = crash(Crash::TornTail);
    assert_eq!(read_all(&mut after, session), whole);
    let StoredSession { head, log_hash, .. } = load(&mut after, session);
    assert_eq!((head, log_hash), (2, hash_at(2)));
    assert_eq!(append(&mut after, session, torn), JournalAnswer::Appended, "nothing of it is in the way");
}
