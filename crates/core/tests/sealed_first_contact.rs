//! First contact: what was written to a wallet before it had a key is read once it has one.

use base64ct::{Base64, Encoding as _};
use solconnect_sync_vault::layout::{ResealEntry, Resealed};

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{address, again, joined, kinds, open, settle, texts, write};
use crate::signer::{Device, drawing, strict};
use solconnect_sync_core::client::{Event, GroupWish, Input, Reply, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::limits::RESEAL_WAIT_MS;
use solconnect_sync_core::message::Kind;

/// Alice, who has written to Bob before he was ever here.
fn written_to_bob(rooms: &mut Rooms) -> (Device, String) {
    let mut alice = joined(rooms, 0, 1);
    let session_id = open(&mut alice, 1);
    for text in ["one", "two"] {
        write(&mut alice, &session_id, text);
        settle(rooms, &mut [&mut alice]);
    }
    (alice, session_id)
}

/// Alice, who has, and Bob, who cannot read it yet and has written "three", in a batch of its own, while Alice is away.
fn answered_meanwhile(rooms: &mut Rooms) -> (Device, Device, String) {
    let (mut alice, session_id) = written_to_bob(rooms);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(rooms, 1, 2);
    open(&mut bob, 0);
    settle(rooms, &mut [&mut bob]);
    write(&mut bob, &session_id, "three");
    settle(rooms, &mut [&mut bob]);
    assert!(bob.records.log(&session_id).len() > 1);
    (alice, bob, session_id)
}

/// Alice, who has, and Bob, who has got the key: what he reads again of his store comes when the test says so.
fn read_again(rooms: &mut Rooms) -> (Device, Device, String) {
    let (mut alice, session_id) = written_to_bob(rooms);
    let mut bob = joined(rooms, 1, 2);
    bob.reading = Some(Vec::new());
    open(&mut bob, 0);
    settle(rooms, &mut [&mut alice, &mut bob]);
    (alice, bob, session_id)
}

fn heard(device: &Device) -> Vec<String> {
    let text = |event: &Event| if let Event::MessageReceived { entry, .. } = event { Some(entry.message.ciphertext.clone()) } else { None };
    device.events.iter().filter_map(text).collect()
}

fn count(rooms: &Rooms, session_id: &str, kind: Kind) -> usize {
    kinds(rooms, session_id).iter().filter(|known| **known == kind.0).count()
}

fn resealed(text: &str) -> Resealed {
    ResealEntry::from_bytes(&Base64::decode_vec(text).unwrap()).unwrap().0.remove(0)
}

/// Whoever waits by chance before it gives what it has does so.
fn wait_for_others(rooms: &mut Rooms, devices: &mut [&mut Device]) {
    for device in devices.iter_mut() {
        device.now.monotonic_ms += RESEAL_WAIT_MS;
        device.feed(Input::Timeout);
    }
    settle(rooms, devices);
}

#[test]
fn what_was_written_before_a_wallet_had_a_key_is_read() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut bob = joined(&mut rooms, 1, 2);
    assert_eq!(open(&mut bob, 0), session_id);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    assert_eq!(heard(&bob), ["one", "two"], "each is told once, in order");
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&alice, &session_id), ["one", "two", "three"]);
    assert_eq!((count(&rooms, &session_id, Kind::EPOCH), count(&rooms, &session_id, Kind::RESEAL)), (2, 1));
    assert_eq!((alice.warnings(), bob.warnings()), (vec![], vec![]));
    assert_eq!((alice.queued(), bob.queued()), (0, 0));
}

#[test]
fn a_key_that_holds_no_more_is_given_nothing() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    let (mut bob, mut phone) = (joined(&mut rooms, 1, 2), joined(&mut rooms, 1, 3));
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    alice.feed(Input::SetOffline { offline: false });
    // She is about to give what she has to the key that Bob has now.
    alice.is_slow = true;
    let gives =
        |write: &Write| matches!(write, Write::Outbox(record) if record.entries.iter().any(|entry| entry.message.kind == Kind::RESEAL));
    while !alice.unwritten.iter().flat_map(|commit| &commit.writes).any(gives) {
        alice.talk(&mut rooms);
        for commit in std::mem::take(&mut alice.unwritten) {
            commit.writes.iter().for_each(|write| alice.records.apply(write).unwrap());
            alice.feed(Input::Persisted { commit: commit.id });
        }
    }
    let id = phone.id();
    bob.feed(Input::RemoveDevice { request: 7, device_id: id });
    settle(&mut rooms, &mut [&mut bob]);
    alice.write();
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let entries = rooms.journal[&session_id].entries.iter().map(|stored| stored.body.entries().unwrap().remove(0));
    let given = entries.filter(|entry| entry.message.kind == Kind::RESEAL);
    let given: Vec<u64> = given.map(|entry| resealed(&entry.message.ciphertext).generation).collect();
    assert_eq!((given, texts(&bob, &session_id)), (vec![2], vec!["one".to_owned(), "two".to_owned()]));
}

