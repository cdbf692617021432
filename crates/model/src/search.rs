//! Visits every state that can be reached.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::devices::{ReadLogs, State, World, first};
use crate::promises::{Promise, broken};
use crate::rules::Rules;
use crate::scenes::Scene;
use crate::terms::{Entry, Terms};

/// How a search ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every state was visited, and every promise held in each.
    Holds {
        /// How many there are.
        states: usize,
        /// How many times a state follows another.
        steps: usize,
    },
    /// A promise did not hold.
    Broken {
        /// Which.
        promise: Promise,
        /// How many states were visited before.
        states: usize,
        /// The state: what was sent, and what each device was shown.
        entries: Vec<Entry>,
        /// Of each device, the places of what it was shown among these.
        shown: Vec<Vec<usize>>,
    },
    /// There are more states than were allowed.
    TooMany,
}

/// Visits every state of a scene, or those up to the first in which a promise does not hold. States are told apart by 128 bits of two
/// hashes: of a hundred million, two would be taken for one with probability 2^-75.
pub fn search(scene: &Scene, rules: Rules, states_max: usize) -> Outcome {
    let terms = Terms::new();
    let mut read = ReadLogs::new();
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([first(scene)]);
    let mut steps = 0;
    seen.insert(name(&waiting[0]));
    while let Some(state) = waiting.pop_front() {
        let world = World::new(state, scene, rules, &terms, &mut read);
        if let Some(promise) = broken(&world) {
            let place = |id: &u16| world.sent.iter().position(|(sent, _)| sent == id);
            let shown = (0..scene.actors.len()).map(|index| world.shown(index).iter().filter_map(place).collect()).collect();
            return Outcome::Broken { promise, states: seen.len(), entries: world.sent.iter().map(|(_, entry)| *entry).collect(), shown };
        }
        for next in world.next() {
            steps += 1;
            if seen.insert(name(&next)) {
                waiting.push_back(next);
            }
        }
        if seen.len() > states_max {
            return Outcome::TooMany;
        }
    }
    Outcome::Holds { states: seen.len(), steps }
}

fn name(state: &State) -> [u64; 2] {
    [1u8, 2].map(|salt| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    })
}
