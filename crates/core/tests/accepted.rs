//! `acceptRelayLog`: the way on where a relay was set back.

use std::collections::BTreeSet;

use crate::scene::Scene;
use solconnect_sync_core::client::{Event, Input, MessageStatus};
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
        scene.check_all_have_all_once(seed);
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
        scene.all_accept();
        scene.check_all_have_all_once(seed);
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
    let stored = scene.devices[place].parted_logs();
    let device = &mut scene.devices[place];
    device.fails = true;
    device.accept(stored);
    device.fails = false;
    assert_eq!((scene.texts(place), scene.devices[place].queued()), (before, 0));
    assert_eq!(scene.devices[place].client.parted(), [scene.session()]);
    scene.meet();
    for place in 0..scene.devices.len() {
        scene.accept(place);
        scene.meet();
    }
    scene.check_all_have_all(3);
}

#[test]
fn who_comes_back_behind_what_others_wrote_offers_all_of_its_own() {
    for seed in SEEDS {
        let mut scene = Scene::new(seed);
        for _ in 0..3 {
            scene.chat();
        }
        scene.meet();
        let end = scene.below(scene.rows().len());
        scene.rewrite(|entries| entries.truncate(end));
        scene.restart_relay();
        // The relay may have less than the last one has stored when that comes back, and another log there.
        let away = scene.devices.len() - 1;
        for place in 0..away {
            scene.come_back(place);
            scene.accept(place);
            scene.come_back(place);
            scene.write_alone(place);
        }
        scene.come_back(away);
        scene.meet();
        scene.all_accept();
        scene.check_all_have_all_once(seed);
    }
}

#[test]
fn what_was_written_under_an_earlier_id_is_offered_again_too() {
    for seed in SEEDS {
        let mut scene = set_back(seed);
        for _ in 0..2 {
            scene.all_accept();
            scene.lose_some();
            scene.restart();
            scene.meet();
        }
        scene.all_accept();
        scene.check_all_have_all(seed);
    }
}

#[test]
fn a_log_that_was_not_read_as_a_whole_is_kept() {
    let mut scene = set_back(7);
    let place = (0..scene.devices.len()).find(|place| !scene.own_behind(*place).is_empty()).expect("one with some of its own");
    let before = scene.texts(place);
    // The session stopped, or its log grew, while others were read.
    let mut shorter = scene.devices[place].parted_logs();
    shorter[0].end -= 1;
    shorter[0].entries.pop();
    for stored in [Vec::new(), shorter] {
        assert_eq!(scene.accept_with(place, stored), 0);
        assert_eq!(scene.texts(place), before);
        assert_eq!(scene.devices[place].client.parted(), [scene.session()]);
    }
    for place in 0..scene.devices.len() {
        scene.accept(place);
    }
    scene.meet();
    scene.meet();
    scene.check_all_have_all(7);
}

#[test]
fn what_is_offered_again_waits_and_cannot_be_cancelled() {
    let mut scene = Scene::new(7);
    scene.chat();
    scene.meet();
    scene.write_alone(0);
    scene.settle(0);
    // The relay has acknowledged this one too, and its place is not stored.
    scene.write_alone(0);
    let end = scene.rows().len() - 2;
    scene.rewrite(|entries| entries.truncate(end));
    scene.restart();
    let device = &mut scene.devices[0];
    let stored = device.parted_logs();
    assert_eq!(device.accept(stored), 1);
    let waiting = device.client.queued();
    assert_eq!(waiting.iter().map(|message| message.status).collect::<Vec<_>>(), [MessageStatus::Queued; 2]);
    for message in waiting {
        device.feed(Input::Cancel { request: 12, message_id: message.id });
        assert_eq!(device.refused(), Some(ErrorCode::MessageSent));
    }
    scene.meet();
    scene.accept(1);
    scene.meet();
    scene.check(7);
}

#[test]
fn what_was_deleted_and_is_offered_again_stays_deleted() {
    let mut scene = Scene::new(11);
    scene.write_alone(0);
    scene.meet();
    let message_id = scene.shown(0).last().expect("a message").id.clone();
    scene.change(0, &message_id, Some("edited"));
    scene.meet();
    let end = scene.rows().len();
    scene.change(0, &message_id, None);
    scene.meet();
    scene.rewrite(|entries| entries.truncate(end));
    scene.restart_relay();
    // The others go on, and the log is another than that of who deleted it.
    for place in 1..scene.devices.len() {
        scene.come_back(place);
        scene.accept(place);
        scene.come_back(place);
        scene.write_alone(place);
        scene.write_alone(place);
    }
    scene.come_back(0);
    assert!(scene.devices[0].warnings().contains(&ErrorCode::RelayForked));
    scene.accept(0);
    scene.meet();
    for place in 0..scene.devices.len() {
        let shown = scene.shown(place);
        let message = shown.iter().find(|message| message.id == message_id).expect("it is there");
        assert!(message.deleted, "device {place} shows {:?}", message.text);
    }
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
