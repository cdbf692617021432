//! Whose devices wrote the entries of a batch: none is taken before the wallet that it names is known to have had its device.

use super::Session;
use crate::client::accounts::Outcome;
use crate::client::context::Context;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, WalletAddress, check_wallet};
use crate::limits::{ANSWER_TIMEOUT_MS, CLOCK_DEVICES_MAX};
use crate::log::Refusal;

/// Devices that are not known as those of the wallets that entries name. The relay is asked for the logs of these wallets, and what
/// came is thrown away: it is asked for again.
pub(super) struct Unproven {
    authors: Vec<(WalletAddress, DeviceId)>,
    /// Accounts that an epoch names further than they are known, and how far that was.
    accounts: Vec<(WalletAddress, u64)>,
    pub deadline_ms: u64,
}

impl Session {
    /// Whether the wallet of each of these entries is known to have had its device. Where not, the relay is asked, and nothing may be
    /// taken before it has answered.
    ///
    /// # Errors
    /// Nobody who is in the session wrote so.
    pub(super) fn know_authors(&mut self, context: &mut Context<'_>, entries: &[Entry]) -> Result<bool, Refusal> {
        if context.identity.is_none() {
            return Ok(true);
        }
        let end = self.next.log.end();
        let mut before = None;
        let mut unknown: Vec<(WalletAddress, DeviceId)> = Vec::new();
        // An entry that was erased says nothing, and its wallet's account may be erased too. A device without a key is in no account.
        for entry in entries.iter().filter(|entry| entry.sequence_number > end && entry.erased_digest().is_none()) {
            let (wallet, device) = (&entry.message.sender_wallet, &entry.device_id);
            if before == Some((wallet, device)) {
                continue;
            }
            before = Some((wallet, device));
            let sequence = entry.sequence_number;
            let is_possible = if self.next.group.is_some() { check_wallet(wallet).is_ok() } else { self.is_member(wallet) };
            if !is_possible {
                return Err(Refusal::Forged(format!("entry {sequence} is of {wallet}, which is not in this session")));
            }
            let is_known = (*device == self.device && *wallet == self.next.wallet) || context.has_listed(wallet, device);
            if !is_known && !unknown.iter().any(|known| (&known.0, &known.1) == (wallet, device)) {
                unknown.push((wallet.clone(), device.clone()));
            } else if self.next.sealed.is_some() && context.waits_elsewhere(wallet, device) {
                // It may be approved by now, and a lock says so.
                context.accounts.inquire(wallet);
            }
        }
        if unknown.is_empty() && self.flow.unproven.is_none() {
            return Ok(true);
        }
        // It is asked for when the session goes on.
        (self.flow.request, self.flow.held) = (None, Vec::new());
        let deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
        let unproven = self.flow.unproven.get_or_insert_with(|| Unproven { authors: Vec::new(), accounts: Vec::new(), deadline_ms });
        for author in unknown {
            // More than a session may have are asked about when these are known.
            if unproven.authors.len() < CLOCK_DEVICES_MAX && !unproven.authors.contains(&author) {
                context.accounts.inquire(&author.0);
                unproven.authors.push(author);
            }
        }
        Ok(false)
    }

    /// An epoch names more of an account's log than is known here: what came is asked for again when it is.
    pub(super) fn await_account(&mut self, context: &mut Context<'_>, wallet: WalletAddress) {
        (self.flow.request, self.flow.held) = (None, Vec::new());
        let deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
        let known = context.account(&wallet).map_or(0, |account| account.head().sequence);
        context.accounts.inquire(&wallet);
        let unproven = self.flow.unproven.get_or_insert_with(|| Unproven { authors: Vec::new(), accounts: Vec::new(), deadline_ms });
        unproven.accounts.push((wallet, known));
    }

    /// Whether the relay is asked whose devices are.
    pub fn awaits_authors(&self) -> bool {
        self.flow.unproven.is_some()
    }

    /// The relay has answered of some wallets: where all are known whose devices they are, the log is asked for again.
    ///
    /// # Errors
    /// A wallet has not had the device that wrote in its name, by a log that was asked for after the entry had come. An honest relay
    /// stores what lists a device before it takes anything of it.
    pub fn conclude_authors(&mut self, context: &mut Context<'_>) -> Result<(), SyncError> {
        let Some(Unproven { authors, accounts, .. }) = self.flow.unproven.take() else { return Ok(()) };
        let mut waiting = Vec::new();
        for (wallet, device) in authors {
            match context.accounts.outcome(&wallet) {
                Outcome::Open => waiting.push((wallet, device)),
                Outcome::Closed(Ok(())) if context.has_listed(&wallet, &device) => {}
                Outcome::Closed(outcome) => {
                    let message = format!("the relay shows entries of device {device}, which {wallet} never had");
                    let error = outcome.err().unwrap_or_else(|| SyncError::new(ErrorCode::EntryForged, message));
                    self.halted = Some(error.clone());
                    self.parted_at = Some(self.next.log.log_head());
                    return Err(error);
                }
            }
        }
        let mut unknown = Vec::new();
        for (wallet, before) in accounts {
            let known = context.account(&wallet).map_or(0, |account| account.head().sequence);
            match context.accounts.outcome(&wallet) {
                Outcome::Open => unknown.push((wallet, before)),
                Outcome::Closed(Ok(())) if known > before => {}
                Outcome::Closed(outcome) => {
                    let message = format!("an epoch names more of the account of {wallet} than the relay has, {known} entries");
                    let error = outcome.err().unwrap_or_else(|| SyncError::new(ErrorCode::RelayForked, message));
                    self.halted = Some(error.clone());
                    self.parted_at = Some(self.next.log.log_head());
                    return Err(error);
                }
            }
        }
        if waiting.is_empty() && unknown.is_empty() {
            self.ask_again(context);
        } else {
            let deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
            self.flow.unproven = Some(Unproven { authors: waiting, accounts: unknown, deadline_ms });
        }
        Ok(())
    }
}
