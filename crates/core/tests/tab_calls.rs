//! Calls of the applications of several tabs: answered once, truly, in order.

use crate::tabs;
use crate::tabs::{Browser, message};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::limits::{CALLS_UNDER_WAY_MAX, CALLS_WAITING_MAX};
use solconnect_sync_core::tab::{Action, CallKey, Input, Kind, Role};

#[test]
fn the_first_tab_owns_and_the_others_follow() {
    let browser = Browser::with_tabs(3);
    assert_eq!(browser.page(1).role, Role::Owning { claim: 1, follower_count: 2 });
    assert_eq!([&browser.page(2).role, &browser.page(3).role], [&Role::Following { claim: 1 }; 2]);
}

#[test]
fn calls_of_every_tab_are_answered_by_the_owner() {
    let mut browser = Browser::with_tabs(2);
    let (own, other) = (browser.call(1, "a"), browser.call(2, "b"));
    let read = browser.call(2, "read");
    assert_eq!(browser.page(1).answer(own), Some(Ok("did a")));
    assert_eq!(browser.page(2).answer(other), Some(Ok("did b")));
    assert_eq!(browser.page(2).answer(read), Some(Ok("a b")));
}

#[test]
fn calls_before_there_is_an_owner_wait_for_it() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    browser.open(2, true);
    let calls = [browser.call(1, "a"), browser.call(2, "b"), browser.call(2, "c")];
    assert!(browser.page(2).answers.is_empty());
    browser.unblock();
    assert_eq!(browser.stored, ["a", "b", "c"]);
    assert_eq!(browser.page(2).answer(calls[2]), Some(Ok("did c")));
}

#[test]
fn what_a_closed_owner_did_not_do_the_next_one_does() {
    let mut browser = Browser::with_tabs(3);
    browser.page_mut(1).is_engine_held = true;
    browser.call(2, "a");
    browser.call(3, "b");
    browser.feed(1, Input::Close);
    assert_eq!(browser.owners(), [2]);
    assert_eq!(browser.stored, ["a", "b"]);
    assert_eq!(browser.page(3).answer(1), Some(Ok("did b")));
}

#[test]
fn a_call_that_comes_again_has_its_first_answer() {
    let mut browser = Browser::with_tabs(2);
    let call = browser.call(2, "a");
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
    let said = browser.said.iter().find(|message| message.kind == Kind::Call).cloned().unwrap();
    let runs = |browser: &Browser| browser.done.iter().filter(|(_, action)| matches!(action, Action::Run { from: 2, .. })).count();
    let answers = |browser: &Browser| browser.said.iter().filter(|message| message.kind == Kind::Answer).count();
    let before = (runs(&browser), answers(&browser));
    browser.feed(1, Input::Heard(said));
    assert_eq!((runs(&browser), answers(&browser)), (before.0, before.1 + 1));
}

#[test]
fn a_call_whose_answer_was_lost_is_not_done_again() {
    let mut browser = Browser::with_tabs(3);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(3, "a");
    browser.work(1);
    // It has stored it, and ends before it can say so.
    browser.kill(1);
    assert_eq!(browser.stored, ["a"]);
    assert_eq!(browser.page(3).answer(call), Some(Ok("did a")));
}

#[test]
fn a_follower_that_takes_over_repeats_its_own_call_by_key() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(2, "a");
    browser.work(1);
    browser.kill(1);
    assert_eq!(browser.owners(), [2]);
    assert_eq!(browser.stored, ["a"]);
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
}

#[test]
fn an_owners_own_calls_need_no_key() {
    let mut browser = Browser::with_tabs(2);
    browser.call(1, "a");
    let key = Some(CallKey { tab: 2, call: 1, done_through: 0 });
    browser.call(2, "b");
    let runs: Vec<_> =
        browser.done.iter().filter_map(|(_, action)| if let Action::Run { key, .. } = action { Some(*key) } else { None }).collect();
    assert_eq!(runs, [None, key]);
}

#[test]
fn what_a_stopped_engine_had_stored_is_answered_truly() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    let (stored, lost) = (browser.call(1, "a"), browser.call(1, "b"));
    let run = browser.page_mut(1).runs.pop_front();
    browser.feed(1, Input::Close);
    assert!(run.is_some() && browser.page(1).answer(stored).is_none());
    browser.feed(1, Input::Ran { from: 1, call: stored, result: Some("did a".into()) });
    assert_eq!(browser.page(1).answer(stored), Some(Ok("did a")));
    // What it did not do goes to the next owner.
    browser.feed(1, Input::Open { visible: true });
    assert_eq!(browser.page(1).answer(lost), Some(Ok("did b")));
    assert_eq!(browser.stored, ["b"]);
}

#[test]
fn an_engine_starts_when_its_last_life_has_answered() {
    let mut browser = Browser::with_tabs(1);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(1, "a");
    browser.page_mut(1).runs.clear();
    browser.feed(1, Input::Close);
    browser.feed(1, Input::Open { visible: true });
    assert_eq!(browser.did(1, |action| matches!(action, Action::Start { .. })), 1, "what became of the call is not known");
    browser.feed(1, Input::Ran { from: 1, call, result: None });
    browser.work(1);
    browser.settle();
    assert_eq!(browser.page(1).answer(call), Some(Ok("did a")));
}

