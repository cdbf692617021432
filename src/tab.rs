//! The class `TabMachine`: the machine of a tab for the surface, which has the lock, the channel, the timers and the page's events.

use std::cell::RefCell;

use js_sys::Array;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::tab::{Action, CallKey, Input, Kind, Message, Role, Tab, TabConfig};
use wasm_bindgen::prelude::*;

use crate::arguments::{field, whole};
use crate::errors::{invalid_argument, to_plain, to_thrown};
use crate::types::object;

/// One tab among those that share a database: which of them owns it, and what the others do. Takes what happens and says what to
/// do, in order.
#[wasm_bindgen]
pub struct TabMachine(RefCell<Tab<JsValue>>);

#[wasm_bindgen]
impl TabMachine {
    /// A tab that is not open.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT`, naming the option.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_param_type = "TabConfig")] config: &JsValue) -> Result<TabMachine, JsValue> {
        let config = Fields(config).config().ok_or_else(|| to_thrown(invalid_argument("the tab's configuration is not complete")))?;
        Ok(TabMachine(RefCell::new(Tab::new(config))))
    }

    /// Takes one input and returns what to do, in order. What another tab has said is passed on as it came: what is none of our
    /// messages is ignored.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT` for another input than there is.
    #[wasm_bindgen(unchecked_return_type = "TabAction[]")]
    pub fn handle(
        &self,
        #[wasm_bindgen(js_name = nowMs)] now_ms: f64,
        #[wasm_bindgen(unchecked_param_type = "TabInput")] input: &JsValue,
    ) -> Result<Array, JsValue> {
        let fields = Fields(input);
        let input = match fields.text("type").as_deref() {
            Some("heard") => match fields.message() {
                Some(message) => Input::Heard(message),
                None => return Ok(Array::new()),
            },
            name => name.and_then(|name| fields.input(name)).ok_or_else(|| to_thrown(invalid_argument("this is no input of a tab")))?,
        };
        let actions = self.0.borrow_mut().handle(now_ms as u64, input);
        let given = Array::new();
        for action in actions {
            given.push(&action_to_js(action));
        }
        Ok(given)
    }

    /// When `{ type: 'timeout' }` is due, by the clock of `handle`; `undefined` while nothing waits for time.
    #[wasm_bindgen(js_name = nextTimeoutMs)]
    pub fn next_timeout_ms(&self) -> Option<f64> {
        self.0.borrow().next_timeout_ms().map(|ms| ms as f64)
    }
}

/// An object of JavaScript, field by field; `None` where one is not what it must be.
struct Fields<'a>(&'a JsValue);

impl Fields<'_> {
    fn get(&self, name: &str) -> JsValue {
        field(self.0, name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).as_string()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).as_bool()
    }

    fn number(&self, name: &str) -> Option<u64> {
        whole(&self.get(name))
    }

    fn version(&self, name: &str) -> Option<u32> {
        u32::try_from(self.number(name)?).ok()
    }

    /// What may be left out, and then is `None`.
    fn optional<T>(&self, name: &str, read: impl FnOnce(&Self) -> Option<T>) -> Option<Option<T>> {
        if self.get(name).is_undefined() { Some(None) } else { read(self).map(Some) }
    }

    fn error(&self) -> Option<SyncError> {
        let error = self.get("error");
        let error = Fields(&error);
        Some(SyncError::new(ErrorCode::named(&error.text("code")?), error.text("message")?))
    }

    fn config(&self) -> Option<TabConfig> {
        Some(TabConfig {
            id: self.number("id")?,
            protocol: self.version("protocol")?,
            speaks: self.version("speaks")?,
            has_locks: self.flag("hasLocks")?,
            settings: self.text("settings")?,
        })
    }

    fn input(&self, name: &str) -> Option<Input<JsValue>> {
        Some(match name {
            "open" => Input::Open { visible: self.flag("visible")? },
            "close" => Input::Close,
            "end" => Input::End,
            "visible" => Input::Visible { visible: self.flag("visible")? },
            "call" => Input::Call { call: self.number("call")?, is_keyed: self.flag("isKeyed")?, body: self.get("body") },
            "locked" => Input::Locked,
            "unlocked" => Input::Unlocked,
            "started" => Input::Started { claim: self.number("claim")? },
            "startFailed" => Input::StartFailed { error: self.error()?, is_final: self.flag("isFinal")? },
            "ran" => {
                let result = self.flag("isDone")?.then(|| self.get("result"));
                Input::Ran { from: self.number("from")?, call: self.number("call")?, result }
            }
            "fenced" => Input::Fenced,
            "told" => Input::Told(self.get("body")),
            "gone" => Input::Gone(self.get("body")),
            "timeout" => Input::Timeout,
            _ => return None,
        })
    }

    fn message(&self) -> Option<Message<JsValue>> {
        let message = self.get("message");
        let message = Fields(&message);
        Some(Message {
            protocol: message.version("protocol")?,
            speaks: message.version("speaks")?,
            from: message.number("from")?,
            to: message.optional("to", |message| message.number("to"))?,
            kind: Kind::named(&message.text("kind")?)?,
            claim: message.number("claim")?,
            number: message.number("number")?,
            done_through: message.number("doneThrough")?,
            is_keyed: message.flag("isKeyed")?,
            visible: message.flag("visible")?,
            settings: message.optional("settings", |message| message.text("settings"))?,
            error: message.optional("error", Fields::error)?,
            body: Some(message.get("body")).filter(|body| !body.is_undefined()),
        })
    }
}