#[test]
fn a_secret_that_was_lost_with_the_store_is_stored_again() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    // Bob has read what came before he had a key, and his database is deleted.
    (bob.records, bob.is_connected) = (drawing(Records::default(), 2), false);
    bob.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::StorageLost, "gone") });
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    let sealed = bob.records.sessions[&session_id].sealed.as_ref().expect("it is encrypted");
    let first = sealed.unread.iter().find(|unread| unread.epoch.number == 1).expect("it may be asked for");
    assert!(first.epoch.resealed_by.is_some(), "who asks is given it");
}

#[test]
fn what_the_author_wrote_waits_while_it_is_away() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut bob]);
    assert_eq!(texts(&bob, &session_id), ["three"], "the rest is not here yet");
    // Its page is closed and opened again, and so is that of Bob.
    let (mut alice, mut bob) = (again(alice, 60), again(bob, 61));
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
    assert_eq!(texts(&alice, &session_id), ["one", "two", "three"]);
    assert_eq!(heard(&bob), ["one", "two"]);
}

#[test]
fn many_stored_batches_are_read_again_while_more_comes() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    for number in 3..=90 {
        write(&mut alice, &session_id, &number.to_string());
        alice.talk(&mut rooms);
        alice.now.monotonic_ms += 100;
        alice.feed(Input::Timeout);
    }
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob]);
    for number in 91..=120 {
        write(&mut bob, &session_id, &number.to_string());
        settle(&mut rooms, &mut [&mut bob]);
    }
    alice.feed(Input::SetOffline { offline: false });
    for number in 121..=150 {
        write(&mut bob, &session_id, &number.to_string());
        bob.talk(&mut rooms);
        alice.talk(&mut rooms);
    }
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let all: Vec<String> = ["one", "two"].into_iter().map(str::to_owned).chain((3..=150).map(|number| number.to_string())).collect();
    assert_eq!(texts(&bob, &session_id), all);
    assert_eq!(texts(&alice, &session_id), all);
    assert_eq!(heard(&bob), all[..90]);
    let mut bob = again(bob, 61);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((texts(&bob, &session_id), heard(&bob).len()), (all, 0), "nothing is told twice");
}

#[test]
fn what_was_read_again_and_told_is_not_told_after_a_loss() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = answered_meanwhile(&mut rooms);
    bob.reading = Some(Vec::new());
    alice.feed(Input::SetOffline { offline: false });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let read = |bob: &mut Device| {
        let read = bob.reading.as_mut().and_then(Vec::pop).expect("a batch is asked for");
        bob.feed(read);
    };
    read(&mut bob);
    assert_eq!(heard(&bob), ["one", "two"]);
    // That all is read cannot be stored, and then the database is gone.
    bob.fails = true;
    while bob.reading.as_ref().is_some_and(|reading| !reading.is_empty()) {
        read(&mut bob);
    }
    (bob.records, bob.is_connected, bob.fails, bob.reading) = (drawing(Records::default(), 2), false, false, None);
    bob.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::StorageLost, "gone") });
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
    assert_eq!(heard(&bob), ["one", "two"]);
}

#[test]
fn edits_and_deletions_of_then_are_read_too() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let id = |text: &str, device: &Device| {
        let stored = device.records.log(&session_id).into_iter().flat_map(|record| record.entries().unwrap());
        stored.into_iter().find(|entry| entry.message.ciphertext == text).expect("it is stored").message.id
    };
    let (one, two) = (id("one", &alice), id("two", &alice));
    alice.feed(Input::Edit { request: 5, session_id: session_id.clone(), message_id: one, text: Some("first".into()) });
    alice.feed(Input::Edit { request: 6, session_id: session_id.clone(), message_id: two, text: None });
    settle(&mut rooms, &mut [&mut alice]);
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), texts(&alice, &session_id));
    assert_eq!(texts(&bob, &session_id)[0], "first");
}

#[test]
fn a_second_device_reads_it_by_the_same_secret() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    alice.feed(Input::SetOffline { offline: true });
    let mut phone = joined(&mut rooms, 1, 3);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    open(&mut phone, 0);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["one", "two"]);
    assert_eq!(count(&rooms, &session_id, Kind::RESEAL), 1);
}

#[test]
fn another_device_of_the_author_gives_what_it_has() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut laptop = joined(&mut rooms, 0, 4);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    open(&mut laptop, 1);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut laptop, &mut bob]);
    assert_eq!(texts(&bob, &session_id).len(), 0, "the author is given some time");
    wait_for_others(&mut rooms, &mut [&mut laptop, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
}

#[test]
fn the_secrets_of_several_epochs_are_given_together() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut laptop = joined(&mut rooms, 0, 4);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    open(&mut laptop, 1);
    write(&mut laptop, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    assert_eq!(count(&rooms, &session_id, Kind::EPOCH), 2);
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut alice, &mut laptop, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
    assert!(count(&rooms, &session_id, Kind::RESEAL) <= 2, "both were authors");
}

#[test]
fn what_cannot_be_stored_is_read_again_later() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob]);
    alice.feed(Input::SetOffline { offline: false });
    bob.fails = true;
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((texts(&bob, &session_id).len(), heard(&bob).len()), (0, 0));
    bob.fails = false;
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    assert_eq!(heard(&bob), ["one", "two"]);
}

