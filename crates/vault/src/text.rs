//! Texts: what a device writes in an epoch, encrypted for its place.

use alloc::vec::Vec;

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::layout::EncryptedText;
use crate::wire::{Malformed, put_text, put_varint};
use crate::{Fault, Hash, Secret};

/// Where a text stands, and what around it is in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The digest of the entry that its device wrote before it, or the beginning of the chain.
    pub previous: &'a Hash,
    /// The entry's counter.
    pub counter: u64,
    /// What its author had seen of the log.
    pub knows: u64,
    /// The entry's kind.
    pub kind: u64,
    /// The message's id.
    pub id: &'a str,
}

impl Place<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.id.len());
        out.extend_from_slice(self.previous);
        [self.counter, self.knows, self.kind].into_iter().for_each(|number| put_varint(&mut out, number));
        put_text(&mut out, self.id);
        out
    }
}

/// The keys of what one device writes in one epoch.
#[derive(Clone)]
pub struct TextKeys {
    message: Secret,
    nonce: Secret,
}

impl core::fmt::Debug for TextKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TextKeys(..)")
    }
}

impl TextKeys {
    pub(crate) fn new(derived: &[u8; 64]) -> TextKeys {
        let mut keys = TextKeys { message: Secret::default(), nonce: Secret::default() };
        keys.message.copy_from_slice(&derived[..32]);
        keys.nonce.copy_from_slice(&derived[32..]);
        keys
    }

    /// Encrypts what an entry says at its place, in the epoch of this number.
    pub fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> EncryptedText {
        let aad = place.to_bytes();
        let mut ciphertext = pad(content);
        let nonce = self.nonce_of(&aad, &ciphertext);
        let cipher = ChaCha20Poly1305::new((&*self.message).into());
        let tag = cipher.encrypt_inout_detached((&nonce).into(), &aad, ciphertext[..].as_mut().into());
        ciphertext.extend_from_slice(&tag.expect("a text is shorter than 256 GiB"));
        EncryptedText { epoch, nonce, ciphertext }
    }

    /// What an entry says at this place.
    ///
    /// # Errors
    /// [`Fault::NotOpened`] for a text of another epoch, device or place, or with a nonce of another making.
    pub fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let aad = place.to_bytes();
        let (ciphertext, tag) = text.ciphertext.split_last_chunk::<16>().ok_or(Fault::NotOpened)?;
        let mut content = Zeroizing::new(ciphertext.to_vec());
        let cipher = ChaCha20Poly1305::new((&*self.message).into());
        cipher.decrypt_inout_detached((&text.nonce).into(), &aad, content[..].as_mut().into(), tag.into()).map_err(|_| Fault::NotOpened)?;
        if !bool::from(self.nonce_of(&aad, &content).ct_eq(&text.nonce)) {
            return Err(Fault::NotOpened);
        }
        let length = unpadded(&content)?;
        content.truncate(length);
        Ok(content)
    }

    /// Made of what is encrypted: another text has another nonce, whoever else has the same key and counter.
    fn nonce_of(&self, aad: &[u8], padded: &[u8]) -> [u8; 12] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.nonce[..]).expect("a key of any length");
        [&(aad.len() as u64).to_le_bytes()[..], aad, padded].into_iter().for_each(|part| mac.update(part));
        let code: [u8; 32] = mac.finalize().into_bytes().into();
        code.first_chunk().copied().unwrap_or_default()
    }
}

/// What a content of so many bytes is padded to. The length is no secret to who encrypts, and its size is to be seen.
pub fn padded_bytes(content_bytes: usize) -> usize {
    let least = content_bytes + 1;
    // An eighth of the power of two below, and 32 at least.
    let step = ((least.saturating_sub(1)).checked_ilog2().map_or(0, |log| 1 << log) / 8_usize).max(32);
    least.next_multiple_of(step)
}

fn pad(content: &[u8]) -> Vec<u8> {
    let size = padded_bytes(content.len());
    // Room for the tag too: what is overwritten must not have been moved.
    let mut padded = Vec::with_capacity(size + 16);
    padded.extend_from_slice(content);
    padded.push(0x80);
    padded.resize(size, 0);
    padded
}

/// How long the content is. It is looked at in one way, wherever it ends.
fn unpadded(padded: &[u8]) -> Result<usize, Malformed> {
    let (mut is_inside, mut length, mut is_good) = (0_u8, 0_usize, 1_u8);
    for (place, byte) in padded.iter().enumerate().rev() {
        let (is_zero, is_mark) = (byte.ct_eq(&0).unwrap_u8(), byte.ct_eq(&0x80).unwrap_u8());
        let is_end = (1 - is_inside) & is_mark;
        is_good &= is_inside | is_mark | is_zero;
        length |= place * usize::from(is_end);
        is_inside |= 1 - is_zero;
    }
    // One form: a content in a larger size than its own would be another text with the same meaning.
    if is_good & is_inside == 1 && padded_bytes(length) == padded.len() { Ok(length) } else { Err(Malformed("a text is not padded")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_of_another_making_is_refused() {
        let keys = TextKeys::new(&[7; 64]);
        let place = Place { previous: &[1; 32], counter: 1, knows: 0, kind: 0, id: "id" };
        for nonce in [[0; 12], [9; 12]] {
            let mut ciphertext = pad(b"content");
            let cipher = ChaCha20Poly1305::new((&*keys.message).into());
            let tag = cipher.encrypt_inout_detached((&nonce).into(), &place.to_bytes(), ciphertext[..].as_mut().into()).unwrap();
            ciphertext.extend_from_slice(&tag);
            assert_eq!(keys.decrypt(place, &EncryptedText { epoch: 1, nonce, ciphertext }).unwrap_err(), Fault::NotOpened);
        }
    }

    #[test]
    fn another_padding_is_refused() {
        let keys = TextKeys::new(&[7; 64]);
        let place = Place { previous: &[1; 32], counter: 1, knows: 0, kind: 0, id: "id" };
        let marked = |size: usize, at: usize| (0..size).map(|place| if place == at { 0x80 } else { 0 }).collect::<Vec<u8>>();
        // Without an end, in a larger size than its own, with an end that is none.
        let bent = [alloc::vec![0; 32], alloc::vec![1; 32], marked(64, 2), [marked(32, 2), alloc::vec![1; 32]].concat()];
        for mut ciphertext in bent {
            let nonce = keys.nonce_of(&place.to_bytes(), &ciphertext);
            let cipher = ChaCha20Poly1305::new((&*keys.message).into());
            let tag = cipher.encrypt_inout_detached((&nonce).into(), &place.to_bytes(), ciphertext[..].as_mut().into()).unwrap();
            ciphertext.extend_from_slice(&tag);
            let opened = keys.decrypt(place, &EncryptedText { epoch: 1, nonce, ciphertext });
            assert!(matches!(opened.unwrap_err(), Fault::Malformed(_)));
        }
    }
}
