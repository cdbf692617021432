//! Conflicts: what did not know of each other, and which version of an edited message wins.
//!
//! Both are functions of the log alone, so every replica finds the same (I12).

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::ids::{DeviceId, MessageId};
use crate::limits::{CONFLICT_TEXT_BYTES_MAX, CONFLICT_VERSIONS_MAX, VERSIONS_MAX};
use crate::message::{Message, Stamp};
use crate::vector_clock::VectorClock;

/// `conflictResolutionStrategy`: which of several concurrent versions of one message is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum Strategy {
    /// The version whose author had seen more of the log; ties by timestamp, then device id.
    #[default]
    VectorClock,
    /// The latest timestamp; ties by what its author had seen, then device id.
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

/// Entries `from` to `to` of the log, by their sequence numbers, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct LogRange {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// One side of a conflict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictingVersion {
    /// What was written.
    pub message: Message,
    /// Where.
    pub device_id: DeviceId,
    /// What was known then.
    pub vector_clock: VectorClock,
    /// When.
    pub timestamp: Stamp,
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
    /// The part of the log that its author had not seen: it is concurrent with every entry there that another device
    /// wrote. Absent for versions, which `conflictingVersions` lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub concurrent_with: Option<LogRange>,
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

/// Reports an entry of the log that is concurrent with entries before it ([`Log::is_concurrent`]), with those of the
/// `others` at hand that it did not know.
///
/// [`Log::is_concurrent`]: crate::log::Log::is_concurrent
pub fn concurrent_messages<'a>(
    entry: &'a Entry,
    others: impl Iterator<Item = &'a Entry>,
    clock_of: impl Fn(&Entry) -> VectorClock,
) -> Conflict {
    let unknown = LogRange { from: entry.knows + 1, to: entry.sequence_number.saturating_sub(1) };
    let named = |other: &&Entry| {
        (unknown.from..=unknown.to).contains(&other.sequence_number)
            && other.device_id != entry.device_id
            && other.counter > entry.also.get(&other.device_id)
    };
    let mut text_bytes = 0;
    let fits = |other: &&Entry| {
        text_bytes += other.message.ciphertext.len();
        text_bytes <= CONFLICT_TEXT_BYTES_MAX
    };
    let versions = std::iter::once(entry).chain(others.filter(named).take_while(fits)).take(CONFLICT_VERSIONS_MAX);
    Conflict {
        kind: ConflictKind::ConcurrentMessages,
        message_id: entry.message.id.clone(),
        sequence_number: entry.sequence_number,
        device_id: entry.device_id.clone(),
        vector_clock: clock_of(entry),
        concurrent_with: Some(unknown),
        conflicting_versions: versions.map(|version| conflicting_version(version, &clock_of)).collect(),
        resolution: Some("log_order".into()),
    }
}

fn conflicting_version(entry: &Entry, clock_of: impl Fn(&Entry) -> VectorClock) -> ConflictingVersion {
    ConflictingVersion {
        message: entry.message.clone(),
        device_id: entry.device_id.clone(),
        vector_clock: clock_of(entry),
        timestamp: entry.message.timestamp.clone(),
    }
}

/// Whether the author of `new` had seen `old`.
fn knows(new: &Entry, old: &Entry) -> bool {
    let in_log = old.sequence_number > 0 && old.sequence_number <= new.knows;
    in_log || old.counter <= new.also.get(&old.device_id) || old.device_id == new.device_id
}

/// Adds a version of a message: those of the same wallet that its author had seen or that the same device wrote are
/// superseded, and so is it where one behind it in the log knows it. Of more than [`VERSIONS_MAX`] of a wallet the one that is first in the log goes.
pub fn add_version(versions: &mut Vec<Entry>, new: Entry) {
    let is_rival = |old: &Entry| old.message.sender_wallet == new.message.sender_wallet;
    // What is read late may be older than what is there.
    let is_behind = |old: &Entry| new.sequence_number > 0 && old.sequence_number > new.sequence_number;
    if versions.iter().any(|old| is_rival(old) && is_behind(old) && knows(old, &new)) {
        return;
    }
    versions.retain(|old| !(is_rival(old) && knows(&new, old)));
    if versions.iter().filter(|old| is_rival(old)).count() >= VERSIONS_MAX
        && let Some(first) = versions.iter().position(is_rival)
    {
        versions.remove(first);
    }
    let place = versions.iter().position(is_behind).unwrap_or(versions.len());
    versions.insert(place, new);
}

/// Reports the versions of one message that `entry` meets, or `None` where it supersedes all.
pub fn concurrent_versions(
    entry: &Entry,
    versions: &[Entry],
    strategy: Strategy,
    clock_of: impl Fn(&Entry) -> VectorClock,
) -> Option<Conflict> {
    let target = entry.message.replaces.as_ref()?;
    let rivals: Vec<&Entry> = ranked(versions, &entry.message.sender_wallet, strategy);
    if rivals.len() < 2 {
        return None;
    }
    let conflicting_versions = rivals.iter().take(CONFLICT_VERSIONS_MAX).map(|version| conflicting_version(version, &clock_of)).collect();
    let resolution = match strategy {
        Strategy::VectorClock => Some("vector_clock".into()),
        Strategy::Latest => Some("latest".into()),
        Strategy::Manual => None,
    };
    Some(Conflict {
        kind: ConflictKind::ConcurrentVersions,
        message_id: target.clone(),
        sequence_number: entry.sequence_number,
        device_id: entry.device_id.clone(),
        vector_clock: clock_of(entry),
        concurrent_with: None,
        conflicting_versions,
        resolution,
    })
}

