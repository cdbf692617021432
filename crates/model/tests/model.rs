//! The small scenes hold, and no rule is there for nothing. `npm run model` explores all scenes.

use solconnect_sync_model::scenes::{DEVICE, FIRST_CONTACT, scene_of};
use solconnect_sync_model::{ALL_RULES, Outcome, Rules, search};

const STATES_MAX: usize = 2_000_000;

#[test]
fn the_small_scenes_hold_in_every_state() {
    for scene in [&FIRST_CONTACT, &DEVICE] {
        let outcome = search(scene, Rules { without: None }, STATES_MAX);
        assert!(matches!(outcome, Outcome::Holds { .. }), "{}: {outcome:#?}", scene.name);
    }
}

#[test]
fn every_rule_is_needed() {
    for rule in ALL_RULES {
        let outcome = search(scene_of(rule), Rules { without: Some(rule) }, STATES_MAX);
        assert!(matches!(outcome, Outcome::Broken { .. }), "without {rule:?}: {outcome:#?}");
    }
}
