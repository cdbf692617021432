//! By what a message is known when it comes again.

use sha2::{Digest as _, Sha256};

use super::api::Key;
use crate::ids::{parse_message_id, start_of};
use crate::message::Message;

/// Whether a message of this device and counter is found by these where its name is known: nobody else can have that name.
pub(super) fn is_in_place(message: &Message, device_id: &str, counter: u64) -> bool {
    let has_start = start_of(&message.id, &message.session_id, device_id, counter).is_some_and(|start| !start.is_empty());
    // Whoever looks for the name has only the name: it must tell the place, which it does not where a device id has colons.
    has_start && parse_message_id(&message.id) == Some((&message.session_id, device_id, counter))
}

/// What the journal finds a message by whose name does not tell its place: a name belongs to a wallet.
pub(super) fn name_key(message: &Message) -> Key {
    key_of(&[&message.sender_wallet, &message.id])
}

/// The beginning of a SHA-256 over some texts.
pub(super) fn key_of(texts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let mut key = Key::default();
    let length = key.len();
    key.copy_from_slice(&hash.finalize()[..length]);
    key
}
