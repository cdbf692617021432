//! Who was sealed rubbish, or nothing, asks for the secrets, and whoever has them gives them.

use crate::rooms::Rooms;
use crate::sealed::{address, again, joined, kinds, open, settle, texts, write};
use crate::sealed_faults::{Broken, Switch, switched};
use crate::signer::{Device, strict};
use solconnect_sync_core::client::{GroupWish, Input, Reply, SyncScope};
use solconnect_sync_core::identity::Purpose;
use solconnect_sync_core::message::Kind;

fn count(rooms: &Rooms, session_id: &str, kind: Kind) -> usize {
    kinds(rooms, session_id).iter().filter(|known| **known == kind.0).count()
}

/// Minutes pass, as often as a device may wait that asks or gives.
fn minutes(rooms: &mut Rooms, count: usize, devices: &mut [&mut Device]) {
    for _ in 0..4 * count {
        for device in devices.iter_mut() {
            device.now.monotonic_ms += 15_000;
            device.now.wall_ms += 15_000;
            device.feed(Input::Timeout);
        }
        rooms.timeout(15_000);
        settle(rooms, devices);
    }
}

/// Mallory, who can seal rubbish to Bob, with Bob and Carol in a group that has no epoch yet.
fn three(rooms: &mut Rooms) -> ([Device; 3], Switch, String) {
    let (mut mallory, switch) = switched(rooms, 0, 1);
    let (mut bob, mut carol) = (joined(rooms, 1, 2), joined(rooms, 2, 3));
    mallory.feed(Input::OpenGroup { request: 2, name: "tea".into(), members: vec![address(1), address(2)] });
    let Some(Ok(Reply::Session(view))) = mallory.replies.pop() else { panic!("no group") };
    let session_id = view.session_id;
    settle(rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    for device in [&mut bob, &mut carol] {
        device.feed(Input::AcceptSession { request: 3, session_id: session_id.clone() });
    }
    settle(rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    ([mallory, bob, carol], switch, session_id)
}

/// The same three: Bob lacks the first text, and stands in the last epoch, in which Carol has written.
fn lacking(rooms: &mut Rooms) -> ([Device; 3], String) {
    let ([mut mallory, mut bob, mut carol], switch, session_id) = three(rooms);
    switch.set(Broken::Gifts);
    write(&mut mallory, &session_id, "one");
    settle(rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    write(&mut carol, &session_id, "two");
    settle(rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    ([mallory, bob, carol], session_id)
}

#[test]
fn who_was_sealed_rubbish_is_given_the_secret() {
    let mut rooms = strict();
    let ([mut mallory, mut bob, mut carol], switch, session_id) = three(&mut rooms);
    switch.set(Broken::Gifts);
    write(&mut mallory, &session_id, "one");
    settle(&mut rooms, &mut [&mut mallory, &mut carol]);
    write(&mut carol, &session_id, "two");
    settle(&mut rooms, &mut [&mut mallory, &mut carol]);
    settle(&mut rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    assert_eq!(count(&rooms, &session_id, Kind::EPOCH), 2, "Bob begins one at once");
    // Mallory gives rubbish at once, and so Bob asks again: then it does not count that she gave.
    minutes(&mut rooms, 6, &mut [&mut mallory, &mut bob, &mut carol]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    assert!((2..=3).contains(&count(&rooms, &session_id, Kind::ASKS)), "{:?}", kinds(&rooms, &session_id));
    assert_eq!((bob.warnings(), bob.queued()), (vec![], 0));
}

#[test]
fn what_is_asked_for_is_given_by_who_comes_later() {
    let mut rooms = strict();
    let ([mut mallory, mut bob, mut carol], switch, session_id) = three(&mut rooms);
    switch.set(Broken::Gifts);
    write(&mut mallory, &session_id, "one");
    settle(&mut rooms, &mut [&mut mallory, &mut carol]);
    carol.feed(Input::SetOffline { offline: true });
    mallory.feed(Input::SetOffline { offline: true });
    minutes(&mut rooms, 3, &mut [&mut bob]);
    write(&mut bob, &session_id, "two");
    minutes(&mut rooms, 10, &mut [&mut bob]);
    assert_eq!(texts(&bob, &session_id), ["two"]);
    // It asks once, also where it starts again.
    let mut bob = again(bob, 62);
    minutes(&mut rooms, 3, &mut [&mut bob]);
    assert_eq!(count(&rooms, &session_id, Kind::ASKS), 1);
    carol.feed(Input::SetOffline { offline: false });
    minutes(&mut rooms, 2, &mut [&mut bob, &mut carol]);
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    assert_eq!(count(&rooms, &session_id, Kind::RESEAL), 1);
}

#[test]
fn who_wrote_to_a_wallet_without_a_key_is_asked_once() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    let session_id = open(&mut alice, 1);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice]);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    minutes(&mut rooms, 30, &mut [&mut bob]);
    assert_eq!(kinds(&rooms, &session_id), [Kind::EPOCH, Kind::MESSAGE, Kind::EPOCH, Kind::ASKS].map(|kind| kind.0));
    alice.feed(Input::SetOffline { offline: false });
    minutes(&mut rooms, 1, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one"]);
}

#[test]
fn who_gives_up_its_account_is_given_nothing_that_it_asks_for() {
    let mut rooms = strict();
    let ([mut mallory, mut bob, mut carol], switch, session_id) = three(&mut rooms);
    switch.set(Broken::Seals);
    write(&mut mallory, &session_id, "one");
    settle(&mut rooms, &mut [&mut mallory, &mut bob, &mut carol]);
    let certificate = bob.signed(Purpose::Reset);
    bob.feed(Input::Certify { request: 9, certificate });
    minutes(&mut rooms, 1, &mut [&mut bob]);
    write(&mut bob, &session_id, "two");
    minutes(&mut rooms, 10, &mut [&mut mallory, &mut bob, &mut carol]);
    assert_eq!(texts(&bob, &session_id), ["two"]);
    assert_eq!(count(&rooms, &session_id, Kind::RESEAL), 0);
}

#[test]
fn a_device_that_came_behind_the_last_epoch_asks_too() {
    let mut rooms = strict();
    let ([mut mallory, mut bob, mut carol], session_id) = lacking(&mut rooms);
    let epochs = count(&rooms, &session_id, Kind::EPOCH);
    // Bob's next device is approved, and the first one is never seen again.
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    bob.feed(Input::SetOffline { offline: true });
    mallory.feed(Input::SetOffline { offline: true });
    minutes(&mut rooms, 4, &mut [&mut phone, &mut carol]);
    assert_eq!(texts(&phone, &session_id), ["one", "two"]);
    assert_eq!(count(&rooms, &session_id, Kind::EPOCH), epochs + 1, "it stands in no earlier one");
}

/// Bob's phone, which is approved and cannot open the newest key of the account, where nobody is left to give it what it lacks.
fn phone_without_newest_key(rooms: &mut Rooms) -> (Device, Device, String) {
    let ([mut mallory, mut bob, mut carol], session_id) = lacking(rooms);
    let (mut phone, keys) = switched(rooms, 1, 4);
    settle(rooms, &mut [&mut bob, &mut phone]);
    let tablet = joined(rooms, 1, 5);
    settle(rooms, &mut [&mut bob, &mut phone]);
    keys.set(Broken::Keys);
    bob.remove(&tablet.id());
    settle(rooms, &mut [&mut bob, &mut phone]);
    bob.feed(Input::SetOffline { offline: true });
    mallory.feed(Input::SetOffline { offline: true });
    phone.events.clear();
    minutes(rooms, 3, &mut [&mut phone, &mut carol]);
    phone.replies.clear();
    (phone, carol, session_id)
}

#[test]
fn who_lacks_the_newest_key_asks_for_nothing_and_syncs() {
    let mut rooms = strict();
    let (mut phone, mut carol, session_id) = phone_without_newest_key(&mut rooms);
    phone.feed(Input::Sync { request: 9, session_id: Some(session_id), scope: SyncScope::Everything });
    minutes(&mut rooms, 1, &mut [&mut phone, &mut carol]);
    assert_eq!(phone.warnings(), []);
    assert!(phone.replies.pop().unwrap().is_ok());
}

#[test]
fn what_nobody_wrote_holds_up_no_leaving() {
    let mut rooms = strict();
    let (mut phone, mut carol, session_id) = phone_without_newest_key(&mut rooms);
    let before = count(&rooms, &session_id, Kind::GROUP);
    phone.feed(Input::Regroup { request: 9, session_id: session_id.clone(), wish: GroupWish::Leave });
    minutes(&mut rooms, 1, &mut [&mut phone, &mut carol]);
    assert_eq!(count(&rooms, &session_id, Kind::GROUP), before + 1);
}

#[test]
fn many_devices_that_come_behind_the_last_epoch_begin_one() {
    let mut rooms = strict();
    let ([mut mallory, mut bob, mut carol], session_id) = lacking(&mut rooms);
    let epochs = count(&rooms, &session_id, Kind::EPOCH);
    let mut phones: Vec<Device> = (4..10).map(|number| joined(&mut rooms, 1, number)).collect();
    settle(&mut rooms, &mut phones.iter_mut().chain([&mut bob]).collect::<Vec<_>>());
    bob.feed(Input::SetOffline { offline: true });
    carol.feed(Input::SetOffline { offline: true });
    minutes(&mut rooms, 40, &mut phones.iter_mut().chain([&mut mallory]).collect::<Vec<_>>());
    assert_eq!(count(&rooms, &session_id, Kind::EPOCH), epochs + 1);
}
