//! One transaction at a time: what arrives meanwhile shares the next one, and memory goes back where the disk did not follow.

use super::Client;
use super::api::{Action, Change, Commit, CommitId, Event, Input, RequestId, Write};
use super::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Frame};
use crate::ids::SessionId;
use crate::time::Now;

/// The transaction under way.
pub(super) struct UnderWay {
    id: CommitId,
    transaction: Transaction,
}

impl Client {
    /// Inputs that may write wait while a transaction is under way, and then share the next one.
    pub(super) fn take_turn(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) {
        self.waiting.push_back(input);
        self.collect(now, actions);
    }

    fn collect(&mut self, now: Now, actions: &mut Vec<Action>) {
        while self.under_way.is_none() && self.rebuild.is_none() && !self.waiting.is_empty() {
            let mut transaction = Transaction::new(self.observed);
            while transaction.has_room() {
                let Some(input) = self.waiting.pop_front() else { break };
                match input {
                    Input::Received { generation, frame } => {
                        if self.link.is_current(generation) {
                            transaction.from_relay = true;
                            self.receive(now, &frame, &mut transaction, actions);
                        }
                    }
                    Input::LogRead { session_id, place, record } => {
                        let (sessions, mut context) = self.lend(now, actions);
                        if let Some(mut session) = sessions.visit(&session_id) {
                            session.reread(&mut context, place, record, &mut transaction);
                        }
                    }
                    call => match Client::writing_request(&call) {
                        Some(request) => {
                            // What is on disk stays true where this transaction fails.
                            if let Some(reply) = self.known_answer(&call) {
                                actions.push(Action::Reply { request, result: Ok(reply) });
                                continue;
                            }
                            let result = self.collect_call(now, &call, &mut transaction, actions);
                            transaction.calls.push(call);
                            transaction.reply(request, result);
                        }
                        // It writes nothing but follows what was called before it: that is stored first.
                        None if transaction.is_empty() => self.run_call(now, call, actions),
                        None => {
                            self.waiting.push_front(call);
                            break;
                        }
                    },
                }
            }
            // A store that is never idle must not keep acknowledged messages waiting: they share what is written anyway.
            let overdue: Vec<SessionId> =
                self.sessions.values().filter(|session| session.is_overdue()).map(|session| session.id().to_owned()).collect();
            let (sessions, mut context) = self.lend(now, actions);
            sessions.visit_those(&overdue, |session| session.store_acknowledged(&mut context, &mut transaction));
            let sendable: Vec<SessionId> = if transaction.from_relay { transaction.session_ids() } else { Vec::new() };
            self.write(now, transaction, actions);
            // An acknowledgement makes room for what is on disk already: that need not wait for this transaction.
            let (sessions, mut context) = self.lend(now, actions);
            sessions.visit_those(&sendable, |session| session.send_stored(&mut context));
        }
    }

    /// A frame goes to its session.
    fn receive(&mut self, now: Now, frame: &[u8], transaction: &mut Transaction, actions: &mut Vec<Action>) {
        let Frame { head, body } = match Frame::from_bytes(frame) {
            Ok(frame) => frame,
            // Frames that a newer relay adds.
            Err(error) if error.code == ErrorCode::UnknownFrame => return,
            Err(error) => return transaction.distrust(format!("a frame cannot be read ({error})")),
        };
        if let Body::Error(ErrorBody { code: ErrorCode::SignInRequired, .. }) = &body
            && self.identity.is_none()
        {
            return self.tell_shut_out(transaction);
        }
        let of_session = if let Body::Error(error) = &body { error.session_id.clone() } else { Some(head.session_id) };
        let (sessions, mut context) = self.lend(now, actions);
        if let Some(mut session) = of_session.as_ref().and_then(|session_id| sessions.visit(session_id)) {
            match body {
                body @ Body::Error(_) => session.on_frame(&mut context, body, transaction),
                // A session that takes no part is told something: when it takes part again, it joins and asks anew.
                _ if !session.is_linked(context.wallet) => session.start_over(&mut context),
                body => {
                    session.on_frame(&mut context, body, transaction);
                    context.link.prove();
                }
            }
            return;
        }
        let is_account = of_session.as_ref().is_some_and(|session_id| self.is_account(session_id));
        match body {
            Body::Hello(hello) => self.take_hello(now, &hello, transaction, actions),
            Body::SignedIn(said) => self.take_signed_in(now, &said, transaction, actions),
            Body::SyncResponse(response) if self.take_inquired(&response, transaction) => {}
            Body::SyncResponse(response) if is_account => self.take_account(response, transaction),
            Body::ShortNumber(heard) if is_account => self.hear_number(now, &heard, transaction),
            Body::Error(error) if self.take_account_refusal(now, &error, transaction, actions) => {}
            Body::Error(error) if self.take_sign_in_refusal(&error, transaction) => {}
            // The next attempt is under way.
            Body::Error(error) if self.take_list_refusal(now, &error) && error.code.recoverable() => {}
            Body::Error(error) => transaction.tell(Event::Warning { error: SyncError::new(error.code, error.error) }),
            Body::SessionList(list) => {
                self.link.prove();
                self.take_list(now, list, transaction, actions);
            }
            // The answer to a heartbeat of the connection itself.
            Body::SyncHeartbeat(_) => self.link.last(),
            // Of a session that this device has not: it was never asked for.
            _ => {}
        }
    }

