//! The tests of the relay's program, linked once; `memory` and `flood` measure a process, and have one for themselves.

mod support;

mod drain;
mod erase;
mod erase_sealed;
mod frames;
mod front;
mod hostile;
mod journal;
mod lifecycle;
mod page;
mod sign_in;
mod storage;
mod verify;

#[test]
fn every_file_of_tests_is_run() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let names = std::fs::read_dir(here).expect("this folder").map(|file| file.expect("a file").file_name());
    let files = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".rs")?.to_owned()));
    let unnamed: Vec<_> = files
        .filter(|file| !["all", "flood", "memory"].contains(&file.as_str()))
        .filter(|file| !include_str!("all.rs").contains(&format!("mod {file};")))
        .collect();
    assert!(unnamed.is_empty(), "all.rs does not name {unnamed:?}");
}
