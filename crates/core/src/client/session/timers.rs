//! What a session does by the clock: deadlines of what the relay is asked, and what waits to be stored, swept or decided.

use super::{STORE_DELAY_MS, SWEEP_DELAY_MS, Session};
use crate::client::context::Context;
use crate::client::keys::failed;
use crate::client::link::UNANSWERED;
use crate::client::transaction::Transaction;
use crate::limits::ANSWER_TIMEOUT_MS;

impl Session {
    /// When something is due for which it need not take part, or does: what was given to a wallet it opens where it has left, too.
    pub fn due_ms(&self, wallet: Option<&str>) -> Option<u64> {
        if self.is_linked(wallet) { self.next_timeout_ms() } else { self.flow.reseal_at_ms }
    }

    /// When it is next due; `None` while it waits for nothing.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let update = self.flow.updates.front().map(|update| update.deadline_ms);
        let request = self.flow.request.as_ref().map(|request| request.deadline_ms);
        let auto_sync = self.auto_sync.as_ref().filter(|_| !self.ends_auto_sync).map(|auto_sync| auto_sync.next_ms);
        let authors = self.flow.unproven.as_ref().map(|unproven| unproven.deadline_ms);
        let accounts = self.flow.epoch.deadline_ms;
        [
            update,
            request,
            authors,
            accounts,
            self.flow.epoch.due_ms,
            self.flow.outside_at_ms.filter(|at_ms| *at_ms > 0),
            self.flow.reseal_at_ms,
            self.flow.retry_at_ms,
            self.flow.store_at_ms,
            auto_sync,
            self.sweep_at_ms,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due by the clock. `is_behind` says that our own disk holds up what has arrived: the relay is not to
    /// blame then. `transaction` takes what is to be written; there is none while another is under way.
    ///
    /// # Errors
    /// The connection is dead, and why.
    pub fn on_timeout(
        &mut self,
        context: &mut Context<'_>,
        is_behind: bool,
        transaction: Option<&mut Transaction>,
    ) -> Result<(), &'static str> {
        let now_ms = context.now.monotonic_ms;
        let past = |at_ms: u64| now_ms >= at_ms;
        let flow = &mut self.flow;
        let unanswered = flow.updates.front().is_some_and(|update| past(update.deadline_ms))
            || flow.request.as_ref().is_some_and(|request| past(request.deadline_ms))
            || flow.unproven.as_ref().is_some_and(|unproven| past(unproven.deadline_ms))
            || flow.epoch.deadline_ms.is_some_and(past);
        if unanswered && is_behind {
            let deadline_ms = now_ms + ANSWER_TIMEOUT_MS;
            flow.updates.iter_mut().for_each(|update| update.deadline_ms = deadline_ms);
            flow.request.iter_mut().for_each(|request| request.deadline_ms = deadline_ms);
            flow.unproven.iter_mut().for_each(|unproven| unproven.deadline_ms = deadline_ms);
            flow.epoch.deadline_ms.iter_mut().for_each(|deadline| *deadline = deadline_ms);
        } else if unanswered {
            return Err(UNANSWERED);
        }
        flow.outside_at_ms = flow.outside_at_ms.map(|at_ms| if past(at_ms) { 0 } else { at_ms });
        flow.retry_at_ms = flow.retry_at_ms.filter(|at_ms| !past(*at_ms));
        let ends_auto_sync = self.ends_auto_sync;
        if let Some(auto_sync) = self.auto_sync.as_mut().filter(|auto_sync| !ends_auto_sync && past(auto_sync.next_ms)) {
            auto_sync.next_ms = now_ms + auto_sync.interval_ms;
            self.begin(context);
        }
        let (stores, sweeps) = (self.flow.store_at_ms.is_some_and(past), self.sweep_at_ms.is_some_and(past));
        let considers = self.flow.epoch.due_ms.is_some_and(past);
        let reseals = self.flow.reseal_at_ms.is_some_and(past);
        match transaction {
            Some(transaction) => {
                if considers && let Err(fault) = self.consider_epoch(context, transaction) {
                    transaction.fail(failed(fault));
                }
                if reseals && let Err(fault) = self.reseal(context, transaction) {
                    transaction.fail(failed(fault));
                }
                if stores {
                    self.store_acknowledged(context, transaction);
                }
                if sweeps {
                    self.sweep(transaction);
                }
            }
            // What is on its way to disk is not there yet: the next time.
            None => {
                if considers {
                    self.flow.epoch.due_ms = Some(now_ms + STORE_DELAY_MS);
                }
                if reseals {
                    self.flow.reseal_at_ms = Some(now_ms + STORE_DELAY_MS);
                }
                if stores {
                    self.flow.store_at_ms = Some(now_ms + STORE_DELAY_MS);
                    self.flow.is_overdue = true;
                }
                if sweeps {
                    self.sweep_at_ms = Some(now_ms + SWEEP_DELAY_MS);
                }
            }
        }
        Ok(())
    }

    /// Removes the records of the outbox whose messages are all in the stored log. It is done after a while and not with
    /// the message that leaves, because deleting costs a browser more than all else that an acknowledgement needs.
    fn sweep(&mut self, transaction: &mut Transaction) {
        self.sweep_at_ms = None;
        if let Some((first, last)) = self.outbox.logged_records(self.logged_counter()) {
            let session_id = self.id().to_owned();
            transaction.sweep(session_id, first, last);
        }
    }

    /// The records of the outbox up to this one are no longer in the store.
    pub fn on_swept(&mut self, last: u64) {
        self.outbox.forget_records(last);
    }

    /// Whether acknowledged messages have waited to be stored for as long as they may.
    pub fn is_overdue(&self) -> bool {
        self.flow.is_overdue
    }
}
