//! Vector clocks: which messages a device knew when it wrote one (Fidge 1988, Mattern 1989).

use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ErrorCode, SyncError};
use crate::limits::{CLOCK_DEVICES_MAX, ID_BYTES_MAX, INFORMING_CLOCK_DEVICES_MAX, INTEGER_MAX};
use crate::scalar::{Scalar, whole_of};

/// How two clocks relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Causality {
    /// The left one happened before the right one.
    Before,
    /// The left one happened after the right one.
    After,
    /// They know the same.
    Equal,
    /// Neither knew of the other.
    Concurrent,
}

/// For each device the highest counter known. A device that is absent counts as 0.
///
/// Bounded: at most [`CLOCK_DEVICES_MAX`] devices and counters up to [`INTEGER_MAX`]. Written as a JSON object.
/// Inside a list in the order of the device ids: clocks are short, are walked through more often than changed, and
/// share the names of their devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorClock(Vec<(Arc<str>, u64)>);

impl VectorClock {
    /// A clock that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock of these counters, which are in the order of their devices, each once. Zeroes are left out.
    pub(crate) fn of_sorted(counters: impl Iterator<Item = (Arc<str>, u64)>) -> Self {
        VectorClock(counters.filter(|(_, counter)| *counter > 0).collect())
    }

    /// The counter of a device, 0 where it is absent.
    pub fn get(&self, device: &str) -> u64 {
        self.place(device).map_or(0, |place| self.0[place].1)
    }

    /// Where a device stands, or where it would.
    fn place(&self, device: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(device))
    }

    /// Sets a device's counter to `counter` where that is higher.
    ///
    /// # Errors
    /// `INVALID_VECTOR_CLOCK` above [`INTEGER_MAX`] or [`CLOCK_DEVICES_MAX`]; the clock is unchanged then.
    pub fn raise(&mut self, device: &str, counter: u64) -> Result<(), SyncError> {
        if counter > INTEGER_MAX {
            return Err(invalid(format!("counter {counter} of {device} is above 2^53 - 1")));
        }
        if counter == 0 {
            return Ok(());
        }
        match self.place(device) {
            Ok(place) => self.0[place].1 = counter.max(self.0[place].1),
            Err(_) if self.0.len() >= CLOCK_DEVICES_MAX => return Err(invalid(format!("more than {CLOCK_DEVICES_MAX} devices"))),
            Err(place) => self.0.insert(place, (device.into(), counter)),
        }
        Ok(())
    }

    /// Counts one event of `device` and returns its new counter.
    ///
    /// # Errors
    /// As [`VectorClock::raise`].
    pub fn tick(&mut self, device: &str) -> Result<u64, SyncError> {
        let next = self.get(device) + 1;
        self.raise(device, next)?;
        Ok(next)
    }

    /// Takes the higher counter of both, device by device.
    ///
    /// # Errors
    /// As [`VectorClock::raise`]; the clock is unchanged then.
    pub fn merge(&mut self, other: &VectorClock) -> Result<(), SyncError> {
        let mut merged = self.clone();
        for (device, counter) in &other.0 {
            merged.raise(device, *counter)?;
        }
        *self = merged;
        Ok(())
    }

    /// How this clock relates to another.
    pub fn compare(&self, other: &VectorClock) -> Causality {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Whether every counter of `other` is known here.
    pub fn covers(&self, other: &VectorClock) -> bool {
        self.behind(other).next().is_none()
    }

    /// Where `other` is ahead: the device, its counter here, its counter there. Walks once through both.
    pub(crate) fn behind<'a>(&'a self, other: &'a VectorClock) -> impl Iterator<Item = (&'a str, u64, u64)> {
        let mut here = self.0.iter().peekable();
        other.iter().filter_map(move |(device, counter)| {
            while here.next_if(|(before, _)| **before < *device).is_some() {}
            let known = here.peek().filter(|(known, _)| **known == *device).map_or(0, |(_, known)| *known);
            (known < counter).then_some((device, known, counter))
        })
    }

    /// The sum of all counters, saturating at [`INTEGER_MAX`]. Larger than the sum of every clock before it.
    pub fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, counter)| u64::min(sum + counter, INTEGER_MAX))
    }

    /// Devices and their counters, in the order of the device ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(device, counter)| (&**device, *counter))
    }

    /// For frames in which a clock only informs: itself, or nothing where it names more than
    /// [`INFORMING_CLOCK_DEVICES_MAX`] devices.
    #[must_use]
    pub fn informing(&self) -> VectorClock {
        if self.len() <= INFORMING_CLOCK_DEVICES_MAX { self.clone() } else { VectorClock::new() }
    }

    /// How many devices it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it knows nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn invalid(message: String) -> SyncError {
    SyncError::new(ErrorCode::InvalidVectorClock, message)
}

