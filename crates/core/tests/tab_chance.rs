//! Tabs by chance: whatever happens to them and whatever they hear, no call is answered twice, none takes effect twice, and in
//! the end all are answered.

use crate::tabs;
use std::collections::BTreeSet;

use crate::tabs::{Browser, config, error};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::tab::{Input, Kind, Message, Role, TabConfig, TabId};

const SEEDS: u64 = 400;

/// A message as only a broken or hostile tab says it.
fn hostile(random: &mut fastrand::Rng) -> Message<String> {
    let kinds = Kind::NAMES.map(|(kind, _)| kind);
    let number = |random: &mut fastrand::Rng| match random.u8(0..4) {
        0 => 0,
        1 => random.u64(0..6),
        2 => random.u64(..),
        _ => (1 << 53) - 1,
    };
    Message {
        protocol: *[0, 1, 2, u32::MAX].get(random.usize(0..4)).unwrap_or(&1),
        speaks: *[0, 1, 2, u32::MAX].get(random.usize(0..4)).unwrap_or(&1),
        from: random.u64(0..8),
        to: [None, Some(random.u64(0..8))][random.usize(0..2)],
        kind: kinds[random.usize(0..kinds.len())],
        claim: number(random),
        number: number(random),
        done_through: number(random),
        is_keyed: random.bool(),
        visible: random.bool(),
        settings: [None, Some("settings".into()), Some("others".into())][random.usize(0..3)].clone(),
        error: random.bool().then(|| error(ErrorCode::UnknownError)),
        body: random.bool().then(|| "hostile".into()),
    }
}

#[test]
fn no_message_makes_a_tab_panic() {
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut browser = if random.bool() { Browser::new() } else { Browser::without_locks() };
        (1..4).for_each(|id| browser.open(id, random.bool()));
        for _ in 0..200 {
            let id = random.u64(1..4);
            match random.u8(0..10) {
                0 => drop(browser.call(id, "a")),
                1 => browser.pass(random.u64(0..3_000)),
                2 => browser.feed(id, Input::Visible { visible: random.bool() }),
                3 => browser
                    .feed(id, [Input::Locked, Input::Unlocked, Input::Fenced, Input::Timeout, Input::Close][random.usize(0..5)].clone()),
                4 => browser.feed(id, Input::Open { visible: random.bool() }),
                5 => browser.feed(id, Input::Ran { from: random.u64(0..4), call: random.u64(0..9), result: None }),
                6 => browser.feed(id, Input::Started { claim: random.u64(0..(1 << 53)) }),
                _ => browser.hear(id, hostile(&mut random)),
            }
        }
    }
}

/// What the applications of all tabs have called: the tab and the text.
type Called = BTreeSet<(TabId, u64, String)>;

fn act(browser: &mut Browser, random: &mut fastrand::Rng, called: &mut Called, last: &mut TabId, step: usize) {
    let ids: Vec<TabId> = browser.pages.keys().copied().collect();
    let id = ids[random.usize(0..ids.len())];
    match random.u8(0..40) {
        0..14 => {
            let body = if random.u8(0..4) == 0 { "read".to_owned() } else { format!("{id}-{step}") };
            let call = browser.call(id, &body);
            called.insert((id, call, body));
        }
        14 => browser.freeze(id),
        15 => browser.halt(id),
        16..20 => browser.thaw(id),
        20 => browser.feed(id, Input::Close),
        21..23 => browser.feed(id, Input::Open { visible: random.bool() }),
        23..26 => browser.feed(id, Input::Visible { visible: random.bool() }),
        26 if ids.len() > 1 => {
            browser.kill(id);
            called.retain(|(tab, ..)| *tab != id);
        }
        27..29 if ids.len() < 6 => {
            *last += 1;
            browser.open(*last, random.bool());
        }
        29 => browser.page_mut(id).is_engine_held = random.bool(),
        30..32 => {
            browser.work(id);
            browser.settle();
        }
        32 => browser.is_blocked = true,
        33 => browser.unblock(),
        34 => browser.kill_database(),
        _ => browser.pass(random.u64(0..2_500)),
    }
}

#[test]
fn every_call_is_answered_once_and_done_once() {
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut browser = if random.u8(0..3) > 0 { Browser::new() } else { Browser::without_locks() };
        let (mut called, mut last) = (Called::new(), 2);
        browser.open(1, true);
        browser.open(2, true);
        for step in 0..120 {
            act(&mut browser, &mut random, &mut called, &mut last, step);
        }
        // All is well again, and one tab is seen.
        browser.unblock();
        let ids: Vec<TabId> = browser.pages.keys().copied().collect();
        for id in &ids {
            browser.thaw(*id);
            browser.page_mut(*id).is_engine_held = false;
            browser.work(*id);
            browser.settle();
            browser.feed(*id, Input::Open { visible: true });
            browser.feed(*id, Input::Visible { visible: true });
            // An owner finds out that its database is gone when it uses it.
            browser.call(*id, "read");
        }
        browser.pass(10_000);
        assert_eq!(browser.owners().len(), 1, "seed {seed}");
        let owner = browser.owners()[0];
        assert_eq!(browser.page(owner).engine, Some(browser.claim), "seed {seed}");
        let following = |page: &tabs::Page| matches!(page.role, Role::Following { claim } if claim == browser.claim);
        assert!(browser.pages.iter().all(|(id, page)| *id == owner || following(page)), "seed {seed}");
        for (id, call, body) in &called {
            let answer = browser.page(*id).answer(*call);
            assert!(answer.is_some(), "seed {seed}: call {call} of tab {id} is not answered");
            let count = browser.stored.iter().filter(|stored| *stored == body).count();
            match answer {
                Some(Ok(_)) if body != "read" => assert_eq!(count, 1, "seed {seed}: {body} of tab {id}"),
                Some(Err(code)) => assert_eq!((code, count), (ErrorCode::StorageBlocked, 0), "seed {seed}: {body} of tab {id}"),
                _ => {}
            }
        }
        for id in &ids {
            let own = browser.stored.iter().filter_map(|stored| stored.strip_prefix(&format!("{id}-"))?.parse::<usize>().ok());
            assert!(own.is_sorted(), "seed {seed}: the calls of tab {id} took effect out of order: {:?}", browser.stored);
        }
    }
}

#[test]
fn versions_and_settings_by_chance_leave_one_owner() {
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut browser = if random.bool() { Browser::new() } else { Browser::without_locks() };
        let has_locks = random.bool();
        for id in 1..7 {
            let protocol = random.u32(1..4);
            browser.open_as(TabConfig { protocol, speaks: random.u32(1..=protocol), has_locks, ..config(id) }, random.bool());
            browser.pass(random.u64(0..1_500));
            if random.u8(0..4) == 0 {
                browser.kill(id);
            }
        }
        browser.pass(10_000);
        // A hidden tab that needs nothing does not look for an owner that has died, where there are no locks.
        let ids: Vec<TabId> = browser.pages.keys().copied().collect();
        ids.iter().for_each(|id| browser.feed(*id, Input::Visible { visible: true }));
        browser.pass(10_000);
        let newest = browser.pages.values().filter(|page| !matches!(page.role, Role::Refused { .. })).count();
        assert_eq!(browser.owners().len(), newest.min(1), "seed {seed}");
    }
}
