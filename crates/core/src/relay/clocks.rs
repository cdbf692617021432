//! What the vector clocks of seed clients say in the log's terms, where a number says what an author knew.

use crate::ids::DeviceId;
use crate::limits::ALSO_MAX;
use crate::log::{DeviceHead, Log};
use crate::vector_clock::VectorClock;

/// Devices of which the first entry that a clock does not know is looked for: looking for more would cost more than the
/// clock's own bytes.
const BEHIND_MAX: usize = 64;

/// The first entry of each other device that a clock does not know, by its device and counter. Of a clock that says nothing,
/// and of one that is behind on too many devices, there are none.
pub(super) fn behind_of(log: &Log, device_id: &str, clock: &VectorClock) -> Vec<(DeviceId, u64)> {
    let behind = behind(log, device_id, clock);
    behind.unwrap_or_default().into_iter().map(|(head, next)| ((*head.device_id).to_owned(), next)).collect()
}

/// The devices on which a clock is behind, each with the counter behind the one it knows; `None` where they are too many.
fn behind<'a>(log: &'a Log, device_id: &str, clock: &VectorClock) -> Option<Vec<(&'a DeviceHead, u64)>> {
    if clock.is_empty() {
        return Some(Vec::new());
    }
    let others = log.heads().iter().filter(|head| *head.device_id != *device_id);
    let unknown = others.map(|head| (head, clock.get(&head.device_id) + 1)).filter(|(head, next)| *next <= head.counter);
    let behind: Vec<_> = unknown.take(BEHIND_MAX + 1).collect();
    (behind.len() <= BEHIND_MAX).then_some(behind)
}

/// What a clock says: the largest part of the log of which it knows everything, and what it knows behind that. `place_of`
/// gives the place of an entry of a device that is at hand. A clock that says nothing contradicts nothing: its author is
/// taken to know all.
pub(super) fn known_by(log: &Log, device_id: &str, clock: &VectorClock, place_of: impl Fn(&str, u64) -> Option<u64>) -> (u64, VectorClock) {
    // Where the next entry is not at hand, because a counter was left out or the clock is behind on too many devices, no
    // part of the log is taken for known. What the clock knows of each device it still says.
    let places = behind(log, device_id, clock).map(|behind| {
        let place = |(head, next): (&DeviceHead, u64)| place_of(&head.device_id, next).map_or(0, |place| place - 1);
        behind.into_iter().map(place).min().unwrap_or_else(|| log.end())
    });
    let knows = places.unwrap_or(0);
    if knows == log.end() {
        return (knows, VectorClock::new());
    }
    let heads = clock.iter().filter(|(device, _)| *device != device_id).filter_map(|(device, known)| Some((log.head(device)?, known)));
    let (whole, parts): (Vec<_>, Vec<_>) = heads.partition(|(head, known)| *known >= head.counter);
    let base = if parts.is_empty() { None } else { log.clock_at(knows) };
    let whole = whole.into_iter().filter(|(head, _)| head.sequence > knows).map(|(head, _)| (head, head.counter));
    let parts = parts.into_iter().filter(|(head, known)| base.as_ref().is_none_or(|base| base.get(&head.device_id) < *known));
    let mut also = VectorClock::new();
    for (head, counter) in whole.chain(parts).take(ALSO_MAX) {
        // It is not above the counter of an entry of the log, so it fits.
        let _ = also.raise(&head.device_id, counter);
    }
    (knows, also)
}
