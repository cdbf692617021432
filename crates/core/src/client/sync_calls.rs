//! Calls that wait for the syncs of one session or several.

use super::api::{Action, Reply, RequestId};
use super::sorted::Sorted;
use crate::error::SyncError;

/// Each call is in here from its first sync until its last one has ended.
#[derive(Default)]
pub(super) struct SyncCalls(Sorted<RequestId, Call>);

#[derive(Default)]
struct Call {
    syncs: usize,
    count: u64,
    error: Option<SyncError>,
}

impl SyncCalls {
    /// A call waits for so many syncs.
    pub fn insert(&mut self, request: RequestId, syncs: usize) {
        self.0.insert(request, Call { syncs, ..Call::default() });
    }

    /// One sync of a call has ended. The last one answers it.
    pub fn answer(&mut self, request: RequestId, result: Result<u64, SyncError>, actions: &mut Vec<Action>) {
        let mut call = self.0.remove(&request).expect("a call is kept while a sync of it is under way");
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
