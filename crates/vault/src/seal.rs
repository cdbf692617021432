//! Seals: what only the holder of a private X25519 key opens, and only for what it was sealed for. HPKE in base mode.

use alloc::vec::Vec;
use core::convert::Infallible;

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _, setup_receiver, setup_sender_with_rng};
use zeroize::Zeroizing;

use crate::{Fault, Secret, expand, extract};

type Kem = X25519HkdfSha256;

/// The public half of an X25519 key: an account's, a device's, a recovery key's.
pub type PublicKey = [u8; 32];

/// What a seal is longer than what is sealed: an ephemeral key and a tag.
pub const SEAL_BYTES: usize = 32 + 16;

/// A sealed key or epoch secret.
pub type SealedKey = [u8; 32 + SEAL_BYTES];

/// The private half of an X25519 key: any 32 bytes that nobody else has.
#[derive(Clone)]
pub struct PrivateKey(Secret);

impl PrivateKey {
    /// The key that these bytes are.
    pub fn from_secret(secret: &[u8; 32]) -> PrivateKey {
        PrivateKey(Zeroizing::new(*secret))
    }

    /// The bytes again.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// What others know of it.
    pub fn public(&self) -> PublicKey {
        Kem::sk_to_pk(&self.key()).to_bytes().into()
    }

    /// Opens what was sealed to this key with this `info`.
    ///
    /// # Errors
    /// [`Fault::NotOpened`].
    pub fn open(&self, info: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.open_with(info, &[], sealed)
    }

    pub(crate) fn open_with(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (ephemeral, rest) = sealed.split_first_chunk::<32>().ok_or(Fault::NotOpened)?;
        let (ciphertext, tag) = rest.split_last_chunk::<16>().ok_or(Fault::NotOpened)?;
        let not_opened = |_| Fault::NotOpened;
        let ephemeral = <Kem as hpke::Kem>::EncappedKey::from_bytes(ephemeral).map_err(not_opened)?;
        let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(tag).map_err(not_opened)?;
        let mut context =
            setup_receiver::<ChaCha20Poly1305, HkdfSha256, Kem>(&OpModeR::Base, &self.key(), &ephemeral, info).map_err(not_opened)?;
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        context.open_inout_detached(InOutBuf::from(&mut opened[..]), aad, &tag).map_err(not_opened)?;
        Ok(opened)
    }

    /// Opens a sealed key or epoch secret.
    ///
    /// # Errors
    /// [`Fault::NotOpened`].
    pub fn open_key(&self, info: &[u8], sealed: &SealedKey) -> Result<Secret, Fault> {
        let opened = self.open(info, sealed)?;
        <&[u8; 32]>::try_from(&opened[..]).map(|key| Zeroizing::new(*key)).map_err(|_| Fault::NotOpened)
    }

    fn key(&self) -> <Kem as hpke::Kem>::PrivateKey {
        // Any 32 bytes are one.
        <Kem as hpke::Kem>::PrivateKey::from_bytes(&self.0[..]).expect("32 bytes")
    }
}

impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// 2^255 - 19, least significant byte first.
const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    prime
};

/// The points of low order in their one form: with each, any key shares the secret zero.
const LOW_ORDER: [PublicKey; 5] = {
    let (zero, mut one, mut minus_one) = ([0; 32], [0; 32], PRIME);
    (one[0], minus_one[0]) = (1, 0xec);
    [
        zero,
        one,
        minus_one,
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c,
            0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58,
            0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
    ]
};

/// Whether a public key may be listed: its one form, of a point of full order. It is no secret.
///
/// # Errors
/// [`Fault::WeakKey`].
pub fn check_public(key: &PublicKey) -> Result<(), Fault> {
    let is_one_form = key.iter().rev().lt(PRIME.iter().rev());
    if is_one_form && !LOW_ORDER.contains(key) { Ok(()) } else { Err(Fault::WeakKey) }
}

/// Seals bytes to a key. `random` may serve for other seals too: the ephemeral key is made of everything.
///
/// # Errors
/// [`Fault::WeakKey`].
pub fn seal(to: &PublicKey, info: &[u8], secret: &[u8], random: &[u8; 32]) -> Result<Vec<u8>, Fault> {
    let ephemeral = expand(&extract(random, secret), &[b"solconnect.ephemeral.v1\0", to, info]);
    seal_with(to, info, &[], secret, ephemeral)
}

/// Seals a key or an epoch's secret.
///
/// # Errors
/// [`Fault::WeakKey`].
pub fn seal_key(to: &PublicKey, info: &[u8], key: &Secret, random: &[u8; 32]) -> Result<SealedKey, Fault> {
    let sealed = seal(to, info, &key[..], random)?;
    sealed.try_into().map_err(|_| Fault::NotOpened)
}

/// Seals with the ephemeral key that RFC 9180 derives from these bytes, and with an AAD, which none of ours has.
pub(crate) fn seal_with(to: &PublicKey, info: &[u8], aad: &[u8], secret: &[u8], ephemeral: Secret) -> Result<Vec<u8>, Fault> {
    check_public(to)?;
    let weak = |_| Fault::WeakKey;
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(to).map_err(weak)?;
    let mut given = Given(ephemeral);
    let (ephemeral, mut context) =
        setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(&OpModeS::Base, &key, info, &mut given).map_err(weak)?;
    let mut sealed = Vec::with_capacity(secret.len() + SEAL_BYTES);
    sealed.extend_from_slice(&ephemeral.to_bytes());
    sealed.extend_from_slice(secret);
    let tag = context.seal_inout_detached(InOutBuf::from(&mut sealed[32..]), aad).map_err(weak)?;
    sealed.extend_from_slice(&tag.to_bytes());
    Ok(sealed)
}

/// What HPKE takes for a source of randomness: it asks for the bytes of one key, once.
struct Given(Secret);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0[..]);
        Ok(())
    }
}

impl TryCryptoRng for Given {}
