//! What one wallet, and one address, may have of everything together, however many connections it comes by. What one connection
//! may cost is in `budget`, and how many connections an address may have is the shell's to say, before it opens any.
//!
//! Counts are of this life of the process: who has used up an hour's share has it back after a restart.

use std::collections::BTreeMap;

use super::api::{Cap, Source};
use crate::error::{ErrorCode, SyncError};
use crate::ids::WalletAddress;
use crate::limits::{
    ADDRESS_ATTACHMENTS_MAX, ADDRESS_CONVERSATIONS_PER_HOUR, ADDRESS_DEVICES_PER_HOUR, WALLET_ATTACHMENTS_MAX, WALLET_CONNECTIONS_MAX,
    WALLET_CONVERSATIONS_PER_HOUR,
};

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// How often refusals of one kind make a line in the log: strangers do not set its pace.
const LINE_INTERVAL_MS: u64 = 10_000;

/// Shares that are kept before those are forgotten which have nothing and have used nothing.
const SHARES_KEPT_MIN: usize = 1_024;

/// So many at once, and as many again in an hour: when all of it is back.
#[derive(Debug, Clone, Copy, Default)]
struct Hourly {
    full_at_ms: u64,
}

impl Hourly {
    /// Takes one of `max`, where there is one.
    fn take(&mut self, now_ms: u64, max: u64) -> bool {
        let full_at_ms = self.full_at_ms.max(now_ms) + HOUR_MS / max;
        let is_there = full_at_ms <= now_ms + HOUR_MS;
        if is_there {
            self.full_at_ms = full_at_ms;
        }
        is_there
    }
}

/// What a wallet or an address has, and has used.
#[derive(Debug, Default)]
struct Share {
    connections: usize,
    attached: usize,
    conversations: Hourly,
    devices: Hourly,
}

impl Share {
    fn is_needed(&self, now_ms: u64) -> bool {
        self.connections > 0 || self.attached > 0 || self.conversations.full_at_ms.max(self.devices.full_at_ms) > now_ms
    }
}

/// Shares by who has them.
#[derive(Debug)]
struct Shares<Name> {
    shares: BTreeMap<Name, Share>,
    /// So many make it worth looking for those that nobody needs.
    tidied_at: usize,
}

impl<Name> Default for Shares<Name> {
    fn default() -> Self {
        Shares { shares: BTreeMap::new(), tidied_at: SHARES_KEPT_MIN }
    }
}

impl<Name: Ord + Clone> Shares<Name> {
    fn of(&mut self, now_ms: u64, name: &Name) -> &mut Share {
        if self.shares.len() >= self.tidied_at {
            self.shares.retain(|_, share| share.is_needed(now_ms));
            self.tidied_at = (2 * self.shares.len()).max(SHARES_KEPT_MIN);
        }
        self.shares.entry(name.clone()).or_default()
    }
}

/// Who pays for something: the wallet that a connection has signed in as, where it has, and where it comes from, where that counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Payer {
    pub wallet: Option<WalletAddress>,
    pub source: Option<Source>,
}

/// The shares of all, and how often they did not suffice.
#[derive(Debug, Default)]
pub(super) struct Caps {
    wallets: Shares<WalletAddress>,
    sources: Shares<Source>,
    refused: BTreeMap<Cap, u64>,
    /// When each was logged last, and how many were refused since.
    lines: BTreeMap<Cap, (u64, u64)>,
}

impl Caps {
    /// How often each was reached.
    pub fn refused(&self) -> &BTreeMap<Cap, u64> {
        &self.refused
    }

    /// A connection signs in as this wallet.
    pub fn enter(&mut self, now_ms: u64, wallet: &WalletAddress, attached: usize) -> Result<(), Cap> {
        let share = self.wallets.of(now_ms, wallet);
        if share.connections >= WALLET_CONNECTIONS_MAX {
            return Err(Cap::WalletConnections);
        }
        share.connections += 1;
        share.attached += attached;
        Ok(())
    }

    /// A connection is gone that took part in so many sessions.
    pub fn leave(&mut self, now_ms: u64, payer: &Payer, attached: usize) {
        if let Some(wallet) = &payer.wallet {
            self.wallets.of(now_ms, wallet).connections -= 1;
        }
        self.detach(now_ms, payer, attached);
    }

    /// A connection takes part in so many sessions less.
    pub fn detach(&mut self, now_ms: u64, payer: &Payer, count: usize) {
        if let Some(wallet) = &payer.wallet {
            self.wallets.of(now_ms, wallet).attached -= count;
        }
        if let Some(source) = &payer.source {
            self.sources.of(now_ms, source).attached -= count;
        }
    }

    /// Whether a connection may take part in one more session.
    pub fn may_attach(&mut self, now_ms: u64, payer: &Payer) -> Result<(), Cap> {
        let is_full = |share: &Share, max: usize| share.attached >= max;
        if payer.wallet.as_ref().is_some_and(|wallet| is_full(self.wallets.of(now_ms, wallet), WALLET_ATTACHMENTS_MAX)) {
            return Err(Cap::WalletAttachments);
        }
        if payer.source.as_ref().is_some_and(|source| is_full(self.sources.of(now_ms, source), ADDRESS_ATTACHMENTS_MAX)) {
            return Err(Cap::AddressAttachments);
        }
        Ok(())
    }

