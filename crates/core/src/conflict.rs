//! Conflicts: what did not know of each other, and which version of an edited message wins.
//!
//! Both are functions of the log alone, so every replica finds the same (I12).

use serde::{Deserialize, Serialize};

use crate::frame::ConflictingVersion;
use crate::ids::{DeviceId, MessageId};
use crate::limits::{CONFLICT_TEXT_BYTES_MAX, CONFLICT_VERSIONS_MAX, VERSIONS_MAX};
use crate::message::Entry;
use crate::vector_clock::{Causality, VectorClock};

/// `conflictResolutionStrategy`: which of several concurrent versions of one message is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum Strategy {
    /// The largest clock sum; ties by timestamp, then device id.
    #[default]
    VectorClock,
    /// The latest timestamp; ties by clock sum, then device id.
    Latest,
    /// The application decides; until then the one that `vector_clock` would take is shown, marked as open.
    Manual,
}

/// What met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum ConflictKind {
    /// Messages written without knowing of each other. All are kept, in the log's order.
    ConcurrentMessages,
    /// Versions of one message written without knowing of each other. A strategy picks the one shown.
    ConcurrentVersions,
}

/// Messages `from` to `to` of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct CounterRange {
    /// The device.
    pub device_id: DeviceId,
    /// Its first counter.
    pub from: u64,
    /// Its last counter.
    pub to: u64,
}

/// One message and what it did not know of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct Conflict {
    /// What met.
    pub kind: ConflictKind,
    /// The later one in the log; for versions the message that both replace.
    pub message_id: MessageId,
    /// Its place in the log.
    pub sequence_number: u64,
    /// The device that wrote it.
    pub device_id: DeviceId,
    /// What that device knew.
    #[cfg_attr(feature = "ts", tsify(type = "Record<string, number>"))]
    pub vector_clock: VectorClock,
    /// All that it did not know of, by device: exact, and as short as the list of devices.
    pub concurrent_with: Vec<CounterRange>,
    /// The message and the first few others that are at hand; see `concurrentWith` for all of them.
    #[cfg_attr(
        feature = "ts",
        tsify(
            type = "{ message: { id: string; sender_wallet: string; ciphertext: string; session_id: string }; deviceId: string; vectorClock: Record<string, number> }[]"
        )
    )]
    pub conflicting_versions: Vec<ConflictingVersion>,
    /// `log_order`, or the strategy that settled it; absent while the application has to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub resolution: Option<String>,
}

/// What an entry did not know, given the highest counters in the log before it. Exact; costs O(devices).
pub fn unknown_to(entry: &Entry, heads_before: &VectorClock) -> Vec<CounterRange> {
    let unknown = entry.vector_clock.behind(heads_before).filter(|(device, ..)| *device != entry.original_device_id);
    unknown.map(|(device, known, head)| CounterRange { device_id: device.to_owned(), from: known + 1, to: head }).collect()
}

/// Reports an entry that did not know `concurrent_with`, with those of the `others` at hand that it names.
pub fn concurrent_messages<'a>(entry: &'a Entry, concurrent_with: Vec<CounterRange>, others: impl Iterator<Item = &'a Entry>) -> Conflict {
    let named = |other: &&Entry| {
        concurrent_with
            .iter()
            .any(|range| range.device_id == other.original_device_id && (range.from..=range.to).contains(&other.counter()))
    };
    let mut text_bytes = 0;
    let fits = |other: &&Entry| {
        text_bytes += other.message.ciphertext.len();
        text_bytes <= CONFLICT_TEXT_BYTES_MAX
    };
    let versions = std::iter::once(entry).chain(others.filter(named).take_while(fits)).take(CONFLICT_VERSIONS_MAX);
    let conflicting_versions = versions.map(conflicting_version).collect();
    Conflict {
        kind: ConflictKind::ConcurrentMessages,
        message_id: entry.message.id.clone(),
        sequence_number: entry.sequence_number,
        device_id: entry.original_device_id.clone(),
        vector_clock: entry.vector_clock.clone(),
        concurrent_with,
        conflicting_versions,
        resolution: Some("log_order".into()),
    }
}

fn conflicting_version(entry: &Entry) -> ConflictingVersion {
    ConflictingVersion {
        message: entry.message.clone(),
        device_id: entry.original_device_id.clone(),
        vector_clock: entry.vector_clock.clone(),
        timestamp: entry.message.timestamp.clone(),
    }
}

/// Adds a version, an entry with `replaces`: those of the same wallet that it knew or that the same device wrote are
/// superseded. Of more than [`VERSIONS_MAX`] of a wallet the one that is first in the log goes.
pub fn add_version(versions: &mut Vec<Entry>, new: Entry) {
    let is_rival = |old: &Entry| old.message.sender_wallet == new.message.sender_wallet;
    let superseded = |old: &Entry| {
        let known = old.vector_clock.compare(&new.vector_clock) != Causality::Concurrent;
        is_rival(old) && (known || old.original_device_id == new.original_device_id)
    };
    versions.retain(|old| !superseded(old));
    if versions.iter().filter(|old| is_rival(old)).count() >= VERSIONS_MAX
        && let Some(first) = versions.iter().position(is_rival)
    {
        versions.remove(first);
    }
    versions.push(new);
}

