//! Where a connection is with signing in.

use sha2::{Digest as _, Sha256};

use super::api::{ConnectionId, Doorkeeper};
use super::gate::Signed;
use crate::frame::Hello;
use crate::identity::{DomainSet, Nonce};
use crate::ids::{DeviceId, SessionId, WalletAddress};
use crate::limits::{HELLOS_MAX, NONCE_MS};
use crate::log::LogHead;
use crate::time::Now;

/// Who a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guest {
    pub wallet: WalletAddress,
    pub device_id: DeviceId,
    pub account_id: SessionId,
    /// Those of its application.
    pub domains: DomainSet,
}

/// One connection's way in.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// What was said to be signed, until it is used, and until when.
    nonce: Option<(Nonce, u64)>,
    /// How many were said.
    said: u64,
    /// It has answered rightly, and its account is asked about it.
    pub is_asking: bool,
    pub guest: Option<Guest>,
}

impl Door {
    /// What is said to a connection, with a nonce that nobody could know before; `None` where it was said too often.
    pub fn hello(&mut self, now: Now, keeper: &Doorkeeper, connection: ConnectionId, account: Option<LogHead>) -> Option<Hello> {
        if self.said >= HELLOS_MAX {
            return None;
        }
        self.said += 1;
        self.is_asking = false;
        let hash = Sha256::new()
            .chain_update(b"solconnect.nonce.v1\0")
            .chain_update(keeper.secret)
            .chain_update(connection.to_be_bytes())
            .chain_update(self.said.to_be_bytes())
            .finalize();
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&hash[..16]);
        self.nonce = Some((nonce, now.monotonic_ms + NONCE_MS));
        Some(Hello {
            nonce,
            relay_key: keeper.key.public(),
            earlier: keeper.earlier.clone(),
            time: now.wall_ms,
            sign_in_required: keeper.is_required,
            account,
        })
    }

    /// Uses up what was said; says whether this is it, in time.
    pub fn take_nonce(&mut self, now: Now, nonce: &Nonce) -> bool {
        self.nonce.take().is_some_and(|(said, until_ms)| said == *nonce && now.monotonic_ms <= until_ms)
    }

    /// What it has proved.
    pub fn signed(&self, keeper: Option<&Doorkeeper>) -> Signed<'_> {
        match &self.guest {
            Some(Guest { wallet, device_id, account_id, .. }) => Signed::In { wallet, device_id, account_id },
            None if keeper.is_some_and(|keeper| keeper.is_required) => Signed::Required,
            None => Signed::Open,
        }
    }
}
