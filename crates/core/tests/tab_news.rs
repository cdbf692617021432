//! What an owner tells its followers.

use crate::tabs::{Browser, message};
use solconnect_sync_core::tab::{Action, Input, Kind, Message, Role};

#[test]
fn followers_hear_the_owners_news_in_order() {
    let mut browser = Browser::with_tabs(3);
    ["a", "b", "c"].iter().for_each(|news| browser.feed(1, Input::Told((*news).to_owned())));
    assert_eq!([&browser.page(2).heard, &browser.page(3).heard], [&["a", "b", "c"]; 2]);
    assert!(browser.page(1).heard.is_empty());
    assert_eq!(browser.page(2).renewed, 1, "once, when it began to follow");
}

#[test]
fn an_owner_that_is_alone_says_no_news() {
    let mut browser = Browser::with_tabs(1);
    browser.feed(1, Input::Told("a".into()));
    assert_eq!(browser.said(1, Kind::News), 0);
    browser.open(2, true);
    browser.feed(1, Input::Told("b".into()));
    assert_eq!((&browser.page(2).heard[..], browser.page(2).renewed), (&["b".to_owned()][..], 1));
}

#[test]
fn who_observes_is_known_before_the_mirror_is_taken() {
    let mut browser = Browser::with_tabs(1);
    browser.done.clear();
    browser.open(2, true);
    let own = browser.done.iter().filter(|(id, _)| *id == 1).map(|(_, action)| action);
    let place = |matches: &dyn Fn(&Action<String>) -> bool| own.clone().position(matches);
    let role = place(&|action| matches!(action, Action::Role(Role::Owning { follower_count: 1, .. })));
    let owner = place(&|action| matches!(action, Action::Say(said) if said.kind == Kind::Owner));
    assert!(role.is_some() && role < owner);
    assert_eq!(browser.page(2).mirrors, ["mirror of 1"]);
}

#[test]
fn a_gap_in_the_news_has_everything_read_again() {
    let mut browser = Browser::with_tabs(2);
    browser.feed(1, Input::Told("a".into()));
    browser.page_mut(2).hears = false;
    browser.feed(1, Input::Told("b".into()));
    browser.page_mut(2).hears = true;
    browser.feed(1, Input::Told("c".into()));
    assert_eq!((&browser.page(2).heard[..], browser.page(2).renewed), (&["a".to_owned(), "c".to_owned()][..], 2));
    assert_eq!(browser.page(2).mirrors.len(), 2, "the mirror comes again");
}

#[test]
fn news_of_another_claim_or_said_before_are_not_told() {
    let mut browser = Browser::with_tabs(2);
    browser.feed(1, Input::Told("a".into()));
    for (number, claim, from) in [(1, 1, 1), (2, 0, 1), (2, 1, 9)] {
        browser.hear(2, Message { number, body: Some("x".into()), ..message(from, Kind::News, claim) });
    }
    assert_eq!(browser.page(2).heard, ["a"]);
}

#[test]
fn another_owner_has_everything_read_again() {
    let mut browser = Browser::with_tabs(3);
    browser.kill(1);
    assert_eq!((browser.page(3).renewed, browser.page(3).mirrors.last()), (2, Some(&"mirror of 2".to_owned())));
    browser.feed(2, Input::Told("a".into()));
    assert_eq!(browser.page(3).heard, ["a"]);
}

#[test]
fn news_are_counted_anew_under_each_owner() {
    let mut browser = Browser::with_tabs(3);
    ["a", "b", "c"].iter().for_each(|news| browser.feed(1, Input::Told((*news).to_owned())));
    browser.kill(1);
    browser.done.clear();
    ["d", "e"].iter().for_each(|news| browser.feed(2, Input::Told((*news).to_owned())));
    let numbers = browser.done.iter().filter_map(|(id, action)| match action {
        Action::Say(said) if (*id, said.kind) == (2, Kind::News) => Some(said.number),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        (&browser.page(3).heard[..], browser.page(3).renewed),
        (&["a", "b", "c", "d", "e"].map(String::from)[..], 2),
        "none is missing"
    );
}

#[test]
fn an_owner_learns_who_follows_from_those_that_it_never_heard() {
    let mut browser = Browser::with_tabs(3);
    browser.kill(1);
    // The third joined before the second owned, and says so.
    assert_eq!(browser.page(2).role, Role::Owning { claim: 2, follower_count: 1 });
    browser.feed(3, Input::Close);
    assert_eq!(browser.page(2).role, Role::Owning { claim: 2, follower_count: 0 });
}

#[test]
fn a_wallet_that_is_logged_out_is_gone_in_every_tab() {
    let mut browser = Browser::with_tabs(3);
    browser.feed(2, Input::Gone("wiped".into()));
    assert_eq!([&browser.page(1).gone, &browser.page(3).gone], [&["wiped"]; 2]);
    assert!(browser.page(2).gone.is_empty());
}
