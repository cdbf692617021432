//! `acceptRelayLog`: the way on where a relay was set back.

mod account;
#[allow(dead_code, reason = "each test binary uses what it needs")]
#[path = "conformance/memory.rs"]
mod memory;
mod rooms;
#[allow(dead_code, reason = "each test binary uses what it needs")]
mod scene;
mod signer;

use std::collections::BTreeSet;

use scene::Scene;
use solconnect_sync_core::client::{Event, MessageStatus};
use solconnect_sync_core::error::ErrorCode;

const SEEDS: std::ops::Range<u64> = 0..20;

/// Everybody has everything. Then a backup is put back, and all find out.
fn set_back(seed: u64) -> Scene {
    let mut scene = Scene::new(seed);
    for _ in 0..3 {
        scene.chat();
    }
    scene.meet();
    let end = scene.below(scene.rows().len());
    scene.rewrite(|entries| entries.truncate(end));
    scene.restart();
    scene.meet();
    assert!(scene.warnings().contains(&ErrorCode::RelayRolledBack), "seed {seed}");
    scene
}

#[test]
fn what_a_backup_forgot_is_offered_again_by_its_authors() {
    for seed in SEEDS {
        let mut scene = set_back(seed);
        let forgotten = scene.written_count() - scene.rows().len();
        let mut offered = 0;
        for place in 0..scene.devices.len() {
            offered += scene.accept(place);
            scene.meet();
        }
        scene.meet();
        assert_eq!(offered, forgotten as u64, "seed {seed}");
        scene.check(seed);
        scene.check_all_have_all(seed);
    }
}

#[test]
fn who_accepts_before_others_and_after_them_has_the_same_log() {
    for seed in SEEDS {
        let mut scene = set_back(seed);
        let first = scene.below(scene.devices.len());
        scene.accept(first);
        scene.write_alone(first);
        scene.meet();
        for place in 0..scene.devices.len() {
            scene.accept(place);
        }
        scene.meet();
        scene.meet();
        scene.check(seed);
        scene.check_all_have_all(seed);
    }
}

#[test]
fn what_is_offered_again_is_told_as_queued_and_keeps_its_name() {
    let mut scene = set_back(7);
    let place = (0..scene.devices.len()).find(|place| scene.own_behind(*place).len() > 1).expect("one with some of its own");
    let names: BTreeSet<String> = scene.own_behind(place).into_iter().map(|entry| entry.message.id).collect();
    scene.devices[place].events.clear();
    scene.accept(place);
    let told = scene.devices[place].events.iter().filter_map(|event| match event {
        Event::StatusChanged { message_id, status: MessageStatus::Queued, .. } => Some(message_id.clone()),
        _ => None,
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), names);
    let count = names.len() as u64;
    let replaced = |event: &Event| matches!(event, Event::LogReplaced { offered_count, .. } if *offered_count == count);
    assert!(scene.devices[place].events.iter().any(replaced));
    scene.meet();
    let stored: BTreeSet<String> = scene.rows().iter().map(|stored| stored.body.entries().unwrap()[0].message.id.clone()).collect();
    assert!(names.is_subset(&stored), "{names:?} {stored:?}");
}

#[test]
fn a_commit_that_fails_leaves_the_session_as_it_was() {
    let mut scene = set_back(3);
    let place = (0..scene.devices.len()).find(|place| !scene.own_behind(*place).is_empty()).expect("one with some of its own");
    let before = scene.texts(place);
    scene.devices[place].fails = true;
    scene.accept(place);
    scene.devices[place].fails = false;
    assert_eq!((scene.texts(place), scene.devices[place].queued()), (before, 0));
    scene.meet();
    for place in 0..scene.devices.len() {
        scene.accept(place);
        scene.meet();
    }
    scene.check_all_have_all(3);
}

#[test]
fn where_nothing_stopped_nothing_is_accepted() {
    let mut scene = Scene::new(5);
    scene.chat();
    scene.meet();
    assert_eq!(scene.accept(0), 0);
    scene.meet();
    scene.check_all_have_all(5);
}
