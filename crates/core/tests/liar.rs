//! A relay that lies, with its own key, to devices that talk: what they tell the application, from seeds. And members that sign
//! garbage, at a relay that is honest. Only what devices show is looked at. The simulated world has the same lies among all its other
//! faults (`crates/sim/src/liar.rs`); here each stands alone, and is found in a second.

use crate::account;
use crate::signer;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, SyncUpdate};
use solconnect_sync_core::identity::{DeviceKey, UpdateSignature};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::relay::StoredEntry;

use crate::scene::{Scene, bend};

const SEEDS: u64 = 20;

const LOG_CODES: [ErrorCode; 2] = [ErrorCode::RelayForked, ErrorCode::RelayRolledBack];

/// Runs every seed to where the relay begins to lie, and as far as two entries that are exchanged then. Some device must have told
/// the application one of these codes.
fn is_noticed(codes: &[ErrorCode], lie: fn(&mut Scene)) {
    for seed in 0..SEEDS {
        let mut scene = Scene::new(seed);
        scene.chat();
        scene.meet();
        lie(&mut scene);
        scene.exchange();
        scene.exchange();
        let told = scene.warnings();
        assert!(told.iter().any(|code| codes.contains(code)), "seed {seed}: devices told {told:?}");
        scene.check(seed);
    }
}

#[test]
fn an_honest_relay_is_never_accused() {
    for seed in 0..SEEDS * 4 {
        let mut scene = Scene::new(seed);
        for _ in 0..3 {
            scene.chat();
            scene.restart();
        }
        scene.chat();
        scene.meet();
        assert_eq!(scene.warnings(), [], "seed {seed}");
        scene.check(seed);
        scene.check_all_have_all(seed);
    }
}

#[test]
fn an_acknowledged_entry_that_is_dropped_is_noticed() {
    is_noticed(&LOG_CODES, |scene| {
        // One that no later entry says it knows of: an entry cannot be at a place that it knows.
        let rows = scene.rows();
        let knows = |stored: &StoredEntry| stored.body.entries().unwrap()[0].knows;
        let fits = |place: &usize| rows[place + 1..].iter().all(|later| knows(later) < later.sequence - 1);
        let places: Vec<usize> = (0..rows.len()).filter(fits).collect();
        let place = places[scene.below(places.len())];
        scene.rewrite(|entries| drop(entries.remove(place)));
        scene.restart();
    });
}

#[test]
fn a_log_that_is_set_back_is_noticed() {
    is_noticed(&LOG_CODES, |scene| {
        let end = scene.below(scene.rows().len());
        scene.rewrite(|entries| entries.truncate(end));
        scene.restart();
    });
}

#[test]
fn an_entry_under_a_second_counter_is_noticed() {
    is_noticed(&[ErrorCode::EntryForged], |scene| {
        let mut again = scene.rows().pop().unwrap();
        again.counter += 1;
        let counter = again.counter;
        bend(&mut again, |entry| entry.counter = counter);
        if let Some(signature) = &mut again.signature {
            signature.counter = counter;
        }
        scene.rewrite(|entries| entries.push(again));
        scene.restart();
    });
}

#[test]
fn an_entry_that_is_shown_twice_is_noticed() {
    is_noticed(&[ErrorCode::RelayMisbehaved], |scene| {
        scene.bend_what_all_hear(|frame| {
            let Body::SyncResponse(response) = &mut frame.body else { return };
            let mut entries = response.messages.entries().unwrap();
            if let Some(last) = entries.last().cloned() {
                let sequence_number = last.sequence_number + 1;
                entries.push(Entry { sequence_number, ..last });
                response.messages = Batch::of(&entries).unwrap();
                response.latest_sequence = sequence_number;
            }
        });
    });
}

#[test]
fn entries_in_another_order_are_noticed() {
    is_noticed(&LOG_CODES, |scene| {
        scene.write_at_once();
        scene.rewrite(|entries| {
            let end = entries.len();
            entries.swap(end - 2, end - 1);
        });
        scene.restart();
    });
}

#[test]
fn a_log_for_each_device_is_noticed_by_the_second_entry_of_the_other() {
    for seed in 0..SEEDS {
        let mut scene = Scene::new(seed);
        scene.chat();
        let common = scene.rows();
        let (here, there) = scene.two_of_them();
        scene.only(there, 2);
        let theirs = scene.rows().split_off(common.len());
        assert_eq!(theirs.len(), 2);
        scene.rewrite(|entries| *entries = common);
        scene.restart_relay();
        scene.only(here, 1);
        scene.rewrite(|entries| entries.extend(theirs));
        scene.restart_relay();
        scene.come_back(here);
        assert_eq!(scene.devices[here].warnings(), [ErrorCode::RelayForked], "seed {seed}");
        scene.check(seed);
    }
}

