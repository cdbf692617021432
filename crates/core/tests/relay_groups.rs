//! Who may say and hear what of a group: every kind of frame by everybody, before dispatch and before fan-out.

use crate::account;
use crate::groups;
use crate::groups::{Club, address, addresses, joined};
use crate::memory;
use crate::rooms::Rooms;
use crate::signer;
use crate::signer::relay;
use serde_json::Value;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{GroupWish, Input, Membership};
use solconnect_sync_core::entry::{Entry, first_digest, first_log_hash};
use solconnect_sync_core::frame::{
    Body, DeviceAnnounce, Frame, Head, PROTOCOL_VERSION, Payload, ReadReceipt, Receipt, ReceiptStatus, SyncAck, SyncHeartbeat, SyncRequest,
    SyncResponse, SyncUpdate, WalletAnnounce,
};
use solconnect_sync_core::group::{Group, Statement};
use solconnect_sync_core::identity::{DeviceKey, DomainSet, UpdateSignature};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::Input as RelayInput;

const ADMIN: u8 = 0;
const MEMBER: u8 = 1;
const FORMER: u8 = 2;
const OTHER: u8 = 3;

/// A group of an admin and a member; another was removed, and one was never in it. The relay lets strangers in.
fn club() -> Club {
    let mut club = Club::new(Rooms::over(|| relay(false)), 4, &[MEMBER, FORMER]);
    club.write(FORMER, "before").unwrap();
    club.remove(ADMIN, &[FORMER]).unwrap();
    club.rooms.timeout(2_000);
    club.people.iter().for_each(|person| drop(club.rooms.take(person.connection)));
    club
}