#[test]
fn a_late_answer_of_an_earlier_owner_does_not_count() {
    let mut browser = Browser::with_tabs(3);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(3, "a");
    browser.page_mut(2).is_engine_held = true;
    browser.kill(1);
    // The first owner had refused it, as the second one need not.
    let refusal = tabs::error(ErrorCode::OutboxFull);
    browser.hear(3, solconnect_sync_core::tab::Message { to: Some(3), number: call, error: Some(refusal), ..message(1, Kind::Answer, 1) });
    assert_eq!(browser.page(3).answer(call), None);
    browser.work(2);
    browser.settle();
    assert_eq!(browser.page(3).answer(call), Some(Ok("did a")));
}

#[test]
fn sixty_four_calls_with_effects_are_under_way_at_most() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    for _ in 0..CALLS_UNDER_WAY_MAX + 10 {
        browser.call(2, "a");
    }
    let read = browser.call(2, "read");
    assert_eq!(browser.said(2, Kind::Call), CALLS_UNDER_WAY_MAX);
    browser.work(1);
    browser.settle();
    browser.work(1);
    browser.settle();
    assert_eq!(browser.stored.len(), CALLS_UNDER_WAY_MAX + 10);
    let seen = browser.page(2).answer(read).and_then(Result::ok).map(|text| text.split(' ').count());
    assert_eq!(seen, Some(CALLS_UNDER_WAY_MAX + 10), "a read sees what was called before it");
}

#[test]
fn calls_without_effects_keep_nothing_from_being_sent() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    for _ in 0..CALLS_UNDER_WAY_MAX * 3 {
        browser.call(2, "read until the relay answers");
    }
    browser.call(2, "go online");
    assert_eq!(browser.page(1).runs.len(), CALLS_UNDER_WAY_MAX * 3 + 1);
}

#[test]
fn a_key_says_up_to_where_calls_are_answered() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    for body in ["read", "a", "b", "read", "c"] {
        browser.call(2, body);
    }
    let through = |browser: &Browser| browser.page(1).runs.iter().filter_map(|run| run.2).map(|key| key.done_through).collect::<Vec<_>>();
    assert_eq!(through(&browser), [1, 1, 1], "a read that waits holds nothing back");
    browser.work(1);
    browser.settle();
    browser.call(2, "d");
    assert_eq!(through(&browser), [5]);
}

#[test]
fn a_call_waits_two_minutes_for_a_store_that_does_not_open() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    let call = browser.call(1, "a");
    browser.pass(119_000);
    assert_eq!(browser.page(1).answer(call), None);
    browser.pass(2_000);
    assert_eq!(browser.page(1).answer(call), Some(Err(ErrorCode::StorageBlocked)));
    browser.unblock();
    assert!(browser.stored.is_empty(), "it was said not to be done");
}

#[test]
fn a_call_that_may_be_done_waits_until_that_is_known() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    let (call, read) = (browser.call(2, "a"), browser.call(2, "read"));
    browser.work(1);
    browser.is_blocked = true;
    browser.kill(1);
    browser.pass(500_000);
    assert_eq!(browser.page(2).answer(call), None);
    assert_eq!(browser.page(2).answer(read), Some(Err(ErrorCode::StorageBlocked)));
    browser.unblock();
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
    assert_eq!(browser.stored, ["a"]);
}

#[test]
fn a_tab_that_ends_answers_every_call() {
    let mut browser = Browser::with_tabs(2);
    browser.page_mut(1).is_engine_held = true;
    let calls = [browser.call(2, "a"), browser.call(2, "read")];
    let own = browser.call(1, "b");
    browser.feed(2, Input::End);
    assert_eq!(calls.map(|call| browser.page(2).answer(call)), [Some(Err(ErrorCode::SdkNotInitialized)); 2]);
    let late = browser.call(2, "c");
    assert_eq!(browser.page(2).answer(late), Some(Err(ErrorCode::SdkNotInitialized)));
    browser.feed(1, Input::End);
    assert_eq!(browser.page(1).answer(own), Some(Err(ErrorCode::SdkNotInitialized)));
}

#[test]
fn calls_outlive_a_page_that_is_hidden_and_comes_back() {
    let mut browser = Browser::with_tabs(2);
    browser.feed(2, Input::Close);
    let call = browser.call(2, "a");
    assert_eq!(browser.page(2).answer(call), None);
    browser.feed(2, Input::Open { visible: true });
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
}

#[test]
fn too_many_waiting_calls_are_refused() {
    let mut browser = Browser::new();
    browser.is_blocked = true;
    browser.open(1, true);
    let calls: Vec<u64> = (0..=CALLS_WAITING_MAX).map(|_| browser.call(1, "read")).collect();
    assert_eq!(browser.page(1).answers, [(calls[CALLS_WAITING_MAX], Err(ErrorCode::LimitReached))]);
}

#[test]
fn thousands_of_calls_survive_three_takeovers() {
    let mut browser = Browser::with_tabs(5);
    for round in 1..4 {
        browser.page_mut(round).is_engine_held = true;
        for _ in 0..2_500 {
            browser.call(5, "a");
        }
        browser.work(round);
        browser.kill(round);
    }
    browser.settle();
    assert_eq!(browser.stored.len(), 7_500);
    assert_eq!(browser.page(5).answers.len(), 7_500);
}
