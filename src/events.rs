//! Who is told what: the handlers of `on` and of `subscribeToMessages`.

use std::cell::{Cell, RefCell};

use js_sys::Function;
use serde::Serialize;
use solconnect_sync_core::client::{Change, Client, Event};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::JsValue;

use crate::errors::{invalid_argument, to_plain};
use crate::types::{Clocked, object, to_js, with_clocks};

/// The keys of `SyncEvents`.
const NAMES: [&str; 25] = [
    "onSyncStarted",
    "onSyncProgress",
    "onSyncCompleted",
    "onSyncFailed",
    "onConflictDetected",
    "onMessageSynced",
    "onStatusChanged",
    "onMessageChanged",
    "onSessionInvited",
    "onMembersChanged",
    "onEncryptionChanged",
    "onDevicesChanged",
    "onConnectionChanged",
    "onQueueChanged",
    "onDeviceReplaced",
    "onLogReplaced",
    "onDeviceAdded",
    "onDeviceRequest",
    "onDeviceNumber",
    "onDeviceApproved",
    "onDeviceRemoved",
    "onRecoveryChanged",
    "onSignInNeeded",
    "onStorageLost",
    "onWarning",
];

/// Every handler. They outlive `initialize` and `cleanup`.
#[derive(Default)]
pub struct Listeners {
    handlers: RefCell<Vec<(String, Function)>>,
    subscriptions: RefCell<Vec<Subscriber>>,
    last_subscription: Cell<u64>,
    observer: RefCell<Option<Function>>,
}

struct Subscriber {
    id: u64,
    session_id: String,
    handler: Function,
}

impl Listeners {
    /// `on`: the same handler of the same event is added once.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an event that there is not.
    pub fn add(&self, event: &str, handler: &Function) -> Result<(), SyncError> {
        if !NAMES.contains(&event) {
            return Err(invalid_argument(["there is no event ", event].concat()));
        }
        self.remove(event, handler);
        self.handlers.borrow_mut().push((event.to_owned(), handler.clone()));
        Ok(())
    }

    /// `off`: also where it was not added.
    pub fn remove(&self, event: &str, handler: &Function) {
        self.handlers.borrow_mut().retain(|(name, known)| name != event || known != handler);
    }

    /// Subscribes to the messages of a session; the number ends it.
    pub fn subscribe(&self, session_id: String, handler: Function) -> u64 {
        let id = self.last_subscription.get() + 1;
        self.last_subscription.set(id);
        self.subscriptions.borrow_mut().push(Subscriber { id, session_id, handler });
        id
    }

    /// Ends a subscription; also one that has ended.
    pub fn unsubscribe(&self, id: u64) {
        self.subscriptions.borrow_mut().retain(|subscriber| subscriber.id != id);
    }

    /// The one handler of every change, or none.
    pub fn observe(&self, handler: Option<Function>) {
        self.observer.replace(handler);
    }

    /// Whether there is one.
    pub fn is_observed(&self) -> bool {
        self.observer.borrow().is_some()
    }

    /// Tells everyone whom it concerns. No borrow is held while a handler runs: it may add and remove handlers, and call
    /// the machine.
    pub fn notify(&self, event: &Event, client: &RefCell<Client>) {
        if let Event::Changed(change) = event {
            let observer = self.observer.borrow().clone();
            if let (Some(observer), Some(change)) = (observer, change_to_js(change, &client.borrow()))
                && let Err(exception) = observer.call1(&JsValue::UNDEFINED, &change)
            {
                web_sys::console::error_1(&exception);
            }
            return;
        }
        let concerned: Vec<Function> = if let Event::MessageReceived { session_id, .. } = event {
            let subscriptions = self.subscriptions.borrow();
            subscriptions
                .iter()
                .filter(|subscriber| subscriber.session_id == *session_id)
                .map(|subscriber| subscriber.handler.clone())
                .collect()
        } else {
            let (handlers, name) = (self.handlers.borrow(), name_of(event));
            handlers.iter().filter(|(event, _)| event == name).map(|(_, handler)| handler.clone()).collect()
        };
        for handler in concerned {
            // Every handler gets values of its own: one may change what it is given.
            let arguments = arguments_of(event, &client.borrow()).into_iter().collect();
            if let Err(exception) = handler.apply(&JsValue::UNDEFINED, &arguments) {
                web_sys::console::error_1(&exception);
            }
        }
    }
}

/// The key of `SyncEvents`; subscriptions have none.
fn name_of(event: &Event) -> &'static str {
    match event {
        Event::MessageReceived { .. } | Event::Changed(_) => "",
        Event::SessionInvited { .. } => "onSessionInvited",
        Event::MembersChanged { .. } => "onMembersChanged",
        Event::EncryptionChanged { .. } => "onEncryptionChanged",
        Event::SyncStarted { .. } => "onSyncStarted",
        Event::SyncProgress { .. } => "onSyncProgress",
        Event::SyncCompleted { .. } => "onSyncCompleted",
        Event::SyncFailed { .. } => "onSyncFailed",
        Event::ConflictDetected { .. } => "onConflictDetected",
        Event::MessageSynced { .. } => "onMessageSynced",
        Event::StatusChanged { .. } => "onStatusChanged",
        Event::MessageChanged { .. } => "onMessageChanged",
        Event::DevicesChanged { .. } => "onDevicesChanged",
        Event::ConnectionChanged { .. } => "onConnectionChanged",
        Event::QueueChanged { .. } => "onQueueChanged",
        Event::DeviceReplaced { .. } => "onDeviceReplaced",
        Event::LogReplaced { .. } => "onLogReplaced",
        Event::DeviceAdded { .. } => "onDeviceAdded",
        Event::DeviceRequest { .. } => "onDeviceRequest",
        Event::DeviceNumber { .. } => "onDeviceNumber",
        Event::DeviceApproved { .. } => "onDeviceApproved",
        Event::DeviceRemoved { .. } => "onDeviceRemoved",
        Event::RecoveryChanged { .. } => "onRecoveryChanged",
        Event::SignInNeeded { .. } => "onSignInNeeded",
        Event::StorageLost { .. } => "onStorageLost",
        Event::Warning { .. } => "onWarning",
    }
}