fn frame(session_id: &str, device_id: &str, body: Body) -> Frame {
    let (session_id, device_id) = (session_id.to_owned(), device_id.to_owned());
    let head = Head { session_id, device_id, message_id: "f".into(), protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
    Frame { head, body }
}

/// An update of one entry behind those of its device that the journal has.
fn update(club: &Club, device_id: &str, wallet: &str, message: Message) -> Body {
    updates(club, device_id, wallet, vec![message])
}

/// The same of several, signed at once. All that is made by hand is made here.
fn updates(club: &Club, device_id: &str, wallet: &str, messages: Vec<Message>) -> Body {
    let row = club.rooms.journal[&club.session_id].devices.get(device_id);
    let mut counter = row.map_or(0, |row| row.last_counter);
    let mut last_digest = row.map_or_else(|| first_digest(&club.session_id, device_id), |row| row.last_digest);
    let mut entries = Vec::new();
    for message in messages {
        counter += 1;
        let (id, session_id) = (message_id(&club.session_id, device_id, "start0", counter), club.session_id.clone());
        let message = Message { id, sender_wallet: wallet.into(), session_id, ..message };
        let entry = Entry { message, device_id: device_id.into(), counter, ..Entry::default() };
        last_digest = entry.digest(&last_digest);
        entries.push(entry);
    }
    // By the device's own key, where it is somebody's here.
    let secret =
        club.people.iter().find(|person| person.id() == device_id).map(|person| person.records.identity.as_ref().unwrap().secret.clone());
    let seen = LogHead { sequence: 0, hash: first_log_hash(&club.session_id) };
    let sign = |secret: Vec<u8>| {
        let key = DeviceKey::from_secret(&secret.try_into().unwrap());
        UpdateSignature::sign(&key, &club.session_id, counter, &last_digest, seen)
    };
    let messages = Batch::of(&entries).unwrap();
    Body::SyncUpdate(SyncUpdate { last_digest, messages, signature: secret.map(sign) })
}

fn text(text: &str) -> Message {
    Message { ciphertext: text.into(), ..Message::default() }
}

/// Every frame that somebody may say of the group, and its name.
fn frames(club: &Club, device_id: &str, wallet: &str) -> Vec<(&'static str, Body)> {
    let announce = |peer_wallet, group_nonce| {
        let wallet = Some(wallet.to_owned());
        Body::DeviceAnnounce(DeviceAnnounce { wallet, peer_wallet, group_nonce, ..DeviceAnnounce::default() })
    };
    let receipt = Receipt { message_id: "m".into(), status: ReceiptStatus::Read, sequence_number: Some(1), ..Receipt::default() };
    let domains = DomainSet::new(vec![account::DOMAIN.into()]).unwrap();
    let (_, begin) = Group::draft(wallet, domains, [9; 16], "Mine", &[], false).unwrap();
    vec![
        ("announce", announce(None, None)),
        ("announce as founder", announce(None, Some([9; 16]))),
        ("request", Body::SyncRequest(SyncRequest::default())),
        ("message", update(club, device_id, wallet, text("of no member"))),
        ("begin", update(club, device_id, wallet, begin.message())),
        ("add", update(club, device_id, wallet, Statement::Add(vec![address(OTHER)]).message())),
        ("remove", update(club, device_id, wallet, Statement::Remove(vec![address(ADMIN)]).message())),
        ("promote", update(club, device_id, wallet, Statement::Promote(vec![address(MEMBER)]).message())),
        ("ack", Body::SyncAck(SyncAck { acknowledged_sequences: vec![1], ..SyncAck::default() })),
        ("heartbeat", Body::SyncHeartbeat(SyncHeartbeat::default())),
        ("receipt", Body::ReadReceipt(ReadReceipt { receipts: vec![receipt], unreadable: None })),
        ("response", Body::SyncResponse(SyncResponse::default())),
    ]
}

fn say(rooms: &mut Rooms, connection: u64, frame: &Frame) {
    rooms.feed(RelayInput::Received { connection, payload: Payload::Binary(frame.to_bytes().unwrap().into()) });
}

/// What a connection hears that says a frame: the codes of errors, and the kinds of all else.
fn hears(rooms: &mut Rooms, connection: u64, frame: &Frame) -> Vec<String> {
    rooms.hear(connection);
    say(rooms, connection, frame);
    let name = |heard: Value| heard["code"].as_str().or(heard["type"].as_str()).unwrap_or_default().to_owned();
    rooms.hear(connection).into_iter().map(name).collect()
}

#[test]
fn nobody_but_members_says_or_hears_anything() {
    let mut club = club();
    let (admin, admin_wallet) = (club.people[usize::from(ADMIN)].id(), address(ADMIN));
    let entries = club.rooms.journal[&club.session_id].entries.len();
    club.rooms.open_binary(9_000);
    let outsiders = [
        (9_000, "stranger".to_owned(), address(OTHER), "NOT_A_MEMBER"),
        (club.people[usize::from(OTHER)].connection, club.people[usize::from(OTHER)].id(), address(OTHER), "NOT_A_MEMBER"),
        (club.people[usize::from(FORMER)].connection, club.people[usize::from(FORMER)].id(), address(FORMER), "MEMBER_REMOVED"),
    ];
    for (connection, device, wallet, code) in outsiders {
        let as_admin = frames(&club, &admin, &admin_wallet).into_iter().map(|(name, body)| (name, body, &admin, true));
        let spliced = frames(&club, &admin, &admin_wallet).into_iter().map(|(name, body)| (name, body, &device, false));
        let own = frames(&club, &device, &wallet).into_iter().map(|(name, body)| (name, body, &device, false));
        for (name, body, device_id, is_anothers) in own.chain(spliced).chain(as_admin).collect::<Vec<_>>() {
            let is_announce = name.starts_with("announce");
            let names_admin = matches!(&body, Body::DeviceAnnounce(said) if said.wallet.as_ref() == Some(&admin_wallet));
            let expected = match name {
                _ if connection != 9_000 && (is_anothers || names_admin) => "WRONG_KEY",
                // What only the relay says is refused for that, whoever says it.
                "response" if code == "NOT_A_MEMBER" || code == "MEMBER_REMOVED" => "INVALID_MESSAGE_FORMAT",
                _ if is_announce => code,
                _ => code,
            };
            let said = frame(&club.session_id, device_id, body);
            assert_eq!(hears(&mut club.rooms, connection, &said), [expected], "{name} by {device}, as {device_id}");
        }
        club.rooms.timeout(2_000);
        assert_eq!(club.rooms.hear(connection), [Value::Null; 0], "{device} hears nothing later");
    }
    for member in [ADMIN, MEMBER] {
        assert_eq!(club.rooms.hear(club.people[usize::from(member)].connection), [Value::Null; 0], "{member} hears nothing of it");
    }
    assert_eq!(club.rooms.journal[&club.session_id].entries.len(), entries);
    let wallets: Vec<_> = club.rooms.journal[&club.session_id].watermarks.keys().cloned().collect();
    assert!(!wallets.contains(&address(OTHER)), "{wallets:?}");
}

#[test]
fn of_a_wallet_that_is_in_it_other_applications_hear_nothing() {
    let mut club = club();
    let mut device = signer::Device::of(
        groups::wallet(MEMBER),
        signer::drawing(memory::Records::default(), 90),
        solconnect_sync_core::client::ClientConfig { domains: vec!["evil.example".into()], ..signer::config() },
        90,
    );
    device.talk(&mut club.rooms);
    let offer = device.client.offer(device.now, "evil.example", solconnect_sync_core::identity::Purpose::Join).unwrap();
    let signature = device.wallet.sign(offer.text().as_bytes());
    let certificate = solconnect_sync_core::identity::Certificate { text: offer.text(), signature };
    device.feed(Input::Certify { request: 3, certificate });
    device.talk(&mut club.rooms);
    device.again(&mut club.rooms);
    assert!(device.client.sessions().is_empty() && device.client.invitations().is_empty());
    for (name, body) in frames(&club, &device.id(), &address(MEMBER)) {
        let heard = hears(&mut club.rooms, device.connection, &frame(&club.session_id, &device.id(), body));
        assert_eq!(heard, [if name == "response" { "INVALID_MESSAGE_FORMAT" } else { "NOT_A_MEMBER" }], "{name}");
    }
}

#[test]
fn a_removed_device_of_a_member_is_heard_no_more() {
    let mut club = club();
    let second = joined(&mut club.rooms, MEMBER, 40);
    club.people.push(second);
    club.talk();
    let (connection, device_id) = (club.people[4].connection, club.people[4].id());
    club.people[usize::from(MEMBER)].remove(&device_id);
    club.people[usize::from(MEMBER)].talk(&mut club.rooms);
    club.people[usize::from(MEMBER)].talk(&mut club.rooms);
    assert!(club.rooms.closed.iter().any(|(closed, _)| *closed == connection), "its connection ends");
    club.rooms.hear(connection);
    for (name, body) in frames(&club, &device_id, &address(MEMBER)) {
        assert_eq!(hears(&mut club.rooms, connection, &frame(&club.session_id, &device_id, body)), [""; 0], "{name}");
    }
    club.writes(ADMIN, "without it").unwrap();
    club.people[0].talk(&mut club.rooms);
    assert_eq!(club.rooms.hear(connection), [Value::Null; 0]);
    // It comes again as nobody.
    club.rooms.open_binary(9_001);
    for (name, body) in frames(&club, &device_id, &address(MEMBER)) {
        let heard = hears(&mut club.rooms, 9_001, &frame(&club.session_id, &device_id, body));
        assert_eq!(heard, [if name == "response" { "INVALID_MESSAGE_FORMAT" } else { "NOT_A_MEMBER" }], "{name}");
    }
}

#[test]
fn a_member_says_all_but_what_only_admins_say() {
    let mut club = club();
    let (connection, device_id) = (club.people[usize::from(MEMBER)].connection, club.people[usize::from(MEMBER)].id());
    for (name, expected) in [
        ("announce", "device_list"),
        ("request", "sync_response"),
        ("heartbeat", "sync_heartbeat"),
        ("begin", "NOT_A_MEMBER"),
        ("add", "NOT_AN_ADMIN"),
        ("remove", "NOT_AN_ADMIN"),
        ("promote", "NOT_AN_ADMIN"),
        ("message", "sync_ack"),
    ] {
        // What follows a refused message of a chain is not taken before its device announces itself again.
        let announce = frames(&club, &device_id, &address(MEMBER)).remove(0).1;
        hears(&mut club.rooms, connection, &frame(&club.session_id, &device_id, announce));
        let (_, body) = frames(&club, &device_id, &address(MEMBER)).into_iter().find(|(other, _)| *other == name).unwrap();
        let heard = hears(&mut club.rooms, connection, &frame(&club.session_id, &device_id, body));
        assert!(heard.iter().any(|heard| heard == expected), "{name}: {heard:?}");
    }
}

#[test]
fn a_member_does_not_write_as_another() {
    let mut club = club();
    let (connection, device_id) = (club.people[usize::from(MEMBER)].connection, club.people[usize::from(MEMBER)].id());
    let admin = club.people[usize::from(ADMIN)].id();
    let remove = || Statement::Remove(vec![address(MEMBER)]).message();
    for (device, wallet, code) in [
        (&device_id, address(ADMIN), "INVALID_MESSAGE_FORMAT"),
        (&admin, address(ADMIN), "INVALID_MESSAGE_FORMAT"),
        (&admin, address(MEMBER), "INVALID_MESSAGE_FORMAT"),
    ] {
        let announce = frames(&club, &device_id, &address(MEMBER)).remove(0).1;
        hears(&mut club.rooms, connection, &frame(&club.session_id, &device_id, announce));
        let body = update(&club, device, &wallet, remove());
        assert_eq!(hears(&mut club.rooms, connection, &frame(&club.session_id, &device_id, body)), [code], "{device} {wallet}");
    }
    // What an admin said is repeated by its own device alone.
    club.wishes(ADMIN, GroupWish::Add(vec![address(OTHER)])).unwrap();
    let said: Vec<Vec<u8>> = club.people[0].sent.iter().cloned().collect();
    let frames: Vec<Frame> = said.iter().map(|bytes| Frame::from_bytes(bytes).unwrap()).collect();
    let replayed = frames.into_iter().find(|frame| matches!(frame.body, Body::SyncUpdate(_))).expect("an update");
    assert_eq!(hears(&mut club.rooms, connection, &replayed), ["WRONG_KEY"]);
    assert_eq!(club.members(MEMBER), "0! 1");
}

#[test]
fn what_waited_when_its_author_was_removed_is_not_stored() {
    let mut club = Club::of(3, &[MEMBER, FORMER]);
    club.rooms.held = Some(Default::default());
    club.wishes(ADMIN, GroupWish::Remove(vec![address(FORMER)])).unwrap();
    club.writes(ADMIN, "behind it").unwrap();
    club.people[0].talk(&mut club.rooms);
    // The relay is storing that; what comes meanwhile waits.
    club.writes(FORMER, "too late").unwrap();
    club.people[2].talk(&mut club.rooms);
    while club.rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        club.rooms.answer(false);
    }
    club.rooms.held = None;
    club.talk();
    assert_eq!((club.texts(MEMBER), club.texts(FORMER)), (vec!["behind it".to_owned()], vec![]));
    assert_eq!(club.membership(FORMER), Membership::Removed);
    let unsent = &club.people[2].client.unsent(&club.session_id)[0];
    assert_eq!(unsent.message.ciphertext, "too late");
}

