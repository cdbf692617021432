//! Who is told what: the handlers of `on` and of `subscribeToMessages`.

use std::cell::{Cell, RefCell};

use js_sys::{Array, Function};
use serde::Serialize;
use solconnect_sync_core::client::Event;
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::JsValue;

use crate::errors::{invalid_argument, to_plain};
use crate::types::to_js;

/// The keys of `SyncEvents`.
const NAMES: [&str; 14] = [
    "onSyncStarted",
    "onSyncProgress",
    "onSyncCompleted",
    "onSyncFailed",
    "onConflictDetected",
    "onMessageSynced",
    "onStatusChanged",
    "onMessageChanged",
    "onMessageRenamed",
    "onDevicesChanged",
    "onConnectionChanged",
    "onQueueChanged",
    "onDeviceReplaced",
    "onWarning",
];

/// Every handler. They outlive `initialize` and `cleanup`.
#[derive(Default)]
pub struct Listeners {
    handlers: RefCell<Vec<(String, Function)>>,
    subscriptions: RefCell<Vec<Subscriber>>,
    last_subscription: Cell<u64>,
}

struct Subscriber {
    id: u64,
    session_id: String,
    handler: Function,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    messages_synced: u64,
    total_messages: u64,
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

    /// Tells everyone whom it concerns. No borrow is held while a handler runs: it may add and remove handlers.
    pub fn notify(&self, event: Event) {
        match event {
            Event::MessageReceived { session_id, message } => {
                let subscriptions = self.subscriptions.borrow();
                let concerned = subscriptions.iter().filter(|subscriber| subscriber.session_id == session_id);
                let handlers: Vec<Function> = concerned.map(|subscriber| subscriber.handler.clone()).collect();
                drop(subscriptions);
                call_all(&handlers, || [js(&message)]);
            }
            Event::SyncStarted { session_id } => self.tell("onSyncStarted", || [js(&session_id)]),
            Event::SyncProgress { session_id, messages_synced, total_messages } => {
                self.tell("onSyncProgress", || [js(&session_id), js(&Progress { messages_synced, total_messages })]);
            }
            Event::SyncCompleted { session_id, stats } => self.tell("onSyncCompleted", || [js(&session_id), js(&stats)]),
            Event::SyncFailed { session_id, error } => self.tell("onSyncFailed", || [js(&session_id), to_plain(&error)]),
            Event::ConflictDetected { session_id, conflicts } => {
                self.tell("onConflictDetected", || [js(&session_id), js(&conflicts)]);
            }
            Event::MessageSynced { session_id, message_id } => self.tell("onMessageSynced", || [js(&session_id), js(&message_id)]),
            Event::StatusChanged { session_id, message_id, status, error } => {
                let error = error.as_ref().map(to_plain).unwrap_or_default();
                self.tell("onStatusChanged", || [js(&session_id), js(&message_id), js(&status), error.clone()]);
            }
            Event::MessageChanged { session_id, message_id } => {
                self.tell("onMessageChanged", || [js(&session_id), js(&message_id)]);
            }
            Event::MessageRenamed { session_id, old_id, new_id } => {
                self.tell("onMessageRenamed", || [js(&session_id), js(&old_id), js(&new_id)]);
            }
            Event::DevicesChanged { session_id, devices } => self.tell("onDevicesChanged", || [js(&session_id), js(&devices)]),
            Event::ConnectionChanged { state } => self.tell("onConnectionChanged", || [js(&state)]),
            Event::QueueChanged { queued_message_count } => self.tell("onQueueChanged", || [js(&queued_message_count)]),
            Event::DeviceReplaced { old_id, new_id } => self.tell("onDeviceReplaced", || [js(&old_id), js(&new_id)]),
            Event::Warning { error } => self.tell("onWarning", || [to_plain(&error)]),
        }
    }

    fn tell<const N: usize>(&self, name: &str, arguments: impl Fn() -> [JsValue; N]) {
        let handlers = self.handlers.borrow();
        let concerned = handlers.iter().filter(|(event, _)| event == name);
        let concerned: Vec<Function> = concerned.map(|(_, handler)| handler.clone()).collect();
        drop(handlers);
        call_all(&concerned, arguments);
    }
}

/// Every handler gets values of its own: one may change what it is given.
fn call_all<const N: usize>(handlers: &[Function], arguments: impl Fn() -> [JsValue; N]) {
    for handler in handlers {
        let arguments: Array = arguments().iter().collect();
        if let Err(exception) = handler.apply(&JsValue::UNDEFINED, &arguments) {
            web_sys::console::error_1(&exception);
        }
    }
}

fn js<T: Serialize>(value: &T) -> JsValue {
    to_js(value).unwrap_or_default()
}
