//! Laws that hold for all values: clocks form a lattice, winners do not depend on order, frames survive their encoding.

use proptest::prelude::*;
use solconnect_sync_core::compress::Payload;
use solconnect_sync_core::conflict::{Strategy as Resolution, Version, add_version, ranked};
use solconnect_sync_core::frame::Frame;
use solconnect_sync_core::message::Stamp;
use solconnect_sync_core::vector_clock::{Causality, VectorClock};

fn clocks() -> impl Strategy<Value = VectorClock> {
    prop::collection::btree_map("[a-e]", 1u64..5, 0..5).prop_map(|counters| {
        let mut clock = VectorClock::new();
        for (device, counter) in counters {
            clock.raise(&device, counter).unwrap();
        }
        clock
    })
}

fn merged(one: &VectorClock, other: &VectorClock) -> VectorClock {
    let mut merged = one.clone();
    merged.merge(other).unwrap();
    merged
}

proptest! {
    #[test]
    fn merging_clocks_is_a_least_upper_bound(a in clocks(), b in clocks(), c in clocks()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert!(merged(&a, &b).covers(&a) && merged(&a, &b).covers(&b));
        prop_assert!(!(c.covers(&a) && c.covers(&b)) || c.covers(&merged(&a, &b)));
    }

    #[test]
    fn comparing_clocks_is_a_partial_order(a in clocks(), b in clocks(), c in clocks()) {
        let mirrored = match a.compare(&b) {
            Causality::Before => Causality::After,
            Causality::After => Causality::Before,
            same => same,
        };
        prop_assert_eq!(b.compare(&a), mirrored);
        prop_assert_eq!(a.compare(&b) == Causality::Equal, a == b);
        if a.compare(&b) == Causality::Before && b.compare(&c) == Causality::Before {
            prop_assert_eq!(a.compare(&c), Causality::Before);
        }
        if a.compare(&b) == Causality::Before {
            prop_assert!(a.sum() < b.sum(), "the sum extends causal order");
        }
    }

    #[test]
    fn a_tick_is_after_all_that_was_known(a in clocks(), device in "[a-e]") {
        let mut ticked = a.clone();
        ticked.tick(&device).unwrap();
        prop_assert_eq!(a.compare(&ticked), Causality::Before);
    }

    #[test]
    fn clocks_survive_printing(a in clocks()) {
        prop_assert_eq!(a.to_string().parse::<VectorClock>().unwrap(), a);
    }

    #[test]
    fn the_winner_does_not_depend_on_the_order_of_versions(
        written in prop::collection::vec((clocks(), "[a-e]", 0u64..3), 1..6),
        order in any::<prop::sample::Index>(),
    ) {
        let versions: Vec<Version> = written
            .into_iter()
            .enumerate()
            .map(|(index, (mut vector_clock, device_id, at_ms))| {
                vector_clock.tick(&device_id).unwrap();
                let (id, text) = (format!("v{index}"), format!("text {index}"));
                Version { id, device_id, sender_wallet: "w".into(), vector_clock, timestamp: Stamp::Millis(at_ms), text, deleted: false }
            })
            .collect();
        // A device writes each counter once, so equal clocks of one device do not occur.
        let distinct = versions.iter().enumerate().all(|(index, one)| {
            versions[..index].iter().all(|other| other.device_id != one.device_id || other.vector_clock.compare(&one.vector_clock) == Causality::Before)
        });
        prop_assume!(distinct);
        let mut rotated = versions.clone();
        rotated.rotate_left(order.index(versions.len()));
        for strategy in [Resolution::VectorClock, Resolution::Latest, Resolution::Manual] {
            let ids = |versions: &[Version]| ranked(versions, "w", strategy).iter().map(|version| version.id.clone()).collect::<Vec<_>>();
            prop_assert_eq!(ids(&versions), ids(&rotated));
        }
        let mut frontier = Vec::new();
        for version in versions {
            add_version(&mut frontier, version);
        }
        for one in &frontier {
            prop_assert!(frontier.iter().all(|other| one.id == other.id || one.vector_clock.compare(&other.vector_clock) == Causality::Concurrent));
        }
    }

    #[test]
    fn frames_survive_packing(text in ".{0,3000}", compress in any::<bool>()) {
        let json = serde_json::json!({ "roomId": "room", "message": text, "sender": "wallet", "timestamp": 1 }).to_string();
        let frame = Frame::parse(&json).unwrap();
        prop_assert_eq!(Payload::pack(frame.to_json(), compress).parse().unwrap(), frame);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Payload::Text(String::from_utf8_lossy(&bytes).as_ref().into()).parse();
        let _ = Payload::Binary(bytes.into()).parse();
    }
}