#[test]
fn an_entry_that_nobody_wrote_is_noticed() {
    let forms: [fn(&mut Scene, &mut StoredEntry); 3] = [
        |_, invented| invented.signature = None,
        |_, invented| invented.signature.as_mut().unwrap().counter = invented.counter,
        |scene, invented| {
            // The relay signs with a key of its own.
            let (key, session) = (account::key(200), scene.session().to_owned());
            let seen = invented.signature.as_ref().unwrap().seen;
            let signature = UpdateSignature::sign(&key, &session, invented.counter, &[1; 32], seen);
            invented.signature = Some(signature);
        },
    ];
    for form in forms {
        for seed in 0..SEEDS / 2 {
            let mut scene = Scene::new(seed);
            scene.chat();
            let mut invented = scene.rows().pop().unwrap();
            invented.counter += 1;
            let counter = invented.counter;
            bend(&mut invented, |entry| {
                entry.counter = counter;
                entry.message.ciphertext = "nobody wrote this".into();
            });
            form(&mut scene, &mut invented);
            scene.rewrite(|entries| entries.push(invented));
            scene.restart();
            scene.exchange();
            scene.exchange();
            assert!(scene.warnings().contains(&ErrorCode::EntryForged), "seed {seed}: {:?}", scene.warnings());
            scene.check(seed);
        }
    }
}

#[test]
fn an_entry_of_another_session_is_noticed() {
    is_noticed(&[ErrorCode::EntryForged], |scene| {
        let (mut moved, session) = (scene.write_elsewhere(), scene.session().to_owned());
        let counter = scene.next_counter(&moved.device_id);
        moved.counter = counter;
        bend(&mut moved, |entry| {
            entry.message.id = entry.message.id.replace(&entry.message.session_id, &session);
            entry.message.session_id = session;
            entry.counter = counter;
        });
        moved.signature.as_mut().unwrap().counter = counter;
        scene.rewrite(|entries| entries.push(moved));
        scene.restart();
    });
}

/// Also of a wallet that has no device in the session, and of one's own.
#[test]
fn a_device_that_its_wallet_never_had_is_noticed() {
    is_noticed(&[ErrorCode::EntryForged], |scene| {
        let wallets = [signer::PEER.to_owned(), scene.devices[0].address()];
        let place = scene.below(2);
        scene.make_up_device(&wallets[place], Some(&DeviceKey::from_secret(&[7; 32])));
        scene.restart();
    });
}

#[test]
fn a_device_without_a_key_is_noticed() {
    is_noticed(&[ErrorCode::EntryForged], |scene| {
        let wallets = [signer::PEER.to_owned(), scene.devices[0].address()];
        let place = scene.below(2);
        scene.make_up_device(&wallets[place], None);
        scene.restart();
    });
}

#[test]
fn what_is_acknowledged_and_not_stored_is_noticed() {
    is_noticed(&LOG_CODES, |scene| {
        let (here, _) = scene.two_of_them();
        scene.write_alone(here);
        scene.settle(here);
        scene.rewrite(|entries| drop(entries.pop()));
        scene.restart();
    });
}

/// An honest relay takes nothing of it, and no other device hears of it.
#[test]
fn who_signs_garbage_has_nobody_accuse_the_relay() {
    // It signs with its key what it likes.
    type Form = fn(&mut SyncUpdate, &dyn Fn(&SyncUpdate, LogHead) -> UpdateSignature);
    let forms: [Form; 5] = [
        |update, _| update.signature = None,
        |update, _| update.signature.as_mut().unwrap().signature = [7; 64],
        |update, _| update.last_digest = [7; 32],
        |update, sign| {
            let seen = update.signature.as_ref().unwrap().seen;
            update.signature = Some(sign(update, LogHead { hash: [7; 32], ..seen }));
        },
        |update, sign| {
            let seen = update.signature.as_ref().unwrap().seen;
            update.signature = Some(sign(update, LogHead { sequence: seen.sequence + 1_000, ..seen }));
        },
    ];
    for form in forms {
        for seed in 0..SEEDS / 2 {
            let mut scene = Scene::new(seed);
            scene.chat();
            scene.meet();
            let (bad, _) = scene.two_of_them();
            let secret = scene.devices[bad].records.identity.as_ref().unwrap().secret.clone();
            let (key, session) = (DeviceKey::from_secret(&secret.try_into().unwrap()), scene.session().to_owned());
            scene.devices[bad].says = Some(Box::new(move |frame| {
                let Body::SyncUpdate(update) = &mut frame.body else { return };
                form(update, &|update, seen| {
                    let counter = update.messages.entries().unwrap().last().unwrap().counter;
                    UpdateSignature::sign(&key, &session, counter, &update.last_digest, seen)
                });
            }));
            let before = scene.rows().len();
            scene.write_alone(bad);
            assert_eq!(scene.rows().len(), before, "seed {seed}: it is refused");
            let out = scene.devices.swap_remove(bad);
            assert!(out.heard.iter().any(|frame| matches!(frame.body, Body::Error(_))), "seed {seed}: who said it is told");
            scene.chat();
            scene.restart();
            scene.chat();
            scene.meet();
            assert_eq!(scene.warnings(), [], "seed {seed}");
            scene.check(seed);
        }
    }
}