/// The versions by `author`, the winner first. The order is total, so it is the same everywhere.
pub fn ranked<'a>(versions: &'a [Entry], author: &str, strategy: Strategy) -> Vec<&'a Entry> {
    let rank = |version: &Entry| {
        let (knows, time) = (version.knows, version.message.timestamp.ms());
        if strategy == Strategy::Latest { (time, knows) } else { (knows, time) }
    };
    let beats = |one: &Entry, other: &Entry| (rank(one), &one.device_id) > (rank(other), &other.device_id);
    let mut ranked: Vec<&Entry> = Vec::new();
    for version in versions.iter().filter(|version| version.message.sender_wallet == author) {
        ranked.insert(ranked.partition_point(|other| beats(other, version)), version);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(device: &str, sequence_number: u64, knows: u64, at_ms: u64) -> Entry {
        let message = Message {
            id: format!("{device}-{sequence_number}"),
            sender_wallet: "w".into(),
            ciphertext: format!("by {device}"),
            timestamp: Stamp::Millis(at_ms),
            replaces: Some("m".into()),
            ..Message::default()
        };
        Entry { message, sequence_number, counter: 1, knows, device_id: device.into(), ..Entry::default() }
    }

    fn no_clock(_: &Entry) -> VectorClock {
        VectorClock::new()
    }

    #[test]
    fn a_conflict_names_what_its_author_had_not_seen() {
        let entry = version("a", 9, 4, 0);
        let others = [version("b", 4, 0, 0), version("b", 5, 0, 0), version("a", 6, 0, 0), version("c", 7, 0, 0)];
        let conflict = concurrent_messages(&entry, others.iter(), no_clock);
        assert_eq!(conflict.concurrent_with, Some(LogRange { from: 5, to: 8 }));
        let ids: Vec<&str> = conflict.conflicting_versions.iter().map(|version| &*version.message.id).collect();
        assert_eq!(ids, ["a-9", "b-5", "c-7"]);
    }

    #[test]
    fn what_is_read_late_does_not_come_back() {
        let mut versions = vec![version("a", 7, 4, 0)];
        add_version(&mut versions, version("a", 3, 0, 0));
        add_version(&mut versions, version("b", 4, 0, 0));
        assert_eq!(versions.len(), 1, "by the same device, and known");
        add_version(&mut versions, version("b", 5, 0, 0));
        assert_eq!(versions.iter().map(|version| version.sequence_number).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn winners_do_not_depend_on_the_order_of_arrival() {
        let (one, two) = (version("a", 7, 3, 50), version("b", 8, 2, 90));
        for versions in [vec![one.clone(), two.clone()], vec![two, one]] {
            assert_eq!(ranked(&versions, "w", Strategy::VectorClock)[0].device_id, "a");
            assert_eq!(ranked(&versions, "w", Strategy::Manual)[0].device_id, "a");
            assert_eq!(ranked(&versions, "w", Strategy::Latest)[0].device_id, "b");
        }
    }

    #[test]
    fn a_version_that_knows_all_others_ends_the_conflict() {
        let mut versions = Vec::new();
        add_version(&mut versions, version("a", 2, 1, 0));
        let rival = version("b", 3, 1, 0);
        add_version(&mut versions, rival.clone());
        let conflict = concurrent_versions(&rival, &versions, Strategy::Manual, no_clock).unwrap();
        assert_eq!((conflict.kind, conflict.resolution), (ConflictKind::ConcurrentVersions, None));
        assert_eq!(conflict.conflicting_versions.len(), 2);
        let resolution = version("c", 4, 3, 0);
        add_version(&mut versions, resolution.clone());
        assert_eq!(versions.len(), 1);
        assert!(concurrent_versions(&resolution, &versions, Strategy::Manual, no_clock).is_none());
    }

    #[test]
    fn one_device_has_one_open_version() {
        let mut versions = Vec::new();
        add_version(&mut versions, version("a", 5, 4, 0));
        add_version(&mut versions, version("a", 6, 2, 0));
        assert_eq!(versions.iter().map(|version| &*version.message.id).collect::<Vec<_>>(), ["a-6"]);
    }

    #[test]
    fn a_wallet_with_too_many_versions_loses_its_earliest() {
        let mut foreign = version("f", 1, 0, 0);
        foreign.message.sender_wallet = "other".into();
        let mut versions = vec![foreign];
        for number in 0..=VERSIONS_MAX {
            add_version(&mut versions, version(&format!("d{number:02}"), number as u64 + 2, 0, 0));
        }
        let devices: Vec<&str> = versions.iter().map(|version| &*version.device_id).collect();
        assert_eq!((devices.len(), devices[0], devices[1]), (VERSIONS_MAX + 1, "f", "d01"), "the other wallet's stays");
    }

    #[test]
    fn versions_by_another_wallet_never_show() {
        let mut forged = version("x", 9, 9, 99);
        forged.message.sender_wallet = "other".into();
        assert!(ranked(&[forged], "w", Strategy::VectorClock).is_empty());
    }
}