fn arguments_of(event: &Event, client: &Client) -> Vec<JsValue> {
    match event {
        Event::MessageReceived { session_id, entry } => {
            client.show(session_id, vec![(Entry::clone(entry), None)], false).iter().map(clocked).collect()
        }
        Event::Changed(change) => change_to_js(change, client).into_iter().collect(),
        Event::SyncStarted { session_id } | Event::MembersChanged { session_id } | Event::EncryptionChanged { session_id } => {
            vec![session_id.into()]
        }
        Event::SessionInvited { session_id, peer_wallet, name } => {
            let mut values = vec![session_id.into(), peer_wallet.into()];
            values.extend(name.as_ref().map(JsValue::from));
            values
        }
        Event::SyncProgress { session_id, messages_synced, total_messages } => {
            let progress = [("messagesSynced", *messages_synced), ("totalMessages", *total_messages)];
            vec![session_id.into(), object(&progress.map(|(name, count)| (name, JsValue::from(count as f64))))]
        }
        Event::SyncCompleted { session_id, stats } => vec![session_id.into(), js(stats)],
        Event::SyncFailed { session_id, error } => vec![session_id.into(), to_plain(error)],
        Event::ConflictDetected { session_id, conflicts } => vec![session_id.into(), clocked(conflicts)],
        Event::MessageSynced { session_id, message_id } | Event::MessageChanged { session_id, message_id } => {
            vec![session_id.into(), message_id.into()]
        }
        Event::StatusChanged { session_id, message_id, status, error } => {
            let error = error.as_ref().map(to_plain).unwrap_or_default();
            vec![session_id.into(), message_id.into(), js(status), error]
        }
        Event::DevicesChanged { session_id } => vec![session_id.into(), clocked(&client.devices(session_id))],
        Event::ConnectionChanged { state } => vec![js(state)],
        Event::QueueChanged { queued_message_count } => vec![JsValue::from(*queued_message_count as f64)],
        Event::DeviceReplaced { old_id, new_id } => vec![old_id.into(), new_id.into()],
        Event::LogReplaced { session_id, kept_through, offered_count } => {
            vec![session_id.into(), JsValue::from(*kept_through as f64), JsValue::from(*offered_count as f64)]
        }
        Event::DeviceAdded { device } | Event::DeviceRequest { device } | Event::DeviceNumber { device } => vec![js(device)],
        Event::DeviceApproved { device_id } | Event::DeviceRemoved { device_id } => vec![device_id.into()],
        Event::RecoveryChanged { recovery } => vec![js(recovery)],
        Event::SignInNeeded { error } => error.iter().map(to_plain).collect(),
        Event::StorageLost { lost } => vec![clocked(lost)],
        Event::Warning { error } => vec![to_plain(error)],
    }
}

/// A `Change`; `None` where there is nothing to show.
fn change_to_js(change: &Change, client: &Client) -> Option<JsValue> {
    let of = |kind: &str, session_id: &str, more: &[(&str, JsValue)]| {
        let mut fields = vec![("type", kind.into()), ("sessionId", session_id.into())];
        fields.extend_from_slice(more);
        object(&fields)
    };
    Some(match change {
        Change::Message { session_id, entry } => {
            let message = client.show(session_id, vec![(Entry::clone(entry), None)], false).pop()?;
            of("message", session_id, &[("message", clocked(&message))])
        }
        Change::Stale { session_id, message_id } => of("stale", session_id, &[("messageId", message_id.into())]),
        Change::Status { session_id, message_id, status, error } => {
            let mut more = vec![("messageId", message_id.into()), ("status", js(status))];
            more.extend(error.as_ref().map(|error| ("error", to_plain(error))));
            of("status", session_id, &more)
        }
        Change::Receipt { session_id, wallet, status, through, all_through } => {
            let (through, all_through) = (JsValue::from(*through as f64), JsValue::from(*all_through as f64));
            let more = [("wallet", wallet.into()), ("status", js(status)), ("through", through), ("allThrough", all_through)];
            of("receipt", session_id, &more)
        }
        Change::Removed { session_id, message_id } => of("removed", session_id, &[("messageId", message_id.into())]),
        Change::Cleared { session_id } => of("cleared", session_id, &[]),
        Change::Session { session_id } => of("session", session_id, &[]),
        Change::Missed => object(&[("type", "missed".into())]),
    })
}

fn clocked<T: Clocked>(value: &T) -> JsValue {
    with_clocks(value).unwrap_or_default()
}

fn js<T: Serialize + ?Sized>(value: &T) -> JsValue {
    to_js(value).unwrap_or_default()
}
