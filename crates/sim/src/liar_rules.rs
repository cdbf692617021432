//! What devices say of a relay, honest or not: the lies that they notice, and the evidence that they have.

use solconnect_sync_core::client::Client;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::identity::{Evidence, Verdict, judge};
use solconnect_sync_core::ids::is_sealed_id;
use solconnect_sync_core::log::Log;

use crate::checker::{Checker, e};
use crate::client_disk::State;
use crate::faults::Fault;
use crate::ledger::{Fate, number_of};
use crate::liar::Lie;
use crate::relay_disk::Journal;
use crate::signers::SignIn;
use crate::world::{ProfileId, TabId, World};

/// What a device's application can export of a session.
fn evidence(client: &Client, state: &State, session_id: &str) -> Option<Evidence> {
    let mut evidence = client.evidence(session_id)?;
    let entries = state.entries(session_id);
    // What is encrypted is stored as it was opened: nobody finds the digests of that again.
    if entries.first().is_some_and(|entry| entry.sequence_number == 1) && !is_sealed_id(session_id) {
        evidence.follow(&mut Log::new(session_id), &entries).ok()?;
    }
    Some(evidence)
}

impl Checker {
    /// All who write have signed in.
    pub fn expect_signatures(&mut self) {
        self.all_sign = true;
    }

    /// The relay's journal is another one, and it says what it likes.
    pub fn expect_lie(&mut self, journal: &Journal) {
        self.expect_set_back(journal);
    }

    /// A tab says of the relay that it lies, or was set back.
    pub(crate) fn accuses(&mut self, tab: TabId, error: &SyncError) {
        let Some(profile) = self.tabs.get(&tab).map(|view| view.profile) else { return };
        self.accusations.insert((profile, error.code.as_str()));
        // What cannot be read may be of anybody on the way, and of logs I19 says who may.
        let (text, is_forged) = (error.to_string(), error.code == ErrorCode::EntryForged);
        self.require_where(18, is_forged, self.relay_lies, || format!("tab {tab} accuses an honest relay: {text}"));
    }

    /// A message is shown as of the wallet that wrote it, in the session that it was written in.
    pub(crate) fn shows_its_author(&mut self, tab: TabId, session_id: &str, told: &Entry) {
        let sender = &told.message.sender_wallet;
        let sent = self.ledger.sent(&told.message.ciphertext).map(|(_, sent)| sent);
        let wrote = sent.is_some_and(|sent| sent.session_id == *session_id && self.profiles[sent.profile].wallet == *sender);
        let text: String = told.message.ciphertext.chars().take(40).collect();
        self.require_where(17, self.all_sign, wrote, || {
            format!("tab {tab} shows {text:?} of {sender} in {session_id}, who wrote no such thing")
        });
        if let (true, Some(number), Some(view)) = (self.relay_lies, number_of(&told.message.ciphertext), self.tabs.get_mut(&tab)) {
            let is_new = view.told.insert((session_id.to_owned(), number));
            self.require(17, is_new, || format!("tab {tab} shows s{number} of {session_id} twice"));
        }
    }
}

impl World {
    /// What all devices of a session know of what the relay has signed.
    fn evidence_of(&self, session_id: &str) -> Vec<Evidence> {
        let profiles = self.profiles.iter().filter_map(|profile| Some((profile, self.tabs.get(&profile.tab?)?)));
        profiles.filter_map(|(profile, tab)| evidence(&tab.client, profile.disk.state(), session_id)).collect()
    }

    /// All has converged at an honest relay: nothing that it has signed speaks against it (I18). Where its clock was set back it may
    /// look as if its journal was.
    pub fn judge_honest(&mut self) {
        if self.sign_in == SignIn::Never {
            return;
        }
        let clock_jumped = self.ctx.faults.counts()[Fault::RelayClockJump as usize] > 0;
        let sessions: Vec<String> = self.checker.ledger.sessions().map(|(id, _)| id.clone()).collect();
        for session_id in sessions {
            let files = self.evidence_of(&session_id);
            let verdict = (!files.is_empty()).then(|| judge(&files));
            let is_honest = match &verdict {
                None | Some(Ok(Verdict::Consistent(_))) => true,
                Some(Ok(Verdict::SetBack(..))) => clock_jumped,
                Some(_) => false,
            };
            self.checker.require_where(18, verdict.is_some(), is_honest, || {
                format!("what devices know of {session_id} speaks against an honest relay: {verdict:?}")
            });
        }
    }

    /// The relay has lied of a session and two entries were exchanged: some device says so, and what it has signed can be verified.
    pub fn judge_lie(&mut self, lie: Lie, session_id: &str, inside: &[ProfileId], first: usize) {
        let told: Vec<&str> = self.checker.accusations.iter().map(|(_, code)| *code).collect();
        let is_noticed = lie.codes().iter().any(|code| told.contains(&code.as_str()));
        let told = format!("{told:?}");
        self.checker.require(18, is_noticed, || {
            format!("{lie:?} of {session_id}, between profiles {inside:?}, is noticed by nobody: they told {told}")
        });
        self.checker.require_where(e(6), self.checker.encrypts, is_noticed, || format!("{lie:?} of {session_id} is noticed by nobody"));
        let files = self.evidence_of(session_id);
        let verdict = (!files.is_empty()).then(|| judge(&files));
        let is_verified = !matches!(verdict, Some(Err(_)));
        self.checker.require_where(18, verdict.is_some(), is_verified, || {
            format!("what devices know of {session_id} after {lie:?} cannot be verified: {verdict:?}")
        });
        // Where a log that was signed ends earlier later, what devices kept shows it by itself, unless the clock was set back too. An entry
        // that was forged, and a log that is only another one, nobody has signed so that one device could show it.
        let is_convicted = matches!(verdict, Some(Ok(Verdict::Forked(..) | Verdict::SetBack(..))));
        let clock_jumped = self.ctx.faults.counts()[Fault::RelayClockJump as usize] > 0;
        let convicts = matches!(lie, Lie::RollsBack | Lie::Forks | Lie::StoresNothing) && !clock_jumped;
        self.checker.require_where(18, convicts, is_convicted, || {
            format!("what devices know of {session_id} after {lie:?} does not convict the relay: {verdict:?}")
        });
        self.judge_writers(session_id, first);
    }

    /// Nothing is lost that was written since the message of this number: its device has it, or still sends it.
    pub(crate) fn judge_writers(&mut self, session_id: &str, first: usize) {
        let written = self.checker.ledger.sent.iter().enumerate().skip(first).filter(|(_, sent)| sent.fate == Fate::Accepted);
        let lost = written.filter(|(number, sent)| {
            let disk = &self.profiles[sent.profile].disk;
            let logged = disk.state().entries(&sent.session_id);
            let has = logged.iter().any(|entry| number_of(&entry.message.ciphertext) == Some(*number as u64));
            !has && !disk.unsent().contains_key(&(*number as u64))
        });
        let lost: Vec<usize> = lost.map(|(number, _)| number).collect();
        self.checker.require(18, lost.is_empty(), || format!("messages {lost:?} of {session_id} are in no store of their device"));
    }
}
