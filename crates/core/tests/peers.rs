//! Whose the devices are that write: a device follows the account logs of those who write to it. Machines of both sides, over stores in
//! memory.

use crate::account;
use crate::groups::{Club, address, again, joined, wallet};
use crate::rooms::Rooms;
use crate::signer;
use crate::signer::{Device, all_talk, strict};
use solconnect_sync_core::client::{Event, Input};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame};
use solconnect_sync_core::identity::{DomainSet, Purpose};
use solconnect_sync_core::ids::public_key;

const ALICE: u8 = 1;
const BOB: u8 = 2;

/// Opens the session with another wallet.
fn meet(device: &mut Device, peer: u8) {
    device.feed(Input::OpenSession { request: 2, peer_wallet: address(peer) });
}

/// Alice and Bob with a device each, who both are in their session.
fn pair(rooms: &mut Rooms) -> [Device; 2] {
    let (mut alice, mut bob) = (joined(rooms, ALICE, 1), joined(rooms, BOB, 2));
    meet(&mut alice, BOB);
    meet(&mut bob, ALICE);
    all_talk(rooms, &mut [&mut alice, &mut bob]);
    [alice, bob]
}

fn account_id(number: u8) -> String {
    DomainSet::new(vec![account::DOMAIN.into()]).unwrap().account_id(&public_key(&address(number)).unwrap())
}

/// The texts that it was told of, in order.
fn told(device: &Device) -> Vec<String> {
    let text = |event: &Event| if let Event::MessageReceived { entry, .. } = event { Some(entry.message.ciphertext.clone()) } else { None };
    device.events.iter().filter_map(text).collect()
}

/// How often it was answered of the account of a wallet.
fn answers(device: &Device, number: u8) -> usize {
    let id = account_id(number);
    let is_answer = |frame: &&Frame| {
        frame.head.session_id == id && matches!(&frame.body, Body::SyncResponse(response) if response.in_reply_to.is_some())
    };
    device.heard.iter().filter(is_answer).count()
}

fn known(device: &Device, number: u8) -> usize {
    device.client.account_of(&address(number)).map_or(0, |account| account.devices().len())
}

#[test]
fn a_wallet_is_asked_about_once_for_each_device() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    for text in ["one", "two", "three"] {
        alice.send(text);
        all_talk(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    assert_eq!((told(&bob), answers(&bob, ALICE), known(&bob, ALICE)), (vec!["one".into(), "two".into(), "three".into()], 1, 1));
    assert_eq!((bob.warnings(), alice.warnings()), (vec![], vec![]));

    // What it found out is stored.
    let mut bob = again(bob, 3);
    bob.talk(&mut rooms);
    alice.send("four");
    all_talk(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((told(&bob), answers(&bob, ALICE)), (vec!["four".to_owned()], 0));
}

#[test]
fn a_device_that_has_just_joined_is_believed_at_once() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    alice.send("one");
    all_talk(&mut rooms, &mut [&mut alice, &mut bob]);
    // What waits goes out with the connection on which the device joins.
    let mut other = Device::of(wallet(ALICE), signer::drawing(Default::default(), 7), signer::config(), 7);
    meet(&mut other, BOB);
    other.send("of the new one");
    other.talk(&mut rooms);
    other.sign();
    all_talk(&mut rooms, &mut [&mut other, &mut bob, &mut alice]);
    assert_eq!((told(&bob), known(&bob, ALICE)), (vec!["one".into(), "of the new one".into()], 2));
    assert_eq!(told(&alice), ["of the new one"], "it is one of its own wallet");
    assert_eq!((bob.warnings(), alice.warnings()), (vec![], vec![]));
}

#[test]
fn nothing_is_shown_before_the_relay_has_answered() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    bob.bends = Some(|frame| {
        if matches!(frame.body, Body::SyncResponse(_)) && frame.head.session_id.starts_with("account:") {
            frame.head.session_id = "account:lost".into();
            frame.body = Body::SyncHeartbeat(Default::default());
        }
    });
    for text in ["one", "two"] {
        alice.send(text);
        all_talk(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    assert_eq!((told(&bob), bob.records.log.len(), bob.warnings()), (vec![], 0, vec![]));
    bob.now.monotonic_ms += 10_000;
    bob.feed(Input::Timeout);
    assert!(!bob.is_connected, "a relay that does not answer is left");
    bob.bends = None;
    bob.again(&mut rooms);
    assert_eq!((told(&bob), bob.warnings()), (vec!["one".into(), "two".into()], vec![]), "nothing is lost, and nothing is there twice");
}

#[test]
fn what_a_removed_device_wrote_is_read_by_who_comes_later() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    let mut other = joined(&mut rooms, ALICE, 7);
    meet(&mut other, BOB);
    other.send("before");
    all_talk(&mut rooms, &mut [&mut other, &mut alice, &mut bob]);
    alice.remove(&other.id());
    alice.talk(&mut rooms);
    assert_eq!(alice.refused(), None);
    let mut late = joined(&mut rooms, BOB, 9);
    late.talk(&mut rooms);
    let stored: Vec<_> =
        late.records.log(&late.client.sessions()[0].session_id).iter().flat_map(|record| record.entries().unwrap()).collect();
    let texts: Vec<String> = stored.into_iter().map(|entry| entry.message.ciphertext).collect();
    assert_eq!((texts, known(&late, ALICE), late.warnings()), (vec!["before".to_owned()], 1, vec![]));
}

#[test]
fn an_account_that_was_set_back_stops_the_session() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    let mut other = joined(&mut rooms, ALICE, 7);
    meet(&mut other, BOB);
    other.send("one");
    all_talk(&mut rooms, &mut [&mut other, &mut alice, &mut bob]);
    assert_eq!(known(&bob, ALICE), 2);
    // The relay forgets both devices, and a third one comes.
    rooms.journal.remove(&account_id(ALICE));
    rooms.restart();
    let mut third = joined(&mut rooms, ALICE, 8);
    meet(&mut third, BOB);
    third.send("two");
    third.talk(&mut rooms);
    bob.again(&mut rooms);
    assert_eq!((told(&bob), bob.warnings()), (vec!["one".to_owned()], vec![ErrorCode::RelayRolledBack]));
    assert_eq!(known(&bob, ALICE), 2, "it keeps what it knew");
}

