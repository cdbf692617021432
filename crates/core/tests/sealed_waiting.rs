//! A device that waits to be approved writes, and reads what is written in epochs that it begins itself. The history comes when another
//! device of its wallet has approved it.

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{address, joined, kinds, open, pair, settle, texts, wallet, write};
use crate::signer::{Device, config, drawing, strict};
use solconnect_sync_core::client::{EncryptionView, Event, GroupWish, Input, Reply};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::identity::Purpose;
use solconnect_sync_core::limits::{EPOCH_MS, EPOCHS_UNREAD_MAX, RESEAL_WAIT_MS, UNCAUSED_EPOCH_MS};
use solconnect_sync_core::message::Kind;

/// A device of a person, signed in, that asks before it approves another one.
fn asking(rooms: &mut Rooms, person: u8, number: u8) -> Device {
    let mut device = Device::encrypting(wallet(person), drawing(Records::default(), number), config(), number);
    device.now = rooms.now;
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// Alice and Bob with something said, and a phone of Alice's that waits.
fn waiting(rooms: &mut Rooms) -> (Device, Device, Device, String) {
    let mut alice = asking(rooms, 0, 1);
    let mut bob = joined(rooms, 1, 2);
    let session_id = open(&mut alice, 1);
    open(&mut bob, 0);
    settle(rooms, &mut [&mut alice, &mut bob]);
    write(&mut bob, &session_id, "before");
    settle(rooms, &mut [&mut alice, &mut bob]);
    let mut phone = asking(rooms, 0, 3);
    settle(rooms, &mut [&mut alice, &mut bob, &mut phone]);
    open(&mut phone, 1);
    settle(rooms, &mut [&mut alice, &mut bob, &mut phone]);
    (alice, bob, phone, session_id)
}

fn approve(device: &mut Device, other: &Device) {
    device.feed(Input::ApproveDevice { request: 7, device_id: other.id() });
}

fn again(device: Device, number: u8) -> Device {
    let now = device.now;
    let mut device = Device::encrypting(device.wallet, drawing(device.records, number), config(), number);
    device.now = now;
    device
}

/// So much time passes for all of them.
fn pass(rooms: &mut Rooms, devices: &mut [&mut Device], ms: u64) {
    (rooms.now.wall_ms, rooms.now.monotonic_ms) = (rooms.now.wall_ms + ms, rooms.now.monotonic_ms + ms);
    for device in devices.iter_mut() {
        (device.now.wall_ms, device.now.monotonic_ms) = (device.now.wall_ms + ms, device.now.monotonic_ms + ms);
    }
}

fn heard(device: &Device) -> Vec<String> {
    let text = |event: &Event| if let Event::MessageReceived { entry, .. } = event { Some(entry.message.ciphertext.clone()) } else { None };
    device.events.iter().filter_map(text).collect()
}

fn count(rooms: &Rooms, session_id: &str, kind: Kind) -> usize {
    kinds(rooms, session_id).iter().filter(|known| **known == kind.0).count()
}

/// The devices that have begun the epochs of a session.
fn authors(rooms: &Rooms, session_id: &str) -> Vec<String> {
    let entries = rooms.journal[session_id].entries.iter().map(|stored| stored.body.entries().unwrap().remove(0));
    entries.filter(|entry| entry.message.kind == Kind::EPOCH).map(|entry| entry.device_id).collect()
}

fn encryption(device: &mut Device, session_id: &str) -> EncryptionView {
    device.client.encryption(session_id).unwrap()
}

#[test]
fn who_waits_writes_and_reads_what_is_new() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    assert_eq!(texts(&phone, &session_id), [] as [String; 0], "nothing of the history is for it");
    write(&mut bob, &session_id, "new");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["new"]);
    write(&mut phone, &session_id, "from the phone");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut alice, &session_id, "from the table");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let all = ["before", "new", "from the phone", "from the table"];
    assert_eq!((texts(&alice, &session_id), texts(&bob, &session_id)), (all.map(Into::into).to_vec(), all.map(Into::into).to_vec()));
    assert_eq!(texts(&phone, &session_id), all[1..]);
    assert_eq!((count(&rooms, &session_id, Kind::EPOCH), phone.queued()), (2, 0), "one epoch is enough for all");
    assert_eq!(phone.client.account_keys(), [] as [u64; 0]);
    let EncryptionView { missing, unread_epoch_count, .. } = encryption(&mut phone, &session_id);
    assert_eq!((missing, unread_epoch_count), (Some(ErrorCode::DeviceNotApproved), 1), "it says what it lacks");

    approve(&mut alice, &phone);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), all);
    assert_eq!(heard(&phone), ["new", "from the table", "before"], "each is told once, when it is there");
    let EncryptionView { missing, unread_epoch_count, .. } = encryption(&mut phone, &session_id);
    assert_eq!((missing, unread_epoch_count), (None, 0));
    write(&mut phone, &session_id, "approved");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&bob, &session_id).last().map(String::as_str), Some("approved"));
    for device in [&alice, &bob, &phone] {
        assert_eq!(device.warnings(), []);
    }
}

