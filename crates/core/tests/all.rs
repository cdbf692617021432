//! All tests of the core in one program: it is linked once.

// What they share.
mod account;
mod calls;
mod desk;
mod groups;
mod hall;
#[path = "conformance/memory.rs"]
mod memory;
mod people;
mod rooms;
mod scene;
mod sealed;
mod sealing;
mod signer;
#[allow(clippy::disallowed_types, reason = "a store takes its time: only the machines do not wait")]
#[path = "conformance/store.rs"]
mod suite;
mod tabs;
mod world;

// The tests, one file for each claim.
mod accepted;
mod behaviour;
mod borders;
mod device_calls;
mod device_devices;
mod device_hears;
mod device_invitations;
mod device_keyed;
mod device_keys;
mod device_rebuilds;
mod device_sends;
mod device_sign_in;
mod device_stores;
mod device_syncs;
mod device_unsent;
mod device_wishes;
mod digest;
mod epochs;
mod group;
mod group_limits;
mod group_sessions;
mod hostile;
mod identity_account;
mod identity_keys;
mod identity_vectors;
mod laws;
mod liar;
mod many_devices;
mod peers;
mod recovery_codes;
mod relay_bounds;
mod relay_broken_messages;
mod relay_caps;
mod relay_clocks;
mod relay_conflicts;
mod relay_device_ids;
mod relay_groups;
mod relay_invitations;
mod relay_javascript;
mod relay_members;
mod relay_names;
mod relay_presence;
mod relay_receipts;
mod relay_sealed;
mod relay_serves;
mod relay_sign_in;
mod relay_takes;
mod requeued;
mod sealed_asks;
mod sealed_faults;
mod sealed_first_contact;
mod sealed_mixed;
mod sealed_sessions;
mod sealed_shown;
mod sealed_troubles;
mod sealed_waiting;
mod short_number;
mod signatures;
#[allow(clippy::disallowed_types, reason = "a store takes its time: only the machines do not wait")]
mod store;
mod tab_calls;
mod tab_chance;
mod tab_claims;
mod tab_lives;
mod tab_news;
mod tab_prefers;
mod values;
mod vectors;

#[test]
fn every_file_of_tests_is_run() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let names = std::fs::read_dir(here).expect("this folder").map(|file| file.expect("a file").file_name());
    let files = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".rs")?.to_owned())).filter(|file| file != "all");
    let unnamed: Vec<_> = files.filter(|file| !include_str!("all.rs").contains(&format!("mod {file};"))).collect();
    assert!(unnamed.is_empty(), "all.rs does not name {unnamed:?}");
}
