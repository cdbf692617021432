//! Calls that wait for the syncs of several sessions.

use super::api::{Action, Reply, RequestId};
use crate::error::SyncError;
use crate::sorted::Sorted;

/// What the syncs of a call that have ended came to. A call of one sync is not kept: the end of that answers it.
#[derive(Default)]
pub(super) struct SyncCalls(Sorted<RequestId, Call>);

struct Call {
    /// How many are under way.
    syncs: usize,
    count: u64,
    error: Option<SyncError>,
}

impl SyncCalls {
    /// A call waits for so many syncs.
    pub fn insert(&mut self, request: RequestId, syncs: usize) {
        self.0.insert(request, Call { syncs, count: 0, error: None });
    }

    /// One sync of a call has ended. The last one answers it.
    pub fn answer(&mut self, request: RequestId, result: Result<u64, SyncError>, actions: &mut Vec<Action>) {
        let mut call = self.0.remove(&request).unwrap_or(Call { syncs: 1, count: 0, error: None });
        call.syncs -= 1;
        match result {
            Ok(count) => call.count += count,
            Err(error) => call.error = Some(error),
        }
        if call.syncs == 0 {
            let result = call.error.map_or(Ok(Reply::Count(call.count)), Err);
            actions.push(Action::Reply { request, result });
        } else {
            self.0.insert(request, call);
        }
    }
}
