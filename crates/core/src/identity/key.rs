//! Keys: Ed25519, verified so that a signature has one form and a key means one point.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::error::{ErrorCode, SyncError};
use crate::ids::DeviceId;

/// The public half of an Ed25519 key: a wallet's, a device's or a relay's.
pub type PublicKey = [u8; 32];

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// The key pair of a device or a relay. What it is made of is overwritten when it is dropped.
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The key pair of these 32 secret bytes, which nobody else may have or guess.
    pub fn from_secret(secret: &[u8; 32]) -> DeviceKey {
        DeviceKey(SigningKey::from_bytes(secret))
    }

    /// What the pair is made of again.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// What others know of it.
    pub fn public(&self) -> PublicKey {
        self.0.verifying_key().to_bytes()
    }

    /// The id of the device that has this key.
    pub fn device_id(&self) -> DeviceId {
        device_id(&self.public())
    }

    /// Signs these bytes. They begin with a label that says what is signed.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        self.0.sign(bytes).to_bytes()
    }
}

/// Two pairs are the same where their public halves are. The secret one is shown nowhere.
impl PartialEq for DeviceKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKey({})", self.device_id())
    }
}

/// The id of a device: base58 of the first 16 bytes of SHA-256 of its public key. Who wants to write under the id of another
/// device must find a key with the same 128 bits.
pub fn device_id(key: &PublicKey) -> DeviceId {
    let hash: [u8; 32] = Sha256::digest(key).into();
    hash.first_chunk().map(base58).unwrap_or_default()
}

/// Whether an id has the form of one that is made of a key. Who writes under such an id signs; the ids that the relay's other
/// clients take have another form, unless they are made to look so.
pub fn is_key_id(id: &str) -> bool {
    // The longest that 16 bytes give; what is longer is not worth counting.
    if id.len() > 22 {
        return false;
    }
    let next = |number: u128, byte: u8| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        number.checked_mul(58)?.checked_add(digit as u128)
    };
    let number = id.bytes().try_fold(0, next);
    number.is_some_and(|number| base58(&number.to_be_bytes()) == id)
}

const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Base58 as wallets are written in, of 16 bytes.
fn base58(bytes: &[u8; 16]) -> String {
    let mut number = *bytes;
    let mut text = Vec::with_capacity(22);
    while number.iter().any(|byte| *byte > 0) {
        let mut rest = 0;
        for byte in &mut number {
            let dividend = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((dividend / 58) as u8, dividend % 58);
        }
        text.push(DIGITS[rest as usize]);
    }
    text.extend(bytes.iter().take_while(|byte| **byte == 0).map(|_| DIGITS[0]));
    text.reverse();
    text.into_iter().map(char::from).collect()
}

/// Checks a signature by the strict rules: one signature has one form, and a key that would accept signatures of everything
/// is none.
///
/// # Errors
/// `INVALID_KEY` for bytes that are no point, that are another form of one, or a point of low order. `INVALID_SIGNATURE` for
/// a signature by another key, over other bytes, or in another form.
pub fn verify(key: &PublicKey, bytes: &[u8], signature: &Signature) -> Result<(), SyncError> {
    #[cfg(feature = "memo")]
    if memo::holds(key, bytes, signature) {
        return Ok(());
    }
    let checked = VerifyingKey::from_bytes(key).ok().filter(|point| !point.is_weak() && point.to_edwards().compress().to_bytes() == *key);
    let point = checked.ok_or_else(|| SyncError::new(ErrorCode::InvalidKey, "a public key is no point of full order"))?;
    let wrong = |_| SyncError::new(ErrorCode::InvalidSignature, "a signature does not belong to this key and these bytes");
    point.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature)).map_err(wrong)?;
    #[cfg(feature = "memo")]
    memo::note(key, bytes, signature);
    Ok(())
}

/// Where one process plays all devices, each signature is checked as often as there are readers, and half of its time goes
/// there: it remembers which signatures hold.
#[cfg(feature = "memo")]
mod memo {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use sha2::{Digest as _, Sha256};

    use super::{PublicKey, Signature};

    /// 2 MiB of hashes, more than a simulated world has signatures.
    const MAX_HASHES: usize = 65_536;

    thread_local! {
        static CHECKED: RefCell<BTreeSet<[u8; 32]>> = RefCell::default();
    }

    /// Key and signature have their lengths, so that the three cannot be parted another way.
    fn hash(key: &PublicKey, bytes: &[u8], signature: &Signature) -> [u8; 32] {
        Sha256::new().chain_update(key).chain_update(signature).chain_update(bytes).finalize().into()
    }

