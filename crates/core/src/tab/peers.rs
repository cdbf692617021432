//! The other tabs that this one has heard of.

use super::api::{Kind, Message, TabId};
use crate::limits::TABS_KNOWN_MAX;
use crate::sorted::Sorted;

struct Peer {
    protocol: u32,
    visible: bool,
    /// This tab has let go of the lock for its sake.
    was_given_way: bool,
    /// And may do so once more: a frozen tab, which hears and says that it follows, would have it do so for ever.
    had_another_turn: bool,
    /// Grows with each message.
    heard: u64,
}

/// See the module's description.
#[derive(Default)]
pub struct Peers {
    peers: Sorted<TabId, Peer>,
    heard: u64,
}

impl Peers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.peers.len()
    }

    /// Takes in who has said something to a tab of this version. Says whether it is new.
    pub fn hear<P>(&mut self, message: &Message<P>, own_protocol: u32) -> bool {
        self.heard += 1;
        let (protocol, visible, heard) = (message.protocol, message.visible, self.heard);
        let known = self.peers.get_mut(&message.from);
        let is_new = known.is_none();
        match known {
            Some(peer) => {
                // A newer one says so as long as it waits, because it cannot follow.
                let is_hello = message.kind == Kind::Hello && (message.to.is_none() || protocol > own_protocol);
                let is_new_again = is_hello || (visible && !peer.visible);
                peer.was_given_way &= !is_new_again;
                peer.had_another_turn &= !is_new_again;
                (peer.protocol, peer.visible, peer.heard) = (protocol, visible, heard);
            }
            None => drop(self.peers.insert(message.from, Peer { protocol, visible, was_given_way: false, had_another_turn: false, heard })),
        }
        if self.peers.len() > TABS_KNOWN_MAX
            && let Some((oldest, _)) = self.peers.iter().min_by_key(|(_, peer)| peer.heard).map(|(id, peer)| (*id, peer.heard))
        {
            self.peers.remove(&oldest);
        }
        is_new
    }

    /// One is gone.
    pub fn forget(&mut self, id: TabId) {
        self.peers.remove(&id);
    }

    /// All are forgotten: what they are is heard again.
    pub fn clear(&mut self) {
        self.peers = Sorted::default();
    }

    /// The best tab that should own rather than one of these properties and that it has not given way to yet.
    pub fn better(&self, protocol: u32, visible: bool) -> Option<(TabId, u32)> {
        let better = self.peers.iter().filter(|(_, peer)| !peer.was_given_way && (peer.protocol, peer.visible) > (protocol, visible));
        better.max_by_key(|(_, peer)| (peer.protocol, peer.visible)).map(|(id, peer)| (*id, peer.protocol))
    }

    /// That one can be given way to again, but not for ever.
    pub fn give_another_turn(&mut self, id: TabId) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.was_given_way && !peer.had_another_turn) {
            (peer.was_given_way, peer.had_another_turn) = (false, true);
        }
    }

    /// This tab lets go of the lock for the sake of that one.
    pub fn give_way_to(&mut self, id: TabId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.was_given_way = true;
        }
    }
}
