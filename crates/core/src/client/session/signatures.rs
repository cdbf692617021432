//! Whose the entries of a batch are: none is taken before a signature of its device covers it, and none of one's own leaves
//! the outbox before the relay has signed that it has it.

use super::Session;
use crate::client::context::Context;
use crate::entry::{Entry, short_hex};
use crate::identity::{HeadSignature, SignedHead, UpdateSignature, is_key_id};
use crate::ids::DeviceId;
use crate::log::{Log, LogHead, Refusal};
use crate::sorted::Sorted;

/// What the devices of a batch have signed.
#[derive(Default)]
pub(super) struct Signers(Sorted<DeviceId, UpdateSignature>);

impl Signers {
    pub fn new(signatures: Vec<UpdateSignature>) -> Signers {
        let mut signers = Signers::default();
        for signature in signatures {
            signers.0.insert(signature.device_id(), signature);
        }
        signers
    }

    /// The signature under this very entry.
    fn under(&self, entry: &Entry) -> Option<&UpdateSignature> {
        self.0.get(&entry.device_id).filter(|signature| signature.counter == entry.counter)
    }

    /// How many of these entries, which follow each other, are covered: those of devices that sign by a signature under
    /// themselves or under a later one of these.
    pub fn covered(&self, entries: &[Entry]) -> usize {
        let mut count = entries.len();
        loop {
            let mut covered: Sorted<&str, ()> = Sorted::default();
            let mut first_bare = count;
            for (place, entry) in entries[..count].iter().enumerate().rev() {
                if self.under(entry).is_some() {
                    covered.insert(&entry.device_id, ());
                } else if !covered.contains_key(&*entry.device_id) && is_key_id(&entry.device_id) {
                    first_bare = place;
                }
            }
            if first_bare == count {
                return count;
            }
            // What would be covered by one behind it is not taken without that one.
            count = first_bare;
        }
    }

    /// Checks the signature under an entry, where there is one, by the log that ends with it. One check covers all that the
    /// device wrote before, because each of its digests covers the one before.
    ///
    /// # Errors
    /// The device did not sign this; or it has seen another log, and so the relay shows several.
    pub fn check(&self, entry: &Entry, log: &Log) -> Result<(), Refusal> {
        let Some(signature) = self.under(entry) else { return Ok(()) };
        let (session, sequence) = (&entry.message.session_id, entry.sequence_number);
        if signature.check(session, &log.digest(session, &entry.device_id)).is_err() {
            let device = &entry.device_id;
            return Err(Refusal::Forged(format!("device {device} did not sign the messages that the relay shows of it, up to {sequence}")));
        }
        let seen = signature.seen;
        if seen.sequence >= sequence {
            return Err(Refusal::Broken(format!("the author of entry {sequence} has seen the log up to {}", seen.sequence)));
        }
        match log.hash_at(seen.sequence) {
            Some(hash) if hash != seen.hash => Err(Refusal::Forked(format!(
                "device {} was shown another log up to {seen} than this device, which has {}",
                entry.device_id,
                short_hex(&hash)
            ))),
            // What is further back was compared when others spoke of it, or cannot be.
            _ => Ok(()),
        }
    }
}

impl Session {
    /// Takes what the relay has signed of its log. Where nobody signs, it need not.
    ///
    /// # Errors
    /// It has not signed it, or it is another log than the stored one.
    pub(super) fn prove(&mut self, context: &Context<'_>, head: Option<LogHead>, signature: Option<HeadSignature>) -> Result<(), Refusal> {
        let Some(relay) = context.relay_key() else { return Ok(()) };
        let (Some(head), Some(signature)) = (head, signature) else {
            return Err(Refusal::Broken("the relay does not sign where its log ends".into()));
        };
        if signature.check(&relay, self.id(), &head).is_err() {
            return Err(Refusal::Broken("what the relay says of its log is not signed with its key".into()));
        }
        self.flow.proven = Some(SignedHead { head, signature });
        let own = self.next.log.hash_at(head.sequence).filter(|hash| *hash != head.hash);
        match own {
            Some(hash) => {
                let own = LogHead { sequence: head.sequence, hash };
                Err(Refusal::Forked(format!("the relay's log up to {head} is another than the stored one, {own}")))
            }
            None => Ok(()),
        }
    }

    /// The last of these entries that waits in the outbox: the relay must have signed that it has it.
    pub(super) fn last_own(&self, entries: &[Entry]) -> Option<u64> {
        let is_own = |entry: &&Entry| entry.device_id == self.device && self.outbox.get(entry.counter).is_some();
        entries.iter().rev().find(is_own).map(|entry| entry.sequence_number)
    }

    /// Whether the relay has signed a log that reaches so far.
    pub(super) fn is_proven(&self, context: &Context<'_>, sequence: u64) -> bool {
        context.relay_key().is_none() || self.flow.proven.is_some_and(|proven| proven.head.sequence >= sequence)
    }
}