    /// The relay refuses all that is said, because the application does not sign in: that is told once.
    fn tell_shut_out(&mut self, transaction: &mut Transaction) {
        if !std::mem::replace(&mut self.was_shut_out, true) {
            let message = "the relay serves only devices that sign in: set the option `domains`";
            transaction.tell(Event::Warning { error: SyncError::new(ErrorCode::SignInRequired, message) });
        }
    }

    /// Hands a transaction to the store; where it writes nothing, it is done.
    pub(super) fn write(&mut self, now: Now, mut transaction: Transaction, actions: &mut Vec<Action>) {
        if let Some(error) = transaction.failure.take() {
            return self.drop_transaction(now, transaction, error, actions);
        }
        if let Some(drawn) = transaction.new_device_id.take() {
            let device_id = self.new_id_for(drawn, &mut transaction);
            transaction.new_device_id = Some(device_id.clone());
            self.sessions.visit_all().for_each(|session| session.requeue(&device_id, &mut transaction));
            transaction.write(Write::Device(self.device.renamed(device_id)), true);
        }
        self.sessions.visit_those(&transaction.session_ids(), |session| session.write_record(&mut transaction));
        let (mut writes, mut strict) = transaction.take_writes();
        if writes.is_empty() {
            return self.finish(now, transaction, actions);
        }
        if !self.device_stored && transaction.new_device_id.is_none() {
            writes.insert(0, Write::Device(self.device.clone()));
            let has_identity = writes.iter().any(|write| matches!(write, Write::Identity(_)));
            let identity = self.identity.as_ref().filter(|_| !has_identity);
            writes.extend(identity.map(|identity| Write::Identity(identity.record())));
            strict = true;
        }
        self.last_commit += 1;
        let id = self.last_commit;
        actions.push(Action::Persist(Commit { id, strict, writes }));
        self.under_way = Some(UnderWay { id, transaction });
    }

    pub(super) fn persisted(&mut self, now: Now, id: CommitId, actions: &mut Vec<Action>) {
        if let Some(under_way) = self.under_way.take_if(|under_way| under_way.id == id) {
            self.device_stored = true;
            self.storage_failures = 0;
            self.rebuild = None;
            if self.observed && !under_way.transaction.is_observed() {
                actions.push(Action::Notify(Event::Changed(Change::Missed)));
            }
            self.finish(now, under_way.transaction, actions);
            self.collect(now, actions);
        }
    }

    /// A transaction is on disk: say so, and go on with what it allows.
    fn finish(&mut self, now: Now, mut transaction: Transaction, actions: &mut Vec<Action>) {
        let session_ids = transaction.session_ids();
        let changes = transaction.take_changes().unwrap_or_default();
        actions.extend(changes.into_iter().map(|change| Action::Notify(Event::Changed(change))));
        if let Some(new_id) = transaction.new_device_id {
            let renamed = self.device.renamed(new_id.clone());
            let old_id = std::mem::replace(&mut self.device, renamed).device_id;
            actions.push(Action::Notify(Event::DeviceReplaced { old_id, new_id }));
        }
        self.invitations.commit();
        self.answers.commit();
        let approved = self.accounts.commit();
        if let Some(identity) = &mut self.identity {
            identity.commit();
        }
        actions.extend(transaction.after);
        self.tell_invited(transaction.invited, actions);
        if transaction.lists_sessions {
            self.list_again(now, actions);
        }
        self.sessions.visit_those(&session_ids, |session| session.on_commit(now));
        if let Some((session_id, last)) = transaction.swept {
            self.sessions.visit_those(&[session_id], |session| session.on_swept(last));
        }
        self.tell_queue(&session_ids, actions);
        if let Some(reason) = &transaction.reconnect {
            if transaction.is_distrustful {
                self.link.distrust();
            }
            self.drop_connection(now, reason, actions);
        }
        let (sessions, mut context) = self.lend(now, actions);
        for (session_id, error) in transaction.failed {
            sessions.visit_those(&[session_id], |session| session.fail_sync(&mut context, &error));
        }
        self.tell_halted(now, transaction.halted, actions);
        let (sessions, mut context) = self.lend(now, actions);
        let catch_up: Vec<SessionId> = transaction.catch_up.keys().cloned().collect();
        sessions.visit_those(&catch_up, |session| session.ask_again(&mut context));
        sessions.visit_those(&session_ids, |session| session.advance(&mut context));
        if !approved.is_empty() {
            let sessions = sessions.visit_all().filter(|session| approved.iter().any(|wallet| session.is_member(wallet)));
            sessions.for_each(|session| session.tell_encryption(&mut context));
        }
        if transaction.has_keys {
            sessions.visit_all().for_each(|session| {
                session.tell_encryption(&mut context);
                session.advance(&mut context);
            });
        }
        self.advance_devices(now, actions);
        self.conclude_inquiries(now, actions);
        self.advance_inquiries(now, actions);
    }