#[test]
fn what_could_not_be_stored_in_part_is_read_again() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = answered_meanwhile(&mut rooms);
    alice.feed(Input::SetOffline { offline: false });
    bob.is_slow = true;
    let mut has_failed = false;
    for _ in 0..20 {
        alice.talk(&mut rooms);
        alice.now.monotonic_ms += 100;
        alice.feed(Input::Timeout);
        bob.talk(&mut rooms);
        for commit in std::mem::take(&mut bob.unwritten) {
            let reads = |write: &Write| matches!(write, Write::Log(record) if record.first <= 2);
            if !has_failed && commit.writes.iter().any(reads) {
                has_failed = true;
                let error = SyncError::new(ErrorCode::StorageFull, "full");
                bob.feed(Input::PersistFailed { commit: commit.id, error });
            } else {
                commit.writes.iter().for_each(|write| bob.records.apply(write).unwrap());
                bob.feed(Input::Persisted { commit: commit.id });
            }
        }
    }
    bob.write();
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert!(has_failed);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
    assert_eq!(heard(&bob), ["one", "two"]);
}

#[test]
fn what_is_cleared_while_it_is_read_again_does_not_return() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = read_again(&mut rooms);
    // The log is cleared while another commit is on its way, and then comes what was asked of it before.
    bob.is_slow = true;
    let (text, session) = ("three".to_owned(), session_id.clone());
    bob.feed(Input::Send { request: 4, session_id: session, text, content_type: None, message_id: None, known: None });
    bob.feed(Input::ClearLog { request: 9, session_id: session_id.clone() });
    let read = bob.reading.as_mut().and_then(Vec::pop).expect("the log is read again");
    bob.feed(read);
    // It is asked for again before the disk has cleared it.
    while !bob.unwritten.is_empty() {
        for commit in std::mem::take(&mut bob.unwritten) {
            commit.writes.iter().for_each(|write| bob.records.apply(write).unwrap());
            bob.feed(Input::Persisted { commit: commit.id });
        }
    }
    assert!(bob.replies.contains(&Ok(Reply::Done)));
    bob.reading.take().into_iter().flatten().for_each(|read| bob.feed(read));
    bob.write();
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["three"]);
}

#[test]
fn what_is_joined_while_it_is_read_again_is_held_once() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = read_again(&mut rooms);
    let mut all = vec!["one".to_owned(), "two".to_owned()];
    // Small batches, until they are joined with the one that was asked for.
    while all.len() < 4 || bob.records.log(&session_id).len() > 1 {
        all.push(all.len().to_string());
        write(&mut alice, &session_id, &all[all.len() - 1]);
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    let joined = bob.records.log(&session_id);
    let asked_before = bob.reading.as_mut().and_then(Vec::pop).expect("the log is read again");
    bob.feed(asked_before);
    assert_eq!(bob.records.log(&session_id), joined, "what was stored is not what was asked for");
    bob.reading.take().into_iter().flatten().for_each(|read| bob.feed(read));
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), all);
}

#[test]
fn a_member_of_a_group_reads_what_came_before_its_first_device() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (joined(&mut rooms, 0, 1), joined(&mut rooms, 1, 2));
    alice.feed(Input::OpenGroup { request: 2, name: "tea".into(), members: vec![address(1), address(2)] });
    let Some(Ok(Reply::Session(view))) = alice.replies.pop() else { panic!("no group") };
    let session_id = view.session_id;
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    bob.feed(Input::AcceptSession { request: 3, session_id: session_id.clone() });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    // Bob is added anew: another epoch, by him.
    alice.feed(Input::Regroup { request: 4, session_id: session_id.clone(), wish: GroupWish::SetAdmin(address(1), true) });
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut carol = joined(&mut rooms, 2, 3);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut carol]);
    carol.feed(Input::AcceptSession { request: 5, session_id: session_id.clone() });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut carol]);
    wait_for_others(&mut rooms, &mut [&mut alice, &mut bob, &mut carol]);
    for device in [&alice, &bob, &carol] {
        assert_eq!(texts(device, &session_id), ["one", "two"]);
    }
}

#[test]
fn nothing_is_given_behind_a_reset() {
    let mut rooms = strict();
    let (mut alice, session_id) = written_to_bob(&mut rooms);
    let mut bob = joined(&mut rooms, 1, 2);
    // Who has the wallet gives up the account before its device has been heard of.
    let certificate = bob.signed(solconnect_sync_core::identity::Purpose::Reset);
    bob.feed(Input::Certify { request: 9, certificate });
    settle(&mut rooms, &mut [&mut bob]);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    wait_for_others(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((texts(&bob, &session_id).len(), count(&rooms, &session_id, Kind::RESEAL)), (0, 0));
    write(&mut alice, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["three"]);
}