#[test]
fn what_was_given_before_approval_is_read_behind_a_removal_too() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    alice.feed(Input::OpenGroup { request: 2, name: "Walkers".into(), members: vec![address(1)] });
    let Some(Ok(Reply::Session(view))) = alice.replies.pop() else { panic!("a group") };
    let session_id = view.session_id;
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice]);
    // The secret is sealed to Bob's key, which his phone has not got yet.
    let (mut bob, mut phone) = (asking(&mut rooms, 1, 2), asking(&mut rooms, 1, 3));
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    for device in [&mut bob, &mut phone] {
        device.feed(Input::AcceptSession { request: 5, session_id: session_id.clone() });
    }
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((texts(&bob, &session_id).len(), texts(&phone, &session_id).len()), (1, 0));
    alice.feed(Input::Regroup { request: 6, session_id: session_id.clone(), wish: GroupWish::Remove(vec![bob.address()]) });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    approve(&mut bob, &phone);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["one"]);
}

#[test]
fn a_key_that_cannot_be_stored_loses_no_history() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    approve(&mut alice, &phone);
    (phone.is_slow, phone.reading) = (true, Some(Vec::new()));
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    // The history is looked for before the key is on disk, and arrives when it is gone.
    for commit in std::mem::take(&mut phone.unwritten) {
        let error = SyncError::new(ErrorCode::StorageError, "aborted");
        phone.feed(Input::PersistFailed { commit: commit.id, error });
    }
    phone.is_slow = false;
    phone.reading.take().into_iter().flatten().for_each(|read| phone.feed(read));
    phone.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["before"]);
}

#[test]
fn who_is_removed_while_it_reads_has_the_history_when_it_is_back() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    phone.reading = Some(Vec::new());
    approve(&mut alice, &phone);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let id = phone.id();
    alice.feed(Input::RemoveDevice { request: 7, device_id: id });
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    // What it read of its store arrives when it has lost its keys.
    phone.reading.take().into_iter().flatten().for_each(|read| phone.feed(read));
    phone.sign();
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    approve(&mut alice, &phone);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["before"]);
}

#[test]
fn who_waits_reads_on_after_a_restart() {
    let mut rooms = strict();
    let (mut alice, mut bob, phone, session_id) = waiting(&mut rooms);
    let mut phone = again(phone, 50);
    phone.talk(&mut rooms);
    write(&mut bob, &session_id, "new");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut phone, &session_id, "an answer");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["new", "an answer"]);
    assert_eq!(texts(&alice, &session_id), ["before", "new", "an answer"]);
    assert_eq!(count(&rooms, &session_id, Kind::EPOCH), 2, "it makes the secret of its epoch again");
}

#[test]
fn what_who_waits_wrote_offline_is_sent_too() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    phone.feed(Input::SetOffline { offline: true });
    for text in ["one", "two"] {
        write(&mut phone, &session_id, text);
    }
    write(&mut bob, &session_id, "meanwhile");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let mut phone = again(phone, 50);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&bob, &session_id), ["before", "meanwhile", "one", "two"]);
    assert_eq!(texts(&phone, &session_id), ["meanwhile", "one", "two"]);
}

#[test]
fn who_waits_and_is_removed_reads_nothing_that_is_written_behind() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    write(&mut bob, &session_id, "new");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let id = phone.id();
    alice.feed(Input::RemoveDevice { request: 7, device_id: id.clone() });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut bob, &session_id, "behind");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&alice, &session_id), ["before", "new", "behind"]);
    assert_eq!(texts(&phone, &session_id), ["new"]);
    let authors = authors(&rooms, &session_id);
    assert_eq!((authors.len(), authors[1] == id, authors[2] == id), (3, true, false), "another epoch, of which it knows nothing");
}

#[test]
fn of_two_that_wait_the_later_reads_until_the_other_writes() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    let mut tablet = asking(&mut rooms, 0, 4);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    open(&mut tablet, 1);
    for _ in 0..5 {
        settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
        pass(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet], UNCAUSED_EPOCH_MS);
    }
    assert_eq!(authors(&rooms, &session_id)[1..], [phone.id(), tablet.id()], "they do not take turns");
    write(&mut bob, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    write(&mut phone, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    assert_eq!((texts(&phone, &session_id), texts(&tablet, &session_id)), (vec!["two".into(), "three".into()], vec!["one".to_owned()]));
    for waits in [&phone, &tablet] {
        approve(&mut alice, waits);
        alice.talk(&mut rooms);
    }
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    for device in [&alice, &bob, &phone, &tablet] {
        assert_eq!(texts(device, &session_id), ["before", "one", "two", "three"]);
    }
}

#[test]
fn more_epochs_than_are_kept_are_read_from_the_log() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    phone.feed(Input::SetOffline { offline: true });
    let mut said = vec!["before".to_owned()];
    for week in 0..EPOCHS_UNREAD_MAX + 8 {
        pass(&mut rooms, &mut [&mut alice, &mut bob, &mut phone], EPOCH_MS);
        [&mut alice, &mut bob].into_iter().for_each(|device| device.again(&mut rooms));
        said.push(format!("week {week}"));
        write(&mut alice, &session_id, &said[week + 1]);
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    assert!(count(&rooms, &session_id, Kind::EPOCH) > EPOCHS_UNREAD_MAX + 8);
    let mut phone = again(phone, 50);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), [] as [String; 0]);
    approve(&mut alice, &phone);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), said);
    assert_eq!(heard(&phone), said, "each once, in order");
}