    pub fn holds(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        CHECKED.with_borrow(|checked| checked.contains(&hash(key, bytes, signature)))
    }

    pub fn note(key: &PublicKey, bytes: &[u8], signature: &Signature) {
        CHECKED.with_borrow_mut(|checked| {
            if checked.len() >= MAX_HASHES {
                checked.clear();
            }
            checked.insert(hash(key, bytes, signature));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::hex::{bytes, hex};

    /// RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc): secret, public, message, signature.
    const RFC_8032: [[&str; 4]; 4] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ];

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        for [secret, public, message, signature] in RFC_8032 {
            let key = DeviceKey::from_secret(&bytes(secret).try_into().unwrap());
            assert_eq!(hex(&key.public()), public);
            assert_eq!(hex(&key.sign(&bytes(message))), signature);
            assert_eq!(verify(&key.public(), &bytes(message), &key.sign(&bytes(message))), Ok(()));
        }
    }

    #[test]
    fn a_signature_of_other_bytes_or_another_key_is_refused() {
        let (one, other) = (DeviceKey::from_secret(&[1; 32]), DeviceKey::from_secret(&[2; 32]));
        let signature = one.sign(b"bytes");
        for (key, message) in [(&one, &b"byte"[..]), (&other, b"bytes")] {
            assert_eq!(verify(&key.public(), message, &signature).unwrap_err().code, ErrorCode::InvalidSignature);
        }
        for place in 0..64 {
            let mut bent = signature;
            bent[place] ^= 1;
            assert_eq!(verify(&one.public(), b"bytes", &bent).unwrap_err().code, ErrorCode::InvalidSignature, "byte {place}");
        }
    }

    #[test]
    fn a_signature_has_no_second_form() {
        /// The order of the group, least significant byte first.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0x10,
        ];
        let key = DeviceKey::from_secret(&[3; 32]);
        let mut malleable = key.sign(b"bytes");
        let mut carry = 0;
        for (byte, add) in malleable[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(verify(&key.public(), b"bytes", &malleable).unwrap_err().code, ErrorCode::InvalidSignature);
    }

    #[test]
    fn keys_of_low_order_and_in_other_forms_are_refused() {
        // The eight points of low order, as other libraries list them, and their forms that are not canonical.
        let low = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ];
        // Of such a key and R = A, S = 0, verifiers that are not strict take every message where it is the neutral one.
        for text in low {
            let key: PublicKey = bytes(text).try_into().unwrap();
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&key);
            assert_eq!(verify(&key, b"anything", &signature).unwrap_err().code, ErrorCode::InvalidKey, "{text}");
        }
        // y = p + 3 and so on are other forms of points of full order.
        for small in 3..19u8 {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (0xed + small, 0x7f);
            assert_eq!(verify(&key, b"anything", &[0; 64]).unwrap_err().code, ErrorCode::InvalidKey, "p + {small}");
        }
        // R of low order: the strict rules refuse what others take.
        let key = DeviceKey::from_secret(&[4; 32]);
        let mut signature = key.sign(b"bytes");
        signature[..32].copy_from_slice(&bytes(low[0]));
        assert_eq!(verify(&key.public(), b"bytes", &signature).unwrap_err().code, ErrorCode::InvalidSignature);
    }

    #[test]
    fn a_device_id_is_base58_of_half_the_keys_hash() {
        // By `base58(sha256(bytes(32))[:16])` of another language, and by hand for the zeroes.
        assert_eq!(device_id(&[0; 32]), "DeTSfmxgv4Z92NiMDHRi3h");
        assert_eq!(base58(&[0; 16]), "1111111111111111");
        assert_eq!(base58(&[0xff; 16]), "YcVfxkQb6JRzqk5kF2tNLv");
        assert_eq!(base58(&1u128.to_be_bytes()), "1111111111111112");
    }

    #[test]
    fn only_ids_of_sixteen_bytes_look_like_those_of_keys() {
        for secret in 0..100 {
            assert!(is_key_id(&DeviceKey::from_secret(&[secret; 32]).device_id()));
        }
        assert!(is_key_id("1111111111111111") && is_key_id("YcVfxkQb6JRzqk5kF2tNLv"));
        let drawn = crate::ids::new_device_id(&mut fastrand::Rng::with_seed(1));
        for other in ["", "d", "1", "111111111111111", "YcVfxkQb6JRzqk5kF2tNLw", "0l0l0l0l0l0l0l0l0l0l", &drawn, &"1".repeat(40)] {
            assert!(!is_key_id(other), "{other}");
        }
    }
}
