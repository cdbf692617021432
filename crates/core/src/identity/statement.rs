//! What an entry of an account log says, signed by the device that says it.

use base64ct::{Base64, Encoding as _};
use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PublicKey as SealKey, SealedKey};

use super::certificate::{Certificate, Owner, Succession};
use super::key::{DeviceKey, PublicKey, Signature, device_id, verify};
use super::recovery::{NewRecoveryKey, Recovery};
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, message_id};
use crate::limits::{ACCOUNT_DEVICES_MAX, ID_BYTES_MAX};
use crate::log::LogHead;
use crate::message::{Kind, Message, Stamp};
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// The layout. Another number is another layout.
const LAYOUT: u8 = 1;

/// What is said of the devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The device that says it is one more.
    Join(Certificate),
    /// The device that says it is the only one.
    Reset(Certificate),
    /// The device that says it follows an old key of the same database.
    Succeed(Succession),
    /// These may do all that approved devices may.
    Approve(Vec<DeviceId>),
    /// These leave, and with them what they certified or approved, but for those that are kept.
    Remove {
        /// Who leaves.
        devices: Vec<DeviceId>,
        /// Who stays, although one of them certified or approved it.
        kept: Vec<DeviceId>,
    },
    /// Account keys are sealed to this key for the device that says it.
    SealKey(SealKey),
    /// The next account key.
    Generation(Generation),
    /// These leave, and those who stay have the next account key.
    RemoveAndRenew {
        /// As of `Remove`.
        devices: Vec<DeviceId>,
        /// As of `Remove`.
        kept: Vec<DeviceId>,
        /// The key.
        generation: Generation,
    },
    /// These may do all that approved devices may, and have the newest account key, which is sealed to each.
    ApproveWithKey(Vec<(DeviceId, SealedKey)>),
    /// One more recovery key.
    RecoveryKey(NewRecoveryKey),
    /// The device that says it is approved by a recovery key.
    Recover(Recovery),
}

