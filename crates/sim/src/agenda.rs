//! Virtual time: what will happen, in order.

use std::collections::BTreeMap;

/// What is to happen, by when. Things of one moment happen in the order in which they were entered.
pub struct Agenda<T> {
    now_ms: u64,
    entered: u64,
    happenings: BTreeMap<(u64, u64), T>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { now_ms: 0, entered: 0, happenings: BTreeMap::new() }
    }
}

impl<T> Agenda<T> {
    /// Milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Enters a happening; not before now.
    pub fn at(&mut self, at_ms: u64, happening: T) {
        self.entered += 1;
        self.happenings.insert((at_ms.max(self.now_ms), self.entered), happening);
    }

    /// Enters a happening so many milliseconds from now.
    pub fn after(&mut self, delay_ms: u64, happening: T) {
        self.at(self.now_ms.saturating_add(delay_ms), happening);
    }

    /// Moves on to the next happening.
    pub fn advance(&mut self) -> Option<T> {
        let ((at_ms, _), happening) = self.happenings.pop_first()?;
        self.now_ms = at_ms;
        Some(happening)
    }

    /// Takes out those that match, in their order.
    pub fn take(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let keys: Vec<(u64, u64)> = self.happenings.iter().filter(|(_, happening)| matches(happening)).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| self.happenings.remove(key)).collect()
    }

    /// The same, with the time of each.
    pub fn take_timed(&mut self, matches: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let keys: Vec<(u64, u64)> = self.happenings.iter().filter(|(_, happening)| matches(happening)).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| Some((key.0, self.happenings.remove(key)?))).collect()
    }

    /// Whether something is to happen that matches.
    pub fn any(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.happenings.values().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agenda_runs_in_order_of_time_then_entry() {
        let mut agenda = Agenda::default();
        agenda.at(5, 'c');
        agenda.at(1, 'a');
        agenda.at(1, 'b');
        assert_eq!((agenda.advance(), agenda.now_ms()), (Some('a'), 1));
        agenda.at(0, 'x');
        assert_eq!(agenda.take(|happening| *happening == 'c'), ['c']);
        assert_eq!([agenda.advance(), agenda.advance(), agenda.advance()], [Some('b'), Some('x'), None]);
    }
}
