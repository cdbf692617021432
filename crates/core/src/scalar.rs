//! Numbers and texts of JSON as clients of other hands write them: `3`, `3.0` and `"3"` are one number, `null` is nothing.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits::INTEGER_MAX;

/// A value of JSON, whatever it is.
pub(crate) enum Scalar {
    Null,
    /// A whole number from 0.
    Whole(u64),
    /// Any other number: JSON has no infinite ones.
    Real(f64),
    Text(String),
    /// A list, an object, true or false.
    Other,
}

/// The number as a whole one, where it is one from 0 to 2^53 - 1.
pub(crate) fn whole_of(number: f64) -> Option<u64> {
    ((0.0..=INTEGER_MAX as f64).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

impl Scalar {
    /// The whole number that it stands for; nothing is 0.
    fn whole(&self) -> Option<u64> {
        match self {
            Scalar::Null => Some(0),
            Scalar::Whole(number) => Some(*number),
            Scalar::Real(number) => whole_of(*number),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Other => None,
        }
    }

    /// The nearest whole number from 0 to 2^53 - 1 that is not above it; what is no number is 0.
    fn floor(&self) -> u64 {
        let number = match self {
            Scalar::Whole(number) => return (*number).min(INTEGER_MAX),
            Scalar::Real(number) => *number,
            Scalar::Text(text) => text.parse().unwrap_or(0.0),
            Scalar::Null | Scalar::Other => 0.0,
        };
        number.clamp(0.0, INTEGER_MAX as f64) as u64
    }
}

/// A whole number that counts. `null` is 0.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    let unexpected = match &scalar {
        Scalar::Real(number) => Unexpected::Float(*number),
        Scalar::Text(text) => Unexpected::Str(text),
        _ => Unexpected::Other("another value"),
    };
    scalar.whole().ok_or_else(|| D::Error::invalid_value(unexpected, &"a whole number from 0 to 2^53 - 1"))
}

/// A number that refuses nothing: where less than it is safe, it is rounded down, and 0 where it cannot be read.
pub(crate) fn floor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Scalar::deserialize(deserializer)?.floor())
}

/// A number that refuses nothing: absent where it is no whole number.
pub(crate) fn whole_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Null => None,
        scalar => scalar.whole().filter(|number| *number <= INTEGER_MAX),
    })
}

/// A text that refuses nothing: numbers are texts too, and what is neither is nothing.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Whole(number) => number.to_string(),
        Scalar::Real(number) => number.to_string(),
        Scalar::Null | Scalar::Other => String::new(),
    })
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }

            fn visit_none<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
                Scalar::deserialize(deserializer)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(u64::try_from(number).map_or(Scalar::Real(number as f64), Scalar::Whole))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Real(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Scalar, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
