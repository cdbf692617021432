//! The lock of a device's secret at rest: the key that a passphrase or a passkey gives, and what is stored of it.

use alloc::vec::Vec;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::wire::{Malformed, Reader, put_varint};
use crate::{Fault, Secret, expand, extract};

/// How a record begins.
const PASSPHRASE: u8 = 1;
const PASSKEY: u8 = 2;

const SALT_BYTES: usize = 16;

/// How a record ends: by it a wrong passphrase is told from a right one.
const PROOF_BYTES: usize = 32;

/// WebAuthn allows no longer names of passkeys.
const CREDENTIAL_BYTES_MAX: usize = 1_023;

/// Argon2id as RFC 9106, section 4, recommends where memory is scarce: "t=3 iterations, p=4 lanes, m=2^(16) (64 MiB of RAM)".
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

/// What a record may ask for: several times as much as today, so that it can be raised. What is on a disk shall neither take all memory
/// of a page nor keep it for more than seconds.
const COST_MAX: Cost = Cost { memory_kib: 256 * 1024, passes: 8, lanes: 16 };

struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A record without its proof.
enum Lock<'a> {
    Passphrase { salt: &'a [u8; SALT_BYTES], cost: Cost },
    Passkey,
}

impl<'a> Lock<'a> {
    fn take(bytes: &'a [u8]) -> Result<Lock<'a>, Malformed> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            PASSPHRASE => {
                let salt = reader.array()?;
                let mut number = |most: u32| reader.count(most as usize).map(|number| number as u32);
                let (memory_kib, passes, lanes) = (number(COST_MAX.memory_kib)?, number(COST_MAX.passes)?, number(COST_MAX.lanes)?);
                reader.end()?;
                Ok(Lock::Passphrase { salt, cost: Cost { memory_kib, passes, lanes } })
            }
            PASSKEY if (1..=CREDENTIAL_BYTES_MAX).contains(&reader.0.len()) => Ok(Lock::Passkey),
            _ => Err(Malformed("it is no lock that is known here")),
        }
    }

    /// The key, and the proof that it is this one.
    fn both(&self, input: &[u8]) -> Result<(Secret, Secret), Fault> {
        let key = match self {
            Lock::Passphrase { salt, cost } => extract(b"solconnect.lock-by-passphrase.v1\0", &stretch(input, &salt[..], cost)?[..]),
            Lock::Passkey => extract(b"solconnect.lock-by-passkey.v1\0", input),
        };
        Ok((expand(&key, &[b"key"]), expand(&key, &[b"proof"])))
    }
}

/// How the record of a new lock by a passphrase begins.
pub fn passphrase_lock(salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut out = [&[PASSPHRASE], &salt[..]].concat();
    [COST.memory_kib, COST.passes, COST.lanes].into_iter().for_each(|number| put_varint(&mut out, number.into()));
    out
}

/// How the record of a new lock by this passkey begins.
pub fn passkey_lock(credential: &[u8]) -> Vec<u8> {
    [&[PASSKEY], credential].concat()
}

/// The key of a new lock, and its record, of which this is the beginning. `input`: the passphrase in UTF-8, or what the passkey gives.
///
/// # Errors
/// [`Fault::Malformed`], and [`Fault::Failed`] in lack of memory.
pub fn close(lock: &[u8], input: &[u8]) -> Result<(Secret, Vec<u8>), Fault> {
    let (key, proof) = Lock::take(lock)?.both(input)?;
    Ok((key, [lock, &proof[..]].concat()))
}

/// The key of the lock with this record; `None` where it is another passphrase or passkey.
///
/// # Errors
/// [`Fault::Malformed`] for a record that is none, and [`Fault::Failed`] in lack of memory.
pub fn open(record: &[u8], input: &[u8]) -> Result<Option<Secret>, Fault> {
    let (lock, proof) = record.split_last_chunk::<PROOF_BYTES>().ok_or(Malformed("it ends too early"))?;
    let (key, own) = Lock::take(lock)?.both(input)?;
    Ok(bool::from(own.ct_eq(proof)).then_some(key))
}

fn stretch(passphrase: &[u8], salt: &[u8], cost: &Cost) -> Result<Secret, Fault> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|_| Malformed("its lanes lack memory"))?;
    let mut blocks = Zeroizing::new(Vec::new());
    blocks.try_reserve_exact(params.block_count()).map_err(|_| Fault::Failed)?;
    blocks.resize(params.block_count(), Block::new());
    let mut key = Secret::default();
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into_with_memory(passphrase, salt, &mut key[..], &mut blocks[..]).map_err(|_| Fault::Failed)?;
    Ok(key)
}
