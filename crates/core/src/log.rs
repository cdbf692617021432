//! A session's log as a device holds it: a prefix of the relay's, without holes.

use crate::message::Entry;
use crate::vector_clock::VectorClock;

/// Why entries do not follow what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Entries are missing before them: ask again.
    Gap,
    /// No honest relay sends this.
    Broken(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Gap => "entries are missing before them",
            Refusal::Broken(what) => what,
        })
    }
}

/// Takes the entries that continue a log which ends at `cursor`, and moves `heads` on. Known entries are left out.
///
/// Checks what the relay promises: sequence numbers without holes (I5), a device's counters ascending (I8), and
/// no entry before what its clock knows (I10).
///
/// # Errors
/// [`Refusal`]; `heads` may have moved then and must be thrown away.
pub fn accept(cursor: u64, heads: &mut VectorClock, entries: Vec<Entry>) -> Result<Vec<Entry>, Refusal> {
    let mut fresh: Vec<Entry> = Vec::new();
    let mut last = None;
    for entry in entries {
        let sequence = entry.sequence_number;
        if last.is_some_and(|last| sequence != last + 1) || sequence == 0 {
            return Err(Refusal::Broken(format!("a batch goes on with sequence {sequence}, which does not follow")));
        }
        last = Some(sequence);
        if sequence <= cursor {
            continue;
        }
        if fresh.is_empty() && sequence != cursor + 1 {
            return Err(Refusal::Gap);
        }
        let (device, counter) = (&entry.original_device_id, entry.counter());
        if counter <= heads.get(device) {
            return Err(Refusal::Broken(format!("counter {counter} of {device} stands twice in the log, at {sequence} and before")));
        }
        if let Some((other, _, known)) = heads.behind(&entry.vector_clock).find(|(other, ..)| other != device) {
            return Err(Refusal::Broken(format!("entry {sequence} knows message {known} of {other}, which is not before it")));
        }
        heads.raise(device, counter).map_err(|error| Refusal::Broken(error.message))?;
        fresh.push(entry);
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn entry(sequence_number: u64, device: &str, clock: &str) -> Entry {
        let message = Message { id: format!("m{sequence_number}"), ..Message::default() };
        Entry { message, sequence_number, vector_clock: clock.parse().unwrap(), server_timestamp: 0, original_device_id: device.into() }
    }

    #[test]
    fn only_what_follows_without_a_hole_is_taken() {
        let batch = || vec![entry(2, "a", r#"{"a":2}"#), entry(3, "b", r#"{"a":2,"b":1}"#)];
        let mut heads: VectorClock = r#"{"a":1}"#.parse().unwrap();
        assert_eq!(accept(1, &mut heads, batch()).unwrap().len(), 2);
        assert_eq!(heads, r#"{"a":2,"b":1}"#.parse().unwrap());
        assert_eq!(accept(3, &mut heads, batch()).unwrap(), []);
        assert_eq!(accept(0, &mut VectorClock::new(), batch()), Err(Refusal::Gap));
    }

    #[test]
    fn what_no_honest_relay_sends_is_refused() {
        let broken = [
            vec![entry(1, "a", r#"{"a":1}"#), entry(3, "a", r#"{"a":2}"#)],
            vec![entry(1, "a", r#"{"a":1}"#), entry(2, "a", r#"{"a":1}"#)],
            vec![entry(1, "a", r#"{"a":1,"b":1}"#)],
            vec![entry(0, "a", r#"{"a":1}"#)],
            vec![entry(1, "a", "{}")],
        ];
        for batch in broken {
            assert!(matches!(accept(0, &mut VectorClock::new(), batch.clone()), Err(Refusal::Broken(_))), "{batch:?}");
        }
    }
}