#[test]
fn what_the_journal_reads_for_who_is_removed_is_not_served() {
    let mut club = Club::of(2, &[MEMBER]);
    // More than memory has: the journal is asked.
    for round in 0..300 {
        club.writes(ADMIN, &round.to_string()).unwrap();
    }
    let second = joined(&mut club.rooms, MEMBER, 40);
    club.people.push(second);
    let connection = club.people[2].connection;
    club.people[0].talk(&mut club.rooms);
    club.people[2].feed(Input::Timeout);
    club.rooms.held = Some(Default::default());
    let said = frame(&club.session_id, &club.people[2].id(), Body::SyncRequest(SyncRequest::default()));
    let announce = frames(&club, "x", &address(MEMBER)).remove(0).1;
    say(&mut club.rooms, connection, &frame(&club.session_id, &club.people[2].id(), announce));
    say(&mut club.rooms, connection, &said);
    club.wishes(ADMIN, GroupWish::Remove(vec![address(MEMBER)])).unwrap();
    club.people[0].talk(&mut club.rooms);
    // The removal is stored before the log is read.
    let questions = club.rooms.held.take().unwrap();
    let (reads, others): (Vec<_>, Vec<_>) =
        questions.into_iter().partition(|(_, question)| matches!(question, solconnect_sync_core::relay::JournalQuestion::Read { .. }));
    assert!(!reads.is_empty() && !others.is_empty());
    club.rooms.hear(connection);
    for (ticket, question) in others.into_iter().chain(reads) {
        let answer = club.rooms.ask(question).unwrap();
        club.rooms.feed(RelayInput::Journal { ticket, answer });
    }
    let heard = club.rooms.hear(connection);
    assert!(heard.iter().all(|heard| heard["type"] != "sync_response"), "{heard:?}");
}