/// Prints the JSON form, `{"device-a":2,"device-b":1}`.
#[cfg(feature = "json")]
impl fmt::Display for VectorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(feature = "json")]
impl std::str::FromStr for VectorClock {
    type Err = SyncError;

    fn from_str(text: &str) -> Result<Self, SyncError> {
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))
    }
}

impl Serialize for VectorClock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for VectorClock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = VectorClock;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vector clock: an object of device ids and whole counters from 0 to 2^53 - 1")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VectorClock, A::Error> {
                let mut clock = VectorClock::new();
                while let Some(device) = map.next_key::<String>()? {
                    if device.is_empty() || device.len() > ID_BYTES_MAX {
                        return Err(A::Error::custom("vector clock: a device id is empty or too long"));
                    }
                    // As JavaScript has them, 3.0 is 3. Of what is `null` nothing is known.
                    let counter = match map.next_value::<Scalar>()? {
                        Scalar::Null => 0,
                        Scalar::Whole(counter) => counter,
                        Scalar::Real(number) if let Some(counter) = whole_of(number) => counter,
                        _ => return Err(A::Error::custom("vector clock: a counter is no whole number from 0 to 2^53 - 1")),
                    };
                    clock.raise(&device, counter).map_err(|error| A::Error::custom(format_args!("vector clock: {error}")))?;
                }
                Ok(clock)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> VectorClock {
        text.parse().unwrap()
    }

    #[test]
    fn compare_tells_all_four_relations() {
        let a = clock(r#"{"a":1}"#);
        assert_eq!(a.compare(&clock(r#"{"a":2}"#)), Causality::Before);
        assert_eq!(clock(r#"{"a":1,"b":1}"#).compare(&a), Causality::After);
        assert_eq!(a.compare(&clock(r#"{"a":1,"b":0}"#)), Causality::Equal);
        assert_eq!(a.compare(&clock(r#"{"b":1}"#)), Causality::Concurrent);
    }

    #[test]
    fn parse_refuses_malformed_clocks() {
        for bad in [r#"{"a":-1}"#, r#"{"a":1.5}"#, r#"{"a":9007199254740992}"#, r#"{"a":1e300}"#, r#"{"a":"1"}"#, "[]", r#"{"":1}"#, "7"] {
            let error = bad.parse::<VectorClock>().unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidVectorClock, "{bad}");
        }
    }

    #[test]
    fn a_clock_is_bounded_in_devices_and_counters() {
        let mut full = VectorClock::new();
        for n in 0..CLOCK_DEVICES_MAX {
            full.tick(&format!("device-{n}")).unwrap();
        }
        assert_eq!(full.tick("one-more").unwrap_err().code, ErrorCode::InvalidVectorClock);
        let before = full.clone();
        assert!(full.merge(&clock(r#"{"device-0":5,"one-more":1}"#)).is_err());
        assert_eq!(full, before, "a failed merge changes nothing");
        let mut last = clock(r#"{"a":9007199254740991}"#);
        assert!(last.tick("a").is_err());
    }

    #[test]
    fn an_informational_clock_of_many_devices_is_left_out() {
        let mut clock = VectorClock::new();
        for n in 0..INFORMING_CLOCK_DEVICES_MAX {
            clock.tick(&format!("device-{n}")).unwrap();
        }
        assert_eq!(clock.informing(), clock);
        clock.tick("one-more").unwrap();
        assert!(clock.informing().is_empty());
    }

    #[test]
    fn printing_and_parsing_give_the_same_clock() {
        let text = r#"{"a":2,"b":9007199254740991}"#;
        assert_eq!(clock(text).to_string(), text);
        assert_eq!(clock("{}"), VectorClock::new());
    }
}