#[test]
fn an_account_that_is_another_stops_the_session() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    alice.send("one");
    all_talk(&mut rooms, &mut [&mut alice, &mut bob]);
    rooms.journal.remove(&account_id(ALICE));
    rooms.restart();
    let mut other = joined(&mut rooms, ALICE, 8);
    meet(&mut other, BOB);
    other.send("two");
    other.talk(&mut rooms);
    bob.again(&mut rooms);
    assert_eq!((told(&bob), bob.warnings()), (vec!["one".to_owned()], vec![ErrorCode::RelayForked]));
}

#[test]
fn a_certificate_of_another_application_lists_nobody() {
    let mut rooms = strict();
    let [mut alice, mut bob] = pair(&mut rooms);
    // The same wallet elsewhere has an account, and a session with Bob, of its own.
    let config = solconnect_sync_core::client::ClientConfig { domains: vec!["other.example".into()], ..signer::config() };
    let mut elsewhere = Device::of(wallet(ALICE), signer::drawing(Default::default(), 7), config, 7);
    meet(&mut elsewhere, BOB);
    elsewhere.talk(&mut rooms);
    let offer = elsewhere.client.offer(elsewhere.now, "other.example", Purpose::Join).unwrap();
    let signature = elsewhere.wallet.sign(offer.text().as_bytes());
    let certificate = solconnect_sync_core::identity::Certificate { text: offer.text(), signature };
    elsewhere.feed(Input::Certify { request: 3, certificate });
    elsewhere.send("from elsewhere");
    all_talk(&mut rooms, &mut [&mut elsewhere, &mut alice, &mut bob]);
    assert_eq!(elsewhere.queued(), 0);
    assert_ne!(elsewhere.client.sessions()[0].session_id, alice.client.sessions()[0].session_id);
    assert_eq!((told(&bob), bob.client.invitations().len()), (vec![], 0));
}

#[test]
fn in_a_group_the_devices_of_every_wallet_are_known() {
    let mut club = Club::new(strict(), 6, &[1, 2, 3, 4, 5]);
    for place in 0..6 {
        club.write(place, &format!("from {place}")).unwrap();
    }
    club.write(0, "and again").unwrap();
    for place in 0..6 {
        let texts = club.texts(place);
        assert!((0..6).all(|number| texts.contains(&format!("from {number}"))), "{place} has {texts:?}");
        let device = &club.people[usize::from(place)];
        assert_eq!(device.warnings(), []);
        // Its own account comes by itself.
        let others = (0..6).filter(|number| *number != place);
        assert!(others.clone().all(|number| known(device, number) == 1), "{place}");
        assert_eq!(others.map(|number| answers(device, number)).max(), Some(1), "{place}");
    }
}