impl Claim {
    /// As it stands in a statement.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.put(&mut out);
        out
    }

    /// Reads what stands in a statement.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Claim, Malformed> {
        let mut reader = Reader(bytes);
        let claim = Claim::take(&mut reader)?;
        if !reader.0.is_empty() {
            return Err(Malformed("more stands behind a claim"));
        }
        // A number can be written longer than it need be.
        if claim.to_bytes() == bytes { Ok(claim) } else { Err(Malformed("a claim in another form")) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let put_devices = |out: &mut Vec<u8>, devices: &[DeviceId]| {
            put_varint(out, devices.len() as u64);
            devices.iter().for_each(|device| put_bytes(out, device.as_bytes()));
        };
        match self {
            Claim::Join(certificate) => {
                out.push(1);
                certificate.put(out);
            }
            Claim::Reset(certificate) => {
                out.push(2);
                certificate.put(out);
            }
            Claim::Succeed(succession) => {
                out.push(3);
                out.extend_from_slice(&succession.predecessor);
                out.extend_from_slice(&succession.signature);
            }
            Claim::Approve(devices) => {
                out.push(4);
                put_devices(out, devices);
            }
            Claim::Remove { devices, kept } => {
                out.push(5);
                put_devices(out, devices);
                put_devices(out, kept);
            }
            Claim::SealKey(key) => {
                out.push(6);
                out.extend_from_slice(key);
            }
            Claim::Generation(generation) => {
                out.push(7);
                generation.put(out);
            }
            Claim::RemoveAndRenew { devices, kept, generation } => {
                out.push(8);
                put_devices(out, devices);
                put_devices(out, kept);
                generation.put(out);
            }
            Claim::ApproveWithKey(sealed) => {
                out.push(9);
                put_varint(out, sealed.len() as u64);
                for (device, sealed) in sealed {
                    put_bytes(out, device.as_bytes());
                    out.extend_from_slice(sealed);
                }
            }
            Claim::RecoveryKey(key) => {
                out.push(10);
                key.put(out);
            }
            Claim::Recover(Recovery { key, signature }) => {
                out.push(11);
                out.extend_from_slice(key);
                out.extend_from_slice(signature);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Claim, Malformed> {
        Ok(match reader.byte()? {
            1 => Claim::Join(Certificate::take(reader)?),
            2 => Claim::Reset(Certificate::take(reader)?),
            3 => Claim::Succeed(Succession { predecessor: *reader.array()?, signature: *reader.array()? }),
            4 => Claim::Approve(devices(reader)?),
            5 => Claim::Remove { devices: devices(reader)?, kept: devices(reader)? },
            6 => Claim::SealKey(*reader.array()?),
            7 => Claim::Generation(generation(reader)?),
            8 => Claim::RemoveAndRenew { devices: devices(reader)?, kept: devices(reader)?, generation: generation(reader)? },
            9 => Claim::ApproveWithKey(list(reader, |reader| Ok((device(reader)?, *reader.array()?)), |(device, _)| device)?),
            10 => Claim::RecoveryKey(NewRecoveryKey::take(reader)?),
            11 => Claim::Recover(Recovery { key: *reader.array()?, signature: *reader.array()? }),
            _ => return Err(Malformed("a statement of another kind")),
        })
    }
}

/// A claim at its place, with who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The log before it: it counts only right behind.
    pub after: LogHead,
    /// The device that says it.
    pub by: PublicKey,
    /// What it says.
    pub claim: Claim,
    /// Its signature over all of this.
    pub signature: Signature,
}

impl Statement {
    /// Signs a claim.
    pub fn sign(key: &DeviceKey, owner: &Owner, after: LogHead, claim: Claim) -> Statement {
        let mut statement = Statement { after, by: key.public(), claim, signature: [0; 64] };
        statement.signature = key.sign(&statement.signed_bytes(owner));
        statement
    }

    /// Checks that the device has signed it for this account.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn check_signature(&self, owner: &Owner) -> Result<(), SyncError> {
        verify(&self.by, &self.signed_bytes(owner), &self.signature)
    }

    fn signed_bytes(&self, owner: &Owner) -> Vec<u8> {
        let mut bytes = b"solconnect.account-entry.v1\0".to_vec();
        put_bytes(&mut bytes, owner.account_id.as_bytes());
        self.put(&mut bytes);
        bytes
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(LAYOUT);
        put_varint(out, self.after.sequence);
        out.extend_from_slice(&self.after.hash);
        out.extend_from_slice(&self.by);
        self.claim.put(out);
    }

    /// As it stands in an entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.put(&mut out);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads what stands in an entry.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Statement, Malformed> {
        let mut reader = Reader(bytes);
        if reader.byte()? != LAYOUT {
            return Err(Malformed("a statement of another layout"));
        }
        let after = LogHead { sequence: reader.varint()?, hash: *reader.array()? };
        let by = *reader.array()?;
        let claim = Claim::take(&mut reader)?;
        let signature = *reader.array()?;
        if !reader.0.is_empty() {
            return Err(Malformed("more stands behind a statement"));
        }
        let statement = Statement { after, by, claim, signature };
        // A number can be written longer than it need be: then other bytes, with another digest, would say the same.
        if statement.to_bytes() == bytes { Ok(statement) } else { Err(Malformed("a statement in another form")) }
    }

    /// As an entry that its device writes into the account log.
    pub fn entry(&self, owner: &Owner, counter: u64, wall_ms: u64) -> Entry {
        let device_id = device_id(&self.by);
        let message = Message {
            id: message_id(&owner.account_id, &device_id, "", counter),
            sender_wallet: owner.wallet.clone(),
            ciphertext: Base64::encode_string(&self.to_bytes()),
            timestamp: Stamp::Iso(wall_ms),
            session_id: owner.account_id.clone(),
            kind: Kind::ACCOUNT,
            ..Message::default()
        };
        Entry { message, device_id, counter, knows: self.after.sequence, ..Entry::default() }
    }

    /// What an entry says, where its device says it.
    ///
    /// # Errors
    /// `INVALID_MESSAGE_FORMAT` for an entry that says something else, `WRONG_KEY` for one under another device's id.
    pub fn of(entry: &Entry) -> Result<Statement, SyncError> {
        let malformed = |what: &str| SyncError::new(ErrorCode::InvalidMessageFormat, ["an entry of an account log: ", what].concat());
        if entry.message.kind != Kind::ACCOUNT {
            return Err(malformed("it is of another kind"));
        }
        let bytes = Base64::decode_vec(&entry.message.ciphertext).map_err(|_| malformed("it is not in base64"))?;
        let statement = Statement::from_bytes(&bytes).map_err(|Malformed(what)| malformed(what))?;
        if device_id(&statement.by) != entry.device_id {
            return Err(SyncError::new(ErrorCode::WrongKey, "an entry of an account log is signed by another device"));
        }
        Ok(statement)
    }
}

fn devices(reader: &mut Reader<'_>) -> Result<Vec<DeviceId>, Malformed> {
    list(reader, device, |device| device)
}

/// What is said of some, each named once.
fn list<T>(
    reader: &mut Reader<'_>,
    take: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
    id_of: impl Fn(&T) -> &DeviceId,
) -> Result<Vec<T>, Malformed> {
    let count = reader.below(ACCOUNT_DEVICES_MAX + 1)?;
    let mut items: Vec<T> = Vec::with_capacity(count);
    for _ in 0..count {
        let item = take(reader)?;
        if items.iter().any(|other| id_of(other) == id_of(&item)) {
            return Err(Malformed("a device is named twice"));
        }
        items.push(item);
    }
    Ok(items)
}

fn device(reader: &mut Reader<'_>) -> Result<DeviceId, Malformed> {
    match reader.text()? {
        device if device.is_empty() || device.len() > ID_BYTES_MAX => Err(Malformed("a device is not named")),
        device => Ok(device.to_owned()),
    }
}

fn generation(reader: &mut Reader<'_>) -> Result<Generation, Malformed> {
    let (generation, rest) = Generation::take(reader.0).map_err(|_| Malformed("a generation in another form"))?;
    reader.0 = rest;
    Ok(generation)
}
