//! Which of several tabs owns the store, and which cannot take part.

use crate::tabs::{Browser, config, message};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::tab::{Action, Input, Kind, Message, Role, TabConfig};

#[test]
fn a_hidden_owner_gives_way_to_a_visible_tab() {
    let mut browser = Browser::new();
    browser.open(1, true);
    browser.open(2, false);
    browser.open(3, true);
    browser.feed(1, Input::Visible { visible: false });
    browser.pass(900);
    assert_eq!(browser.owners(), [1]);
    browser.pass(200);
    // The second was next in the queue, and lets go as well.
    assert_eq!(browser.owners(), [3]);
    assert_eq!(browser.did(1, |action| *action == Action::Steal), 0);
}

#[test]
fn a_hidden_owner_stays_where_all_are_hidden() {
    let mut browser = Browser::new();
    (1..=3).for_each(|id| browser.open(id, false));
    browser.pass(60_000);
    assert_eq!((browser.owners(), browser.claim), (vec![1], 1));
}

#[test]
fn a_dead_visible_tab_is_given_way_to_once() {
    for has_locks in [true, false] {
        let mut browser = if has_locks { Browser::new() } else { Browser::without_locks() };
        browser.open(1, false);
        browser.pass(600);
        browser.open(2, true);
        // It dies without a word before it can take the lock.
        browser.kill(2);
        browser.pass(100_000);
        assert_eq!(browser.owners(), [1]);
        assert!(browser.claim <= 3, "{} starts", browser.claim);
    }
}

#[test]
fn a_visible_tab_whose_lock_request_came_late_gets_another_turn() {
    let mut browser = Browser::new();
    browser.open(1, false);
    browser.pass(2_000);
    let given_way = |browser: &Browser| browser.did(1, |action| *action == Action::Unlock);
    // It says hello, and its request for the lock is not in the queue yet when it is given way to.
    browser.hear(1, message(2, Kind::Hello, 0));
    assert_eq!((browser.owners(), given_way(&browser)), (vec![1], 1));
    // It follows, so it lives, and by now the request is there.
    let claim = browser.claim;
    browser.hear(1, Message { to: Some(1), ..message(2, Kind::Seen, claim) });
    assert_eq!(given_way(&browser), 2);
}

#[test]
fn a_tab_that_is_seen_anew_is_given_way_to_again() {
    let mut browser = Browser::new();
    browser.open(1, false);
    browser.open(2, false);
    for owner in [2, 1, 2, 1] {
        let other = 3 - owner;
        browser.feed(other, Input::Visible { visible: false });
        browser.feed(owner, Input::Visible { visible: true });
        browser.pass(2_100);
        assert_eq!(browser.owners(), [owner]);
    }
}

#[test]
fn a_newer_version_takes_over_at_once() {
    for has_locks in [true, false] {
        let mut browser = if has_locks { Browser::new() } else { Browser::without_locks() };
        browser.open(1, true);
        browser.open(2, true);
        browser.pass(1_000);
        browser.page_mut(1).is_engine_held = true;
        let call = browser.call(2, "a");
        browser.open_as(TabConfig { protocol: 2, has_locks, ..config(3) }, false);
        assert_eq!(browser.owners(), [3]);
        assert_eq!(browser.page(1).role, Role::Following { claim: 2 }, "it is spoken to in its own version");
        assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
    }
}

#[test]
fn a_newer_tab_that_missed_its_turn_gets_another() {
    let mut browser = Browser::with_tabs(1);
    browser.open_as(TabConfig { protocol: 2, ..config(2) }, true);
    assert_eq!(browser.owners(), [2]);
    // It stands still while the older one owns again, and gives way to it in vain.
    browser.halt(2);
    browser.open(3, true);
    browser.pass(3_500);
    assert_ne!(browser.owners(), [2]);
    browser.thaw(2);
    browser.pass(3_000);
    assert_eq!(browser.owners(), [2]);
}

#[test]
fn without_locks_a_dead_better_tab_has_one_turn() {
    let mut browser = Browser::without_locks();
    browser.open_as(TabConfig { protocol: 2, has_locks: false, ..config(2) }, false);
    // A better one says hello and dies; an older one that owns lets go, and lives.
    browser.hear(2, Message { protocol: 2, ..message(3, Kind::Hello, 0) });
    for owners in [vec![], vec![2]] {
        browser.hear(2, message(1, Kind::Start, 0));
        browser.hear(2, message(1, Kind::Free, 0));
        assert_eq!(browser.owners(), owners);
    }
}

#[test]
fn an_outdated_tab_says_why_it_cannot_follow() {
    let mut browser = Browser::with_tabs(1);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(1, "a");
    browser.open_as(TabConfig { protocol: 3, speaks: 2, ..config(2) }, true);
    assert!(matches!(&browser.page(1).role, Role::Refused { error } if error.code == ErrorCode::TabOutdated));
    assert_eq!(browser.page(1).answer(call), Some(Err(ErrorCode::TabOutdated)));
    assert_eq!(browser.page(2).role, Role::Owning { claim: 2, follower_count: 0 });
}

#[test]
fn a_newer_tab_does_not_follow_an_older_one() {
    let mut browser = Browser::with_tabs(1);
    browser.freeze(1);
    browser.page_mut(1).is_engine_held = true;
    browser.open_as(TabConfig { protocol: 2, ..config(2) }, false);
    let call = browser.call(2, "a");
    browser.pass(3_500);
    assert_eq!(browser.owners().last(), Some(&2));
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
}

#[test]
fn a_tab_with_other_settings_is_refused() {
    let mut browser = Browser::with_tabs(1);
    browser.open_as(TabConfig { settings: "another relay".into(), ..config(2) }, true);
    let Role::Refused { error } = &browser.page(2).role else { panic!("{:?}", browser.page(2).role) };
    assert_eq!(error.code, ErrorCode::ConfigMismatch);
    assert!(error.message.ends_with("There: settings. Here: another relay"), "{}", error.message);
    let call = browser.call(2, "a");
    assert_eq!(browser.page(2).answer(call), Some(Err(ErrorCode::ConfigMismatch)));
    assert_eq!(browser.page(1).role, Role::Owning { claim: 1, follower_count: 0 });
    browser.feed(1, Input::Visible { visible: false });
    browser.pass(5_000);
    browser.kill(1);
    browser.pass(5_000);
    assert_eq!((browser.lock, browser.claim), (None, 1), "it does not wait for the lock");
    browser.feed(2, Input::Close);
    browser.feed(2, Input::Open { visible: true });
    assert_eq!(browser.owners(), [2]);
}

#[test]
fn many_tabs_that_pretend_to_be_better_do_not_fill_the_memory() {
    let mut browser = Browser::with_tabs(1);
    (2..2_000).for_each(|id| browser.hear(1, message(id, Kind::Seen, 0)));
    assert_eq!(browser.page(1).role, Role::Owning { claim: 1, follower_count: 256 });
}
