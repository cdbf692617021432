//! Explores the model and prints what was found. See the crate's documentation.

use std::process::ExitCode;
use std::time::Instant;

use solconnect_sync_model::scenes::{SCENES, scene_of};
use solconnect_sync_model::{ALL_RULES, Outcome, Rules, search};

/// More than any scene has: what is larger has changed, and would take all memory.
const STATES_MAX: usize = 5_000_000;

fn main() -> ExitCode {
    let shows_traces = std::env::args().any(|argument| argument == "--traces");
    let mut is_good = true;
    println!("With all rules, every state that can be reached:");
    for scene in &SCENES {
        let start = Instant::now();
        let outcome = search(scene, Rules { without: None }, STATES_MAX);
        let seconds = start.elapsed().as_secs_f64();
        is_good &= matches!(outcome, Outcome::Holds { .. });
        match outcome {
            Outcome::Holds { states, steps } => println!("  {:<60}{states:>10} states{steps:>12} steps{seconds:>8.1} s", scene.name),
            other => println!("  {}: {other:#?}", scene.name),
        }
    }
    println!("Without one of them, what is broken first:");
    for rule in ALL_RULES {
        let scene = scene_of(rule);
        match search(scene, Rules { without: Some(rule) }, STATES_MAX) {
            Outcome::Broken { promise, states, entries, shown } => {
                println!("  {:<24}{:<12}after {states:>8} states: {}", format!("{rule:?}"), format!("{promise:?}"), scene.name);
                if shows_traces {
                    println!("{entries:#?}\n{shown:?}");
                }
            }
            Outcome::Holds { .. } | Outcome::TooMany => {
                is_good = false;
                println!("  {:<24}nothing: the rule is not needed, or the model does not show why", format!("{rule:?}"));
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
