//! What an entry of a group says of who is in it.

use base64ct::{Base64, Encoding as _};

use super::GroupNonce;
use crate::error::{ErrorCode, SyncError};
use crate::identity::DomainSet;
use crate::ids::{WalletAddress, public_key, wallet_address};
use crate::limits::{DOMAINS_MAX, GROUP_MEMBERS_MAX};
use crate::message::{Kind, Message};
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// The layout. Another number is another layout.
const LAYOUT: u8 = 1;

/// What is said of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// It begins.
    Begin {
        /// What its id is made of, with the domains and the wallet that begins it.
        nonce: GroupNonce,
        /// Those of its application.
        domains: DomainSet,
        /// What it is called.
        name: String,
        /// Its wallets, and whether each is an admin. The one that begins it is the first, and an admin.
        members: Vec<(WalletAddress, bool)>,
    },
    /// These come in.
    Add(Vec<WalletAddress>),
    /// These leave. A member that is no admin says it of itself alone.
    Remove(Vec<WalletAddress>),
    /// It is called so from now on.
    Rename(String),
    /// These are admins.
    Promote(Vec<WalletAddress>),
    /// These are admins no longer.
    Demote(Vec<WalletAddress>),
}

impl Statement {
    /// As a message that is to be written; the rest of it is given by who writes it.
    pub fn message(&self) -> Message {
        Message { ciphertext: Base64::encode_string(&self.to_bytes()), kind: Kind::GROUP, ..Message::default() }
    }

    /// What a message says of its group.
    ///
    /// # Errors
    /// `INVALID_MESSAGE_FORMAT`.
    pub fn of(message: &Message) -> Result<Statement, SyncError> {
        let malformed = |what: &str| SyncError::new(ErrorCode::InvalidMessageFormat, ["what is said of a group: ", what].concat());
        if message.kind != Kind::GROUP {
            return Err(malformed("it is of another kind"));
        }
        let bytes = Base64::decode_vec(&message.ciphertext).map_err(|_| malformed("it is not in base64"))?;
        Statement::from_bytes(&bytes).map_err(|Malformed(what)| malformed(what))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![LAYOUT];
        match self {
            Statement::Begin { nonce, domains, name, members } => {
                out.push(1);
                out.extend_from_slice(nonce);
                domains.put(&mut out);
                put_bytes(&mut out, name.as_bytes());
                put_varint(&mut out, members.len() as u64);
                for (wallet, is_admin) in members {
                    put_wallet(&mut out, wallet);
                    out.push(u8::from(*is_admin));
                }
            }
            Statement::Add(wallets) => put_wallets(&mut out, 2, wallets),
            Statement::Remove(wallets) => put_wallets(&mut out, 3, wallets),
            Statement::Rename(name) => {
                out.push(4);
                put_bytes(&mut out, name.as_bytes());
            }
            Statement::Promote(wallets) => put_wallets(&mut out, 5, wallets),
            Statement::Demote(wallets) => put_wallets(&mut out, 6, wallets),
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Statement, Malformed> {
        let mut reader = Reader(bytes);
        if reader.byte()? != LAYOUT {
            return Err(Malformed(&"it is of another layout"));
        }
        let statement = match reader.byte()? {
            1 => {
                let nonce = *reader.array()?;
                let domains = take_domains(&mut reader)?;
                let name = reader.text()?.to_owned();
                let count = reader.below(GROUP_MEMBERS_MAX + 1)?;
                let mut members = Vec::with_capacity(count);
                for _ in 0..count {
                    let wallet = take_wallet(&mut reader)?;
                    let is_admin = match reader.byte()? {
                        0 => false,
                        1 => true,
                        _ => return Err(Malformed(&"a member is an admin or not")),
                    };
                    members.push((wallet, is_admin));
                }
                Statement::Begin { nonce, domains, name, members }
            }
            2 => Statement::Add(take_wallets(&mut reader)?),
            3 => Statement::Remove(take_wallets(&mut reader)?),
            4 => Statement::Rename(reader.text()?.to_owned()),
            5 => Statement::Promote(take_wallets(&mut reader)?),
            6 => Statement::Demote(take_wallets(&mut reader)?),
            _ => return Err(Malformed(&"it is of another kind")),
        };
        if reader.0.is_empty() { Ok(statement) } else { Err(Malformed(&"more stands behind it")) }
    }
}

pub(super) fn take_domains(reader: &mut Reader<'_>) -> Result<DomainSet, Malformed> {
    let count = reader.below(DOMAINS_MAX + 1)?;
    let domains: Vec<String> = (0..count).map(|_| reader.text().map(str::to_owned)).collect::<Result<_, Malformed>>()?;
    let set = DomainSet::new(domains.clone()).map_err(|_| Malformed(&"its domains are none"))?;
    // In one form: another order would be other bytes for the same.
    if set.iter().eq(domains.iter().map(String::as_str)) { Ok(set) } else { Err(Malformed(&"its domains are not in their order")) }
}

/// What is no wallet has no bytes: it is read as another one that nobody has.
pub(super) fn put_wallet(out: &mut Vec<u8>, wallet: &str) {
    out.extend_from_slice(&public_key(wallet).unwrap_or_default());
}

pub(super) fn take_wallet(reader: &mut Reader<'_>) -> Result<WalletAddress, Malformed> {
    Ok(wallet_address(reader.array()?))
}

fn put_wallets(out: &mut Vec<u8>, kind: u8, wallets: &[WalletAddress]) {
    out.push(kind);
    put_varint(out, wallets.len() as u64);
    wallets.iter().for_each(|wallet| put_wallet(out, wallet));
}

fn take_wallets(reader: &mut Reader<'_>) -> Result<Vec<WalletAddress>, Malformed> {
    let count = reader.below(GROUP_MEMBERS_MAX + 1)?;
    (0..count).map(|_| take_wallet(reader)).collect()
}