#[test]
fn invitations_are_told_to_members_of_the_application_alone() {
    let mut club = club();
    let wallet = address(OTHER);
    let listed = |club: &mut Club, connection, device: &str| {
        let said = frame("", device, Body::WalletAnnounce(WalletAnnounce { wallet: wallet.clone(), ..WalletAnnounce::default() }));
        club.rooms.hear(connection);
        say(&mut club.rooms, connection, &said);
        club.rooms.hear(connection)[0]["sessions"].as_array().map(Vec::len)
    };
    club.rooms.open_binary(9_002);
    assert_eq!(listed(&mut club, 9_002, "stranger"), Some(0));
    club.wish(ADMIN, GroupWish::Add(addresses(&[OTHER]))).unwrap();
    assert_eq!(listed(&mut club, 9_002, "stranger"), Some(0), "whoever says that it is that wallet");
    let (connection, device) = (club.people[usize::from(OTHER)].connection, club.people[usize::from(OTHER)].id());
    assert_eq!(listed(&mut club, connection, &device), Some(1));
    club.remove(ADMIN, &[OTHER]).unwrap();
    assert_eq!(listed(&mut club, connection, &device), Some(0));
}

#[test]
fn what_is_numbered_with_a_removal_counts_at_its_place() {
    let mut club = Club::of(3, &[MEMBER, FORMER]);
    // Whose device that is must be known: who is removed is not told again what it could not take.
    club.write(MEMBER, "before").unwrap();
    club.talk();
    club.rooms.held = Some(Default::default());
    // While this is stored, what comes next waits, and is numbered at once.
    club.writes(MEMBER, "first").unwrap();
    club.people[1].talk(&mut club.rooms);
    club.wishes(ADMIN, GroupWish::Remove(vec![address(FORMER)])).unwrap();
    club.people[0].talk(&mut club.rooms);
    club.writes(FORMER, "too late").unwrap();
    club.people[2].talk(&mut club.rooms);
    while club.rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        club.rooms.answer(false);
    }
    club.rooms.held = None;
    club.talk();
    for number in [ADMIN, MEMBER, FORMER] {
        assert_eq!(club.texts(number), ["before", "first"], "{number}");
    }
    // Nor has the relay stored it for devices to leave out.
    let stored = &club.rooms.journal[&club.session_id].entries;
    assert!(stored.iter().all(|stored| stored.body.entries().unwrap()[0].message.ciphertext != "too late"));
    assert_eq!(club.membership(FORMER), Membership::Removed);
}