    pub(super) fn persist_failed(&mut self, now: Now, id: CommitId, error: SyncError, actions: &mut Vec<Action>) {
        if let Some(UnderWay { transaction, .. }) = self.under_way.take_if(|under_way| under_way.id == id) {
            self.drop_transaction(now, transaction, error, actions);
        }
    }

    /// Nothing of the transaction is on disk. Calls are answered with the error; what the relay sent is thrown away and
    /// asked for again after a wait. Where both shared it, the calls get one of their own first: a log that does not fit
    /// must not cost a message that does.
    fn drop_transaction(&mut self, now: Now, transaction: Transaction, error: SyncError, actions: &mut Vec<Action>) {
        let session_ids = transaction.session_ids();
        self.sessions.roll_back(&session_ids);
        self.invitations.roll_back();
        self.answers.roll_back();
        self.accounts.roll_back();
        if let Some(identity) = &mut self.identity {
            identity.roll_back();
        }
        // What was asked for earlier and was to end with this transaction is in no queue any more.
        let calls: Vec<RequestId> = transaction.calls.iter().filter_map(Client::writing_request).collect();
        for action in &transaction.after {
            if let Action::Reply { request, .. } = action
                && !calls.contains(request)
            {
                actions.push(Action::Reply { request: *request, result: Err(error.clone()) });
            }
        }
        if error.code == ErrorCode::ProfileInUse {
            self.fence(now, &error, actions);
        }
        if self.rebuild.is_some() {
            return self.rebuild_failed(now, &error, actions);
        }
        if error.code == ErrorCode::StorageLost {
            self.store_lost(now, &error, actions);
            // What is asked for is done when there is a store again.
            for call in transaction.calls.into_iter().rev() {
                self.waiting.push_front(call);
            }
            return self.tell_halted(now, transaction.halted, actions);
        }
        if transaction.from_relay {
            self.storage_failures += 1;
            actions.push(Action::Notify(Event::Warning { error: error.clone() }));
            self.waiting.retain(|input| !matches!(input, Input::Received { .. }));
            self.drop_connection(now, "what the relay sent could not be stored", actions);
            self.tell_halted(now, transaction.halted, actions);
            for call in transaction.calls.into_iter().rev() {
                self.waiting.push_front(call);
            }
        } else {
            let requests = transaction.calls.iter().filter_map(Client::writing_request);
            actions.extend(requests.map(|request| Action::Reply { request, result: Err(error.clone()) }));
        }
        // What waited for this transaction waits no longer.
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_those(&session_ids, |session| session.advance(&mut context));
        self.collect(now, actions);
    }

    /// The store is closed while nothing is written.
    pub(super) fn store_closed(&mut self, now: Now, error: SyncError, actions: &mut Vec<Action>) {
        if error.code == ErrorCode::StorageLost {
            self.store_lost(now, &error, actions);
        } else if self.fenced.is_none() {
            self.fence(now, &error, actions);
            actions.push(Action::Notify(Event::Warning { error }));
            // What waited to be done is answered.
            self.collect(now, actions);
        }
    }

    /// The store is another's.
    fn fence(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        self.rebuild = None;
        self.fenced = Some(error.clone());
        self.drop_connection(now, "another client has taken the store", actions);
        self.fail_syncs(now, error, actions);
    }

    pub(super) fn tell_halted(&mut self, now: Now, halted: Vec<(SessionId, SyncError)>, actions: &mut Vec<Action>) {
        let (sessions, mut context) = self.lend(now, actions);
        for (session_id, error) in halted {
            context.tell(Event::Warning { error: error.clone() });
            sessions.visit_those(&[session_id], |session| session.fail_sync(&mut context, &error));
        }
    }

    /// Tells the application how many messages wait, where that changed, which it can only have in these sessions.
    pub(super) fn tell_queue(&mut self, session_ids: &[SessionId], actions: &mut Vec<Action>) {
        let before = self.told_queue;
        let told_queue = &mut self.told_queue;
        self.sessions.visit_those(session_ids, |session| {
            *told_queue -= session.told_queue();
            session.count_queue();
            *told_queue += session.told_queue();
        });
        if self.told_queue != before {
            actions.push(Action::Notify(Event::QueueChanged { queued_message_count: self.told_queue }));
        }
    }
}
