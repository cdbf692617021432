//! The short number that two devices of an account show, so that a person approves the one in their hand.

use alloc::vec::Vec;

use crate::seal::PublicKey;
use crate::wire::put_text;
use crate::{Hash, hash};

/// What the new device says first: it binds it to its random bytes before it knows the other's.
pub fn commitment(account: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Hash {
    hash(&[b"solconnect.approval-commitment.v1\0", &texts(&[account, device]), seal_key, random])
}

/// What both show: below 1,000,000, and written with six digits. `device_random` fits the commitment: who approves has checked that.
pub fn number(account: &str, approver: &str, commitment: &Hash, device_random: &[u8; 32], approver_random: &[u8; 32]) -> u32 {
    let label = b"solconnect.approval-number.v1\0";
    let hash = hash(&[label, &texts(&[account, approver]), commitment, device_random, approver_random]);
    let first = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
    (first % 1_000_000) as u32
}

fn texts(texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    texts.iter().for_each(|text| put_text(&mut out, text));
    out
}
