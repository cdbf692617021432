//! Tabs that stand still, die or cannot start, and those that wait for them.

use crate::tabs::{Browser, error, message};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::tab::{Action, Input, Kind, Role};

#[test]
fn a_visible_tabs_call_is_answered_though_the_owner_is_frozen() {
    let mut browser = Browser::with_tabs(3);
    browser.freeze(1);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(2, "a");
    browser.pass(3_000);
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
    assert_eq!(browser.lock, Some(2));
    browser.thaw(1);
    assert_eq!(browser.owners(), [2]);
    assert_eq!(browser.page(1).role, Role::Following { claim: 2 });
}

#[test]
fn a_new_visible_tab_takes_over_from_a_frozen_owner() {
    let mut browser = Browser::with_tabs(1);
    browser.freeze(1);
    browser.page_mut(1).is_engine_held = true;
    browser.open(2, true);
    let call = browser.call(2, "a");
    browser.pass(3_000);
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
}

#[test]
fn an_idle_visible_tab_replaces_a_frozen_owner() {
    let mut browser = Browser::with_tabs(2);
    browser.freeze(1);
    browser.pass(3_100);
    assert_eq!(browser.page(2).role, Role::Owning { claim: 2, follower_count: 1 });
    assert_eq!(browser.page(1).engine, None, "it hears of that in its sleep");
}

#[test]
fn a_living_owner_is_never_robbed() {
    for has_locks in [true, false] {
        let mut browser = if has_locks { Browser::new() } else { Browser::without_locks() };
        (1..=4).for_each(|id| browser.open(id, id % 2 == 1));
        browser.pass(600);
        browser.page_mut(1).is_engine_held = true;
        browser.call(2, "read until the relay answers");
        browser.pass(60_000);
        let seized = (2..=4).map(|id| browser.did(id, |action| matches!(action, Action::Steal | Action::Start { .. }))).sum::<usize>();
        assert_eq!((seized, browser.owners()), (0, vec![1]));
    }
}

#[test]
fn a_pong_comes_after_a_timer_alone() {
    let mut browser = Browser::with_tabs(1);
    browser.hear(1, message(2, Kind::Ping, 1));
    assert_eq!(browser.said(1, Kind::Pong), 0);
    assert_eq!(browser.page(1).machine.next_timeout_ms(), Some(browser.now_ms));
    browser.pass(0);
    assert_eq!(browser.said(1, Kind::Pong), 1);
}

#[test]
fn a_tab_that_was_asleep_itself_does_not_judge() {
    let mut browser = Browser::with_tabs(2);
    browser.pass(2_000);
    // Both stand still, and it wakes up first.
    browser.said.clear();
    browser.freeze(1);
    browser.pass(1_900);
    browser.freeze(2);
    browser.pass(60_000);
    browser.thaw(2);
    browser.thaw(1);
    browser.pass(5_000);
    assert_eq!(browser.did(2, |action| *action == Action::Steal), 0);
    assert_eq!(browser.owners(), [1]);
}

#[test]
fn a_hidden_tab_asks_for_a_call_of_its_own_alone() {
    let mut browser = Browser::with_tabs(1);
    browser.open(2, false);
    browser.page_mut(1).is_engine_held = true;
    browser.pass(30_000);
    assert_eq!(browser.said(2, Kind::Ping), 0);
    browser.call(2, "a");
    browser.pass(1_500);
    assert_eq!(browser.said(2, Kind::Ping), 1);
}

#[test]
fn a_lock_that_goes_to_a_frozen_tab_is_taken_from_it() {
    let mut browser = Browser::with_tabs(3);
    browser.freeze(2);
    browser.kill(1);
    assert_eq!(browser.lock, Some(2), "the browser gives it to the one that waits longest");
    browser.pass(3_500);
    assert_eq!(browser.owners(), [3]);
}

#[test]
fn a_tab_that_freezes_while_it_starts_is_replaced() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    browser.open(2, true);
    browser.pass(1_500);
    browser.freeze(1);
    browser.pass(4_000);
    assert_eq!(browser.lock, Some(2));
    browser.unblock();
    assert_eq!(browser.owners(), [2]);
}

#[test]
fn a_store_that_does_not_open_is_shown_in_every_tab() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    browser.open(2, true);
    browser.pass(900);
    assert_eq!([&browser.page(1).role, &browser.page(2).role], [&Role::Joining; 2]);
    browser.pass(200);
    assert_eq!([&browser.page(1).role, &browser.page(2).role], [&Role::Blocked; 2]);
    browser.open(3, true);
    assert_eq!(browser.page(3).role, Role::Blocked);
    let call = browser.call(3, "a");
    browser.pass(50_000);
    assert_eq!(browser.did(2, |action| *action == Action::Steal), 0, "who starts shows that it lives");
    browser.unblock();
    assert_eq!(browser.page(3).answer(call), Some(Ok("did a")));
}

#[test]
fn a_start_that_failed_is_tried_again() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    browser.feed(1, Input::StartFailed { error: error(ErrorCode::StorageError), is_final: false });
    browser.pass(900);
    assert_eq!(browser.did(1, |action| matches!(action, Action::Start { .. })), 1);
    browser.is_blocked = false;
    browser.pass(200);
    assert_eq!(browser.owners(), [1]);
}

#[test]
fn a_start_that_cannot_succeed_refuses_and_lets_go() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    browser.open(2, true);
    let call = browser.call(1, "a");
    let refused = error(ErrorCode::StorageForeign);
    browser.feed(1, Input::StartFailed { error: refused.clone(), is_final: true });
    assert_eq!(browser.page(1).role, Role::Refused { error: refused });
    assert_eq!(browser.page(1).answer(call), Some(Err(ErrorCode::StorageForeign)));
    assert_eq!(browser.lock, Some(2));
}

#[test]
fn a_page_that_is_hidden_gives_up_everything_at_once() {
    let mut browser = Browser::with_tabs(2);
    browser.done.clear();
    browser.feed(1, Input::Close);
    let own: Vec<_> = browser.done.iter().filter(|(id, _)| *id == 1).map(|(_, action)| action).collect();
    assert!(
        matches!(own[..], [Action::Stop, Action::Unlock, Action::Say(bye), Action::Role(Role::Joining)] if bye.kind == Kind::Bye),
        "{own:?}"
    );
    assert_eq!(browser.owners(), [2]);
    browser.said.clear();
    browser.pass(10_000);
    assert_eq!(browser.said.iter().filter(|message| message.from == 1).count(), 0);
    browser.feed(1, Input::Open { visible: true });
    assert_eq!(browser.page(1).role, Role::Following { claim: 2 });
}

#[test]
fn a_robbed_owner_stops_and_follows() {
    let mut browser = Browser::with_tabs(2);
    browser.halt(1);
    browser.pass(4_000);
    browser.done.clear();
    browser.thaw(1);
    assert_eq!(browser.did(1, |action| *action == Action::Stop), 1);
    assert_eq!(browser.page(1).role, Role::Following { claim: 2 });
}

#[test]
fn a_lock_that_comes_too_late_is_given_back() {
    let mut browser = Browser::with_tabs(2);
    browser.feed(2, Input::End);
    browser.done.clear();
    browser.feed(2, Input::Locked);
    assert_eq!(browser.did(2, |action| *action == Action::Unlock), 1);
    assert_eq!(browser.page(2).engine, None);
}
