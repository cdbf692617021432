//! What a session machine may do beside changing itself: its effects, lent to it for one input.

use std::sync::Arc;

use super::ClientConfig;
use super::api::{Action, Event, RequestId};
use super::link::Link;
use super::sync_calls::SyncCalls;
use crate::error::SyncError;
use crate::time::Now;

/// Lent to a session for one input.
pub(super) struct Context<'a> {
    pub now: Now,
    pub config: &'a ClientConfig,
    pub random: &'a mut fastrand::Rng,
    pub wallet: Option<&'a str>,
    /// What keeps apart the ids that are made of equal counters.
    pub start: &'a mut String,
    pub link: &'a mut Link,
    pub calls: &'a mut SyncCalls,
    pub actions: &'a mut Vec<Action>,
}

impl Context<'_> {
    pub fn tell(&mut self, event: Event) {
        self.actions.push(Action::Notify(event));
    }

    pub fn transmit(&mut self, frame: Arc<[u8]>) {
        self.actions.push(Action::Transmit { generation: self.link.generation(), frame });
    }

    /// One sync of a call has ended.
    pub fn answer(&mut self, request: RequestId, result: Result<u64, SyncError>) {
        self.calls.answer(request, result, self.actions);
    }
}
