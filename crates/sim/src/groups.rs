//! What people do with groups: they begin some, come in, and say who else is in them.

use solconnect_sync_core::client::{Answer, GroupWish, Input};
use solconnect_sync_core::ids::{SessionId, WalletAddress};

use crate::scenario::Scenario;
use crate::signers::SIGNERS;
use crate::world::{PageId, ProfileId};

/// Groups of one seed, at most.
const GROUPS_MAX: usize = 2;

impl Scenario {
    /// The groups that a profile has.
    fn groups_of(&self, profile: ProfileId) -> Vec<SessionId> {
        let sessions = &self.world.profiles[profile].disk.state().records.sessions;
        sessions.iter().filter(|(_, session)| session.group.is_some()).map(|(id, _)| id.clone()).collect()
    }

    /// Now and then one of them.
    pub(crate) fn some_group(&mut self, profile: ProfileId) -> Option<SessionId> {
        let groups = self.groups_of(profile);
        if groups.is_empty() || self.world.ctx.random.bool() { None } else { Some(self.world.ctx.pick(&groups).clone()) }
    }

    /// Somebody begins a group, comes into one, or wants it to be different. `false` where there is nothing to do.
    pub(crate) fn regroup(&mut self, profile: ProfileId, page: PageId) -> bool {
        let invitations = self.world.profiles[profile].disk.state().records.invitations.values();
        let invited = invitations.filter(|record| record.answer == Answer::None && !record.name.is_empty());
        let invited: Vec<SessionId> = invited.map(|record| record.session_id.clone()).collect();
        if !invited.is_empty() {
            let session_id = self.world.ctx.pick(&invited).clone();
            if self.world.ctx.random.u8(0..5) == 0 {
                self.world.call(page, |request| Input::DeclineSession { request, session_id });
            } else {
                self.world.call(page, |request| Input::AcceptSession { request, session_id });
            }
            return true;
        }
        let groups = self.groups_of(profile);
        if groups.is_empty() {
            if self.world.checker.groups.len() >= GROUPS_MAX {
                return false;
            }
            let members = self.some_wallets();
            self.world.call(page, |request| Input::OpenGroup { request, name: "Walkers".into(), members });
            return true;
        }
        let session_id = self.world.ctx.pick(&groups).clone();
        let wish = match self.world.ctx.random.u8(0..9) {
            0..4 => GroupWish::Add(self.some_wallets()),
            4..6 => GroupWish::Remove(self.some_wallets()),
            6 => GroupWish::Leave,
            7 => GroupWish::Rename(format!("Walkers {}", self.world.ctx.random.u8(..))),
            _ => {
                let is_admin = self.world.ctx.random.bool();
                GroupWish::SetAdmin(self.some_wallets().remove(0), is_admin)
            }
        };
        self.world.call(page, |request| Input::Regroup { request, session_id, wish });
        true
    }

    /// One or two of the wallets.
    fn some_wallets(&mut self) -> Vec<WalletAddress> {
        let random = &mut self.world.ctx.random;
        let (first, count) = (random.usize(0..SIGNERS.len()), random.usize(1..SIGNERS.len()));
        (first..first + count).map(|place| SIGNERS[place % SIGNERS.len()].clone()).collect()
    }
}
