//! The claim in the store decides who owns it, whatever tabs and locks believe.

use crate::tabs::{Browser, message};
use solconnect_sync_core::tab::{Action, Input, Kind, Role};

#[test]
fn an_owner_of_a_lower_claim_is_not_followed() {
    let mut browser = Browser::with_tabs(2);
    browser.hear(2, message(9, Kind::Owner, 0));
    assert_eq!(browser.page(2).role, Role::Following { claim: 1 });
    assert!(browser.said.iter().any(|message| message.to == Some(9) && message.claim == 1), "it hears that it is none");
}

#[test]
fn an_owner_that_hears_a_higher_claim_stops_and_follows() {
    let mut browser = Browser::with_tabs(1);
    browser.lock = Some(9);
    browser.hear(1, message(9, Kind::Owner, 5));
    assert_eq!(browser.did(1, |action| *action == Action::Stop), 1);
    assert_eq!(browser.page(1).role, Role::Following { claim: 5 });
}

#[test]
fn a_fenced_owner_stops_and_joins_again() {
    let mut browser = Browser::with_tabs(2);
    browser.claim += 1;
    let call = browser.call(2, "a");
    assert_eq!(browser.did(1, |action| *action == Action::Stop), 1);
    assert_eq!((browser.owners(), browser.claim), (vec![2], 3));
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
    assert_eq!(browser.page(1).role, Role::Following { claim: 3 });
}

#[test]
fn after_a_deleted_database_the_claim_is_above_what_tabs_remember() {
    let mut browser = Browser::with_tabs(3);
    browser.claim = 41;
    browser.kill(1);
    assert_eq!(browser.page(3).role, Role::Following { claim: 42 });
    // The database is deleted, and a tab that knows nothing begins a new one.
    browser.feed(3, Input::Close);
    browser.feed(2, Input::Close);
    browser.claim = 0;
    browser.open(4, true);
    assert_eq!(browser.page(4).role, Role::Owning { claim: 1, follower_count: 0 });
    browser.feed(3, Input::Open { visible: true });
    browser.pass(2_500);
    assert_eq!(browser.owners(), [4]);
    assert_eq!(browser.page(3).role, Role::Following { claim: 43 });
    let call = browser.call(3, "a");
    assert_eq!(browser.page(3).answer(call), Some(Ok("did a")));
}

#[test]
fn without_locks_the_first_tab_owns_after_half_a_second() {
    let mut browser = Browser::without_locks();
    browser.open(1, false);
    assert!(browser.owners().is_empty());
    browser.pass(500);
    assert_eq!(browser.owners(), [1]);
    browser.open(2, true);
    assert_eq!(browser.page(2).role, Role::Following { claim: 1 });
}

#[test]
fn without_locks_one_of_many_that_start_together_stays() {
    let mut browser = Browser::without_locks();
    (1..=9).for_each(|id| browser.open(id * 23, true));
    browser.pass(3_000);
    assert_eq!(browser.owners().len(), 1);
    let following = browser.pages.values().filter(|page| matches!(page.role, Role::Following { .. })).count();
    assert_eq!(following, 8);
}

#[test]
fn without_locks_the_higher_of_two_claims_stays() {
    let mut browser = Browser::without_locks();
    browser.is_blocked = true;
    // They do not hear of each other until both have begun.
    browser.open(7, true);
    browser.pass(400);
    browser.open(207, true);
    browser.feed(207, Input::Heard(message(99, Kind::Start, 0)));
    browser.feed(207, Input::Heard(message(99, Kind::Bye, 0)));
    browser.unblock();
    browser.pass(2_000);
    assert_eq!(browser.owners().len(), 1);
    assert_eq!(browser.page(browser.owners()[0]).engine, Some(browser.claim));
}

#[test]
fn without_locks_a_dead_owner_is_replaced() {
    let mut browser = Browser::without_locks();
    browser.open(1, true);
    browser.pass(600);
    browser.open(2, true);
    browser.page_mut(1).is_engine_held = true;
    let call = browser.call(2, "a");
    browser.kill(1);
    browser.pass(3_000);
    assert_eq!(browser.page(2).answer(call), Some(Ok("did a")));
}

#[test]
fn without_locks_a_thawed_owner_follows() {
    let mut browser = Browser::without_locks();
    browser.open(1, true);
    browser.pass(600);
    browser.open(2, true);
    browser.freeze(1);
    browser.pass(4_000);
    assert_eq!(browser.page(2).role, Role::Owning { claim: 2, follower_count: 1 });
    browser.thaw(1);
    browser.pass(10);
    assert_eq!(browser.owners(), [2]);
    assert_eq!(browser.page(1).role, Role::Following { claim: 2 });
}