    /// It does.
    pub fn attach(&mut self, now_ms: u64, payer: &Payer) {
        if let Some(wallet) = &payer.wallet {
            self.wallets.of(now_ms, wallet).attached += 1;
        }
        if let Some(source) = &payer.source {
            self.sources.of(now_ms, source).attached += 1;
        }
    }

    /// A connection begins a session.
    pub fn begin(&mut self, now_ms: u64, payer: &Payer) -> Result<(), Cap> {
        if let Some(wallet) = &payer.wallet
            && !self.wallets.of(now_ms, wallet).conversations.take(now_ms, WALLET_CONVERSATIONS_PER_HOUR)
        {
            return Err(Cap::WalletConversations);
        }
        if let Some(source) = &payer.source
            && !self.sources.of(now_ms, source).conversations.take(now_ms, ADDRESS_CONVERSATIONS_PER_HOUR)
        {
            return Err(Cap::AddressConversations);
        }
        Ok(())
    }

    /// A connection has a device listed.
    pub fn list_device(&mut self, now_ms: u64, payer: &Payer) -> Result<(), Cap> {
        match &payer.source {
            Some(source) if !self.sources.of(now_ms, source).devices.take(now_ms, ADDRESS_DEVICES_PER_HOUR) => Err(Cap::AddressDevices),
            _ => Ok(()),
        }
    }

    /// Something was refused for that: what is answered, and where it is time for one, a line for the log.
    pub fn refuse(&mut self, now_ms: u64, cap: Cap) -> (SyncError, Option<String>) {
        *self.refused.entry(cap).or_default() += 1;
        let line = match self.lines.get_mut(&cap) {
            Some((logged_at_ms, unlogged)) if now_ms < *logged_at_ms + LINE_INTERVAL_MS => {
                *unlogged += 1;
                None
            }
            _ => {
                let (_, unlogged) = self.lines.insert(cap, (now_ms, 0)).unwrap_or_default();
                Some(format!("refused: {cap}; {unlogged} more since the last line of this kind"))
            }
        };
        (SyncError::new(ErrorCode::RelayBusy, format!("{cap}; try again later")), line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payer(wallet: &str, source: u128) -> Payer {
        Payer { wallet: Some(wallet.into()), source: Some(Source(source)) }
    }

    #[test]
    fn an_hours_share_comes_back_bit_by_bit() {
        let mut caps = Caps::default();
        let one = payer("w", 1);
        let begun = |caps: &mut Caps, now_ms| (0..1_000).take_while(|_| caps.begin(now_ms, &one).is_ok()).count() as u64;
        assert_eq!(begun(&mut caps, 5), WALLET_CONVERSATIONS_PER_HOUR);
        assert_eq!(begun(&mut caps, 5 + HOUR_MS / 2), WALLET_CONVERSATIONS_PER_HOUR / 2);
        assert_eq!(begun(&mut caps, 5 + 100 * HOUR_MS), WALLET_CONVERSATIONS_PER_HOUR, "no more is saved up");
        assert_eq!(caps.begin(5, &payer("other", 2)), Ok(()), "others are not hurt");
    }

    #[test]
    fn wallets_of_one_address_share_what_it_may() {
        let mut caps = Caps::default();
        for number in 0..ADDRESS_CONVERSATIONS_PER_HOUR {
            assert_eq!(caps.begin(5, &payer(&format!("w{number}"), 1)), Ok(()));
        }
        assert_eq!(caps.begin(5, &payer("another", 1)), Err(Cap::AddressConversations));
        assert_eq!(caps.begin(5, &payer("another", 2)), Ok(()), "other addresses are not hurt");
        assert_eq!(caps.begin(5, &Payer { source: None, ..payer("here", 0) }), Ok(()), "programs of this machine have no address");
    }

    #[test]
    fn who_has_nothing_and_used_nothing_is_forgotten() {
        let mut caps = Caps::default();
        for number in 0..10 * SHARES_KEPT_MIN as u128 {
            let one = payer(&format!("w{number}"), number);
            caps.enter(5, one.wallet.as_ref().unwrap(), 0).unwrap();
            caps.attach(5, &one);
            caps.leave(5, &one, 1);
        }
        assert!(caps.wallets.shares.len() <= SHARES_KEPT_MIN && caps.sources.shares.len() <= SHARES_KEPT_MIN);
        let late = payer("late", 7);
        caps.begin(5, &late).unwrap();
        for number in 0..2 * SHARES_KEPT_MIN as u128 {
            caps.attach(6, &payer(&format!("v{number}"), number + 100_000));
        }
        assert!(caps.wallets.shares.contains_key("late"), "what it used is not forgotten before it is back");
    }

    #[test]
    fn refusals_are_all_counted_and_seldom_logged() {
        let mut caps = Caps::default();
        let lines: Vec<_> = [0, 1, 9_999, 10_000].map(|now_ms| caps.refuse(now_ms, Cap::WalletConnections).1).into_iter().collect();
        assert!(lines[0].is_some() && lines[1].is_none() && lines[2].is_none());
        assert!(lines[3].as_ref().is_some_and(|line| line.contains("2 more")), "{lines:?}");
        assert!(caps.refuse(10_001, Cap::AddressDevices).1.is_some(), "each kind has its lines");
        assert_eq!(caps.refused(), &BTreeMap::from([(Cap::WalletConnections, 4), (Cap::AddressDevices, 1)]));
    }
}
