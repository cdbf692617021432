//! A model of docs/encryption.md: terms instead of bytes, and an adversary who is the relay, a dishonest member and a stolen device at
//! once. It holds every entry that was ever sent, shows each device any entries in any order, says of account logs what is in them as
//! late as it likes, and makes entries of its own with the keys and secrets that it has. What it can learn follows from terms by the
//! usual rules (Dolev-Yao): who has a private key opens what is sealed to it, who has a secret reads what is encrypted under it, nothing
//! else opens anything.
//!
//! Honest devices follow the rules of the page, each of which can be taken out ([`Rule`]). A search visits every state that can be
//! reached ([`search()`]), and holds the promises of the page against each ([`promises`]).
//!
//! How to write it down for another prover: an [`terms::Entry`] is a signed message whose author is its key; a [`terms::Body`] is a
//! constructor; a transcript is a free hash of the entries that count; a seal is public-key encryption with the place as associated
//! data; a text is symmetric encryption under a key that is a hash of secret, transcript and device. Honest devices are processes with
//! one state each, their log. What is `made_by`, `is_private` and `written_after` in an entry is for the promises alone: nobody reads it.
//!
//! Left out: account logs are one list each, which the adversary can hold back and not fork (only approved devices write them, and one
//! honest device does); asking for a secret is no entry, an honest device hears of it; times, sizes, the short number.

pub mod devices;
pub mod log;
pub mod promises;
pub mod rules;
pub mod scenes;
pub mod search;
pub mod terms;

pub use rules::{ALL_RULES, Rule, Rules};
pub use scenes::Scene;
pub use search::{Outcome, search};
