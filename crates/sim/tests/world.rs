//! The world repeats itself, and every canary of the list has a place in the core.

use std::path::Path;

use serde_json::Value;
use solconnect_sim::scenario::{Setting, run, run_with};
use solconnect_sim::signers::SignIn;

#[test]
fn a_trace_depends_on_its_seed_alone() {
    let hashes: Vec<u64> = [7, 7, 8].map(|seed| run(seed, 0).hash).into();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
    assert_eq!(run(7, 40).hash, hashes[0], "looking changes nothing");
}

#[test]
fn every_seed_runs_the_promised_operations_and_faults() {
    for seed in 0..20 {
        let outcome = run(seed, 0);
        assert!(outcome.violation.is_none(), "{seed}: {:?}", outcome.violation);
        assert!(outcome.operations >= 200 && outcome.faults.iter().sum::<u64>() >= 10, "{seed}: {} operations", outcome.operations);
    }
}

#[test]
fn every_canary_edit_matches_the_core_exactly_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("canaries.json")).unwrap()).unwrap();
    let list = list.as_array().unwrap();
    assert!(list.len() >= 40);
    let mut misplaced = Vec::new();
    for canary in list {
        assert!(canary["name"].is_string() && canary["modelled_on"].is_string(), "{canary}");
        for edit in canary["edits"].as_array().unwrap() {
            let file = folder.join("../core/src").join(edit["file"].as_str().unwrap());
            let text = std::fs::read_to_string(&file).unwrap();
            let count = text.matches(edit["old"].as_str().unwrap()).count();
            if count != 1 {
                misplaced.push(format!("{}: {count} times in {}: {}", canary["name"], edit["file"], edit["old"]));
            }
            assert_ne!(edit["old"], edit["new"]);
        }
    }
    assert!(misplaced.is_empty(), "{}", misplaced.join("\n"));
}

#[test]
fn devices_that_sign_in_keep_every_promise() {
    for (seed, sign_in) in (0..6).zip([SignIn::Required, SignIn::Open].into_iter().cycle()) {
        let outcome = run_with(seed, 0, Setting { sign_in, encrypts: false });
        assert_eq!(outcome.violation.map(|violation| violation.text), None, "seed {seed} {sign_in:?}");
    }
}