#[test]
fn an_update_that_is_refused_changes_nothing_of_the_group() {
    let mut club = Club::of(4, &[MEMBER]);
    let (connection, device) = (club.people[usize::from(ADMIN)].connection, club.people[usize::from(ADMIN)].id());
    let said = vec![
        Statement::Add(vec![address(OTHER)]).message(),
        Statement::Rename("Others".into()).message(),
        Statement::Remove(vec![address(ADMIN)]).message(),
        text("behind the removal"),
    ];
    let (entries, members) = (club.entries(ADMIN).len(), club.rooms.journal[&club.session_id].members.len());
    let body = updates(&club, &device, &address(ADMIN), said);
    assert_eq!(hears(&mut club.rooms, connection, &frame(&club.session_id, &device, body)), ["MEMBER_REMOVED"]);
    let rows = &club.rooms.journal[&club.session_id];
    assert_eq!((rows.entries.len(), rows.members.len()), (entries, members));
    // Who said so is a member as before.
    club.people[usize::from(ADMIN)].again(&mut club.rooms);
    club.write(ADMIN, "still here").unwrap();
    club.talk();
    assert_eq!((club.membership(ADMIN), club.texts(MEMBER)), (Membership::Member, vec!["still here".to_owned()]));
}

#[test]
fn nobody_announces_a_group_that_another_begins() {
    let mut club = Club::of(4, &[MEMBER]);
    let (connection, device) = (club.people[usize::from(OTHER)].connection, club.people[usize::from(OTHER)].id());
    let domains = DomainSet::new(vec![account::DOMAIN.into()]).unwrap();
    let (group, begin) = Group::draft(&address(ADMIN), domains, [5; 16], "Theirs", &[], false).unwrap();
    club.session_id = group.session_id().to_owned();
    club.rooms.journal.entry(club.session_id.clone()).or_default();
    let wallet = address(OTHER);
    for nonce in [None, Some([5; 16]), Some([6; 16])] {
        let body = Body::DeviceAnnounce(DeviceAnnounce { wallet: Some(wallet.clone()), group_nonce: nonce, ..DeviceAnnounce::default() });
        assert_eq!(hears(&mut club.rooms, connection, &frame(&club.session_id, &device, body)), ["NOT_A_MEMBER"], "{nonce:?}");
    }
    let body = update(&club, &device, &wallet, begin.message());
    assert_eq!(hears(&mut club.rooms, connection, &frame(&club.session_id, &device, body)), ["NOT_ANNOUNCED"]);
    assert!(club.rooms.journal[&club.session_id].entries.is_empty());
}