/// Reports the versions of one message that `entry` meets, or `None` where it supersedes all.
pub fn concurrent_versions(entry: &Entry, versions: &[Entry], strategy: Strategy) -> Option<Conflict> {
    let target = entry.message.replaces.as_ref()?;
    let rivals: Vec<&Entry> = ranked(versions, &entry.message.sender_wallet, strategy);
    if rivals.len() < 2 {
        return None;
    }
    let others = rivals.iter().filter(|version| version.message.id != entry.message.id);
    let concurrent_with = others
        .map(|version| CounterRange { device_id: version.original_device_id.clone(), from: version.counter(), to: version.counter() })
        .collect();
    let conflicting_versions = rivals.iter().take(CONFLICT_VERSIONS_MAX).map(|version| conflicting_version(version)).collect();
    let resolution = match strategy {
        Strategy::VectorClock => Some("vector_clock".into()),
        Strategy::Latest => Some("latest".into()),
        Strategy::Manual => None,
    };
    Some(Conflict {
        kind: ConflictKind::ConcurrentVersions,
        message_id: target.clone(),
        sequence_number: entry.sequence_number,
        device_id: entry.original_device_id.clone(),
        vector_clock: entry.vector_clock.clone(),
        concurrent_with,
        conflicting_versions,
        resolution,
    })
}

/// The versions by `author`, the winner first. The order is total, so it is the same everywhere.
pub fn ranked<'a>(versions: &'a [Entry], author: &str, strategy: Strategy) -> Vec<&'a Entry> {
    let rank = |version: &Entry| {
        let (sum, time) = (version.vector_clock.sum(), version.message.timestamp.ms());
        if strategy == Strategy::Latest { (time, sum) } else { (sum, time) }
    };
    let beats = |one: &Entry, other: &Entry| (rank(one), &one.original_device_id) > (rank(other), &other.original_device_id);
    let mut ranked: Vec<&Entry> = Vec::new();
    for version in versions.iter().filter(|version| version.message.sender_wallet == author) {
        ranked.insert(ranked.partition_point(|other| beats(other, version)), version);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Stamp};

    fn entry(device: &str, clock: &str, replaces: Option<&str>, at_ms: u64) -> Entry {
        let vector_clock: VectorClock = clock.parse().unwrap();
        let id = format!("s:{device}:{}", vector_clock.get(device));
        let message = Message {
            id,
            sender_wallet: "w".into(),
            ciphertext: format!("by {device}"),
            timestamp: Stamp::Millis(at_ms),
            replaces: replaces.map(Into::into),
            ..Message::default()
        };
        Entry { message, sequence_number: 9, vector_clock, server_timestamp: 0, original_device_id: device.into() }
    }

    #[test]
    fn a_message_conflicts_with_exactly_what_its_clock_did_not_know() {
        let heads = r#"{"a":4,"b":7,"c":1}"#.parse().unwrap();
        let unknown = unknown_to(&entry("a", r#"{"a":5,"b":5,"c":1}"#, None, 0), &heads);
        assert_eq!(unknown, [CounterRange { device_id: "b".into(), from: 6, to: 7 }]);
    }

    #[test]
    fn winners_do_not_depend_on_the_order_of_arrival() {
        let one = entry("a", r#"{"a":2,"c":1}"#, Some("m"), 50);
        let two = entry("b", r#"{"a":1,"b":1}"#, Some("m"), 90);
        for versions in [vec![one.clone(), two.clone()], vec![two, one]] {
            assert_eq!(ranked(&versions, "w", Strategy::VectorClock)[0].original_device_id, "a");
            assert_eq!(ranked(&versions, "w", Strategy::Manual)[0].original_device_id, "a");
            assert_eq!(ranked(&versions, "w", Strategy::Latest)[0].original_device_id, "b");
        }
    }

    #[test]
    fn a_version_that_knows_all_others_ends_the_conflict() {
        let mut versions = Vec::new();
        add_version(&mut versions, entry("a", r#"{"a":2}"#, Some("m"), 0));
        let rival = entry("b", r#"{"a":1,"b":1}"#, Some("m"), 0);
        add_version(&mut versions, rival.clone());
        let conflict = concurrent_versions(&rival, &versions, Strategy::Manual).unwrap();
        assert_eq!((conflict.kind, conflict.resolution), (ConflictKind::ConcurrentVersions, None));
        assert_eq!(conflict.concurrent_with, [CounterRange { device_id: "a".into(), from: 2, to: 2 }], "the others, not itself");
        let resolution = entry("a", r#"{"a":3,"b":1}"#, Some("m"), 0);
        add_version(&mut versions, resolution.clone());
        assert_eq!(versions.len(), 1);
        assert!(concurrent_versions(&resolution, &versions, Strategy::Manual).is_none());
    }

    #[test]
    fn one_device_has_one_open_version_whatever_its_clocks_say() {
        let mut versions = Vec::new();
        add_version(&mut versions, entry("a", r#"{"a":1,"b":5}"#, Some("m"), 0));
        add_version(&mut versions, entry("a", r#"{"a":2,"b":4}"#, Some("m"), 0));
        assert_eq!(versions.iter().map(|version| &*version.message.id).collect::<Vec<_>>(), ["s:a:2"]);
    }

    #[test]
    fn of_too_many_versions_of_a_wallet_the_first_in_the_log_goes() {
        let mut foreign = entry("f", r#"{"f":1}"#, Some("m"), 0);
        foreign.message.sender_wallet = "other".into();
        let mut versions = vec![foreign];
        for number in 0..=VERSIONS_MAX {
            let device = format!("d{number:02}");
            add_version(&mut versions, entry(&device, &format!(r#"{{"{device}":1}}"#), Some("m"), 0));
        }
        let devices: Vec<&str> = versions.iter().map(|version| &*version.original_device_id).collect();
        assert_eq!((devices.len(), devices[0], devices[1]), (VERSIONS_MAX + 1, "f", "d01"), "the other wallet's stays");
    }

    #[test]
    fn versions_by_another_wallet_never_show() {
        let mut forged = entry("x", r#"{"x":9}"#, Some("m"), 99);
        forged.message.sender_wallet = "other".into();
        assert!(ranked(&[forged], "w", Strategy::VectorClock).is_empty());
    }
}