#[test]
fn who_waits_gives_secrets_to_who_was_never_here() {
    let mut rooms = strict();
    let mut alice = asking(&mut rooms, 0, 1);
    let mut phone = asking(&mut rooms, 0, 3);
    let session_id = open(&mut phone, 1);
    write(&mut phone, &session_id, "nobody is there yet");
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    pass(&mut rooms, &mut [&mut bob, &mut phone], RESEAL_WAIT_MS);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    assert_eq!(texts(&bob, &session_id), ["nobody is there yet"]);
}

#[test]
fn a_copy_of_who_waits_loses_nothing_once_it_is_approved() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    let mut copy = Device::encrypting(wallet(0), drawing(phone.records.clone(), 60), config(), 60);
    copy.now = phone.now;
    write(&mut phone, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut copy, &session_id, "another");
    for _ in 0..3 {
        copy.again(&mut rooms);
        settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut copy]);
    }
    assert_ne!(copy.id(), phone.id());
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut copy]);
    for waits in [&phone, &copy] {
        approve(&mut alice, waits);
        alice.talk(&mut rooms);
    }
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut copy]);
    for device in [&alice, &bob, &phone, &copy] {
        assert_eq!(texts(device, &session_id), ["before", "one", "another", "two"]);
    }
}

#[test]
fn who_comes_back_behind_a_removal_waits_again() {
    let mut rooms = strict();
    let (mut alice, mut bob, mut phone, session_id) = waiting(&mut rooms);
    let before = phone.id();
    alice.feed(Input::RemoveDevice { request: 7, device_id: before.clone() });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut bob, &session_id, "while it was away");
    for _ in 0..2 {
        phone.again(&mut rooms);
        settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    }
    phone.sign();
    phone.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_ne!(phone.id(), before, "it is another device");
    for _ in 0..3 {
        pass(&mut rooms, &mut [&mut alice, &mut bob, &mut phone], 1_000);
        settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    }
    assert_eq!(authors(&rooms, &session_id).last(), Some(&phone.id()), "it takes part in its sessions by itself");
    write(&mut bob, &session_id, "new");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["new"]);
    approve(&mut alice, &phone);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["before", "while it was away", "new"]);
}

#[test]
fn where_the_account_has_no_key_who_waits_goes_on_waiting() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = asking(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut phone, &mut bob]);
    open(&mut phone, 1);
    // It leaves, and nobody who stays makes a key.
    let id = alice.id();
    alice.feed(Input::RemoveDevice { request: 7, device_id: id });
    alice.talk(&mut rooms);
    write(&mut phone, &session_id, "it waits");
    settle(&mut rooms, &mut [&mut phone, &mut bob]);
    assert_eq!((phone.queued(), count(&rooms, &session_id, Kind::MESSAGE)), (1, 0), "its wallet could never read it");
    let certificate = phone.signed(Purpose::Reset);
    phone.feed(Input::Certify { request: 3, certificate });
    phone.again(&mut rooms);
    for _ in 0..3 {
        settle(&mut rooms, &mut [&mut phone, &mut bob]);
        pass(&mut rooms, &mut [&mut phone, &mut bob], 1_000);
    }
    assert_eq!((phone.queued(), texts(&bob, &session_id)), (0, vec!["it waits".to_owned()]));
}

#[test]
fn in_a_group_who_waits_goes_on_when_somebody_leaves() {
    let mut rooms = strict();
    let mut alice = asking(&mut rooms, 0, 1);
    let mut people = [joined(&mut rooms, 1, 2), joined(&mut rooms, 2, 4)];
    alice.feed(Input::OpenGroup { request: 2, name: "Walkers".into(), members: vec![people[0].address(), people[1].address()] });
    let Some(Ok(Reply::Session(view))) = alice.replies.pop() else { panic!() };
    let session_id = view.session_id;
    let [bob, carol] = &mut people;
    settle(&mut rooms, &mut [&mut alice, bob, carol]);
    let mut phone = asking(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    for device in [&mut *bob, &mut *carol, &mut phone] {
        device.feed(Input::AcceptSession { request: 3, session_id: session_id.clone() });
    }
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    write(&mut phone, &session_id, "for three");
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    let wish = GroupWish::Remove(vec![carol.address()]);
    alice.feed(Input::Regroup { request: 4, session_id: session_id.clone(), wish });
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    write(bob, &session_id, "for two");
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    write(bob, &session_id, "and another");
    settle(&mut rooms, &mut [&mut alice, bob, carol, &mut phone]);
    assert_eq!(texts(carol, &session_id), ["for three"]);
    assert_eq!(texts(bob, &session_id), ["for three", "for two", "and another"]);
    let read = texts(&phone, &session_id);
    assert_eq!((read.first().map(String::as_str), read.last().map(String::as_str)), (Some("for three"), Some("and another")));
}
