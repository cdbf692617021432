//! The trace of a run: a hash of all of it, and the last lines for people.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

/// Everything that passes between machines and world is hashed; lines are made only in a run that is told to.
pub struct Trace {
    hasher: DefaultHasher,
    steps: u64,
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Trace {
    /// A trace that keeps so many of its last lines.
    pub fn new(lines_max: usize) -> Trace {
        // The default hasher's keys are fixed: it hashes alike in every run of one build.
        Trace { hasher: DefaultHasher::new(), steps: 0, lines: VecDeque::new(), lines_max }
    }

    /// A new step at this time.
    pub fn step(&mut self, now_ms: u64) {
        self.steps += 1;
        self.hasher.write_u64(now_ms);
    }

    /// How many steps there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Hashes a number that names what happened, and to whom.
    pub fn number(&mut self, number: u64) {
        self.hasher.write_u64(number);
    }

    /// Hashes the bytes of a frame.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.hasher.write_usize(bytes.len());
    }

    /// A line for people. It is made only in a run that keeps lines.
    pub fn line(&mut self, now_ms: u64, line: impl FnOnce() -> String) {
        if self.lines_max > 0 {
            if self.lines.len() >= self.lines_max {
                self.lines.pop_front();
            }
            let mut line = line();
            if let Some((end, _)) = line.char_indices().nth(320) {
                line.truncate(end);
            }
            self.lines.push_back(format!("{:>6} {:>9.3} s  {line}", self.steps, now_ms as f64 / 1_000.0));
        }
    }

    /// The hash of all that passed.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