fn number(value: u64) -> JsValue {
    JsValue::from(value as f64)
}

fn message_to_js(message: Message<JsValue>) -> JsValue {
    object(&[
        ("protocol", message.protocol.into()),
        ("speaks", message.speaks.into()),
        ("from", number(message.from)),
        ("to", message.to.map_or(JsValue::UNDEFINED, number)),
        ("kind", message.kind.as_str().into()),
        ("claim", number(message.claim)),
        ("number", number(message.number)),
        ("doneThrough", number(message.done_through)),
        ("isKeyed", message.is_keyed.into()),
        ("visible", message.visible.into()),
        ("settings", message.settings.map_or(JsValue::UNDEFINED, JsValue::from)),
        ("error", message.error.as_ref().map_or(JsValue::UNDEFINED, to_plain)),
        ("body", message.body.unwrap_or_default()),
    ])
}

fn key_to_js(key: Option<CallKey>) -> JsValue {
    key.map_or(JsValue::UNDEFINED, |key| {
        object(&[("tab", number(key.tab)), ("call", number(key.call)), ("doneThrough", number(key.done_through))])
    })
}

fn action_to_js(action: Action<JsValue>) -> JsValue {
    let typed = |name: &str, fields: &[(&str, JsValue)]| {
        let mut all = vec![("type", name.into())];
        all.extend_from_slice(fields);
        object(&all)
    };
    match action {
        Action::Lock => typed("lock", &[]),
        Action::Steal => typed("steal", &[]),
        Action::Unlock => typed("unlock", &[]),
        Action::Start { above } => typed("start", &[("above", number(above))]),
        Action::Stop => typed("stop", &[]),
        Action::Run { from, call, key, body } => {
            typed("run", &[("from", number(from)), ("call", number(call)), ("key", key_to_js(key)), ("body", body)])
        }
        Action::Say(message) => typed("say", &[("message", message_to_js(message))]),
        Action::Answer { call, result: Ok(result) } => typed("answer", &[("call", number(call)), ("result", result)]),
        Action::Answer { call, result: Err(error) } => typed("answer", &[("call", number(call)), ("error", to_plain(&error))]),
        Action::Mirror(body) => typed("mirror", &[("body", body)]),
        Action::Tell(body) => typed("tell", &[("body", body)]),
        Action::Role(role) => match role {
            Role::Joining => typed("role", &[("role", "joining".into())]),
            Role::Following { claim } => typed("role", &[("role", "following".into()), ("claim", number(claim))]),
            Role::Owning { claim, follower_count } => {
                typed("role", &[("role", "owning".into()), ("claim", number(claim)), ("followerCount", number(follower_count as u64))])
            }
            Role::Blocked => typed("role", &[("role", "blocked".into())]),
            Role::Refused { error } => typed("role", &[("role", "refused".into()), ("error", to_plain(&error))]),
        },
        Action::Renewed => typed("renewed", &[]),
        Action::Gone(body) => typed("gone", &[("body", body)]),
    }
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &'static str = include_str!("tab.d.ts");
