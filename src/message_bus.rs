//! The class `MessageBus`: subscribing is all it takes to be in sync.

use std::rc::Rc;

use js_sys::{Function, Promise};
use solconnect_sync_core::client::SyncScope;
use wasm_bindgen::prelude::*;

use crate::arguments::{optional_text, text, text_field};
use crate::promises::deliver;
use crate::shell::{Options, Shell};
use crate::types::{thrown, to_js, with_clocks};

/// Sends and receives messages. Methods reject with an `SdkError`, with the codes that the methods of `SolConnectSDK`
/// of the same name have; the local wallet is connected where none was.
///
/// @example
/// ```ts
/// const bus = new MessageBus({ relayEndpoint: 'wss://relay.example.org' });
/// await bus.initialize();
/// const { session_id } = await bus.startSession({ peerWallet });
/// await bus.subscribe(session_id, (message) => show(message.text));
/// ```
#[wasm_bindgen]
pub struct MessageBus(Rc<Shell>);

#[wasm_bindgen]
impl MessageBus {
    /// Checks the configuration; nothing is opened.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT`, naming the option.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_optional_param_type = "SdkConfig")] config: JsValue) -> Result<MessageBus, JsValue> {
        thrown(Options::of(&config)).map(|options| MessageBus(Rc::new(Shell::new(options))))
    }

    /// Opens the database: this one, or the configuration's.
    ///
    /// Errors: `INVALID_ARGUMENT`, `PROFILE_IN_USE`, `STORAGE_VERSION`, `STORAGE_REFUSED`, `STORAGE_FULL`, `STORAGE_ERROR`,
    /// `CRYPTO_ERROR`.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn initialize(&self, #[wasm_bindgen(unchecked_optional_param_type = "string | { name: string }")] database: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move { shell.configure(&database, None)?.initialize().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Connects a wallet; without a provider the local one.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `WALLET_CONNECTION_FAILED`, `INVALID_WALLET_ADDRESS`, `CRYPTO_ERROR`, `STORAGE_FULL`,
    /// `STORAGE_ERROR`.
    #[wasm_bindgen(js_name = connectWallet, unchecked_return_type = "Promise<WalletInfo>")]
    pub fn connect_wallet(&self, #[wasm_bindgen(unchecked_optional_param_type = "WalletProvider | null")] provider: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move { to_js(&shell.connect_wallet(&provider).await?) })
    }

    /// Starts the session with a peer, new or stored.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `INVALID_WALLET_ADDRESS`, `SESSION_CREATION_FAILED`,
    /// `LIMIT_REACHED`, `STORAGE_FULL`, `STORAGE_ERROR`, `PROFILE_IN_USE`; and what `connectWallet` of the local wallet
    /// gives, where none was connected.
    #[wasm_bindgen(js_name = startSession, unchecked_return_type = "Promise<SessionView>")]
    pub fn start_session(&self, #[wasm_bindgen(unchecked_param_type = "{ peerWallet: string }")] options: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.engine_with_wallet().await?;
            with_clocks(&shell.start_session(text_field(&options, "peerWallet")?).await?)
        })
    }

    /// Tells the handler of each message of other devices, once, and starts the session's auto-sync, every `syncIntervalMs`
    /// of the configuration.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `PROFILE_IN_USE`; and what `connectWallet` of
    /// the local wallet gives, where none was connected.
    #[wasm_bindgen(unchecked_return_type = "Promise<Subscription>")]
    pub fn subscribe(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(message: MessageView) => void")] handler: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            let session_id = text("sessionId", &session_id)?;
            shell.engine_with_wallet().await?;
            // First, so that the sync that follows is heard.
            let subscription = shell.subscribe(session_id.clone(), handler)?;
            shell.auto_sync(session_id, Some(shell.sync_interval_ms())).await?;
            Ok(subscription)
        })
    }

    /// Queues a message; resolves when it is stored here. Each call sends one more message: only `sendMessage` of
    /// `SolConnectSDK` takes an `id` under which a call may be repeated.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `INVALID_MESSAGE_FORMAT`, `MESSAGE_TOO_LARGE`,
    /// `OUTBOX_FULL`, `LIMIT_REACHED`, `STORAGE_FULL`, `STORAGE_ERROR`, `PROFILE_IN_USE`; and what `connectWallet` of the
    /// local wallet gives, where none was connected.
    #[wasm_bindgen(js_name = sendMessage, unchecked_return_type = "Promise<DeliveryReceipt>")]
    pub fn send_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.engine_with_wallet().await?;
            to_js(&shell.engine()?.send(text("sessionId", &session_id)?, text("text", &content)?, None, None).await?)
        })
    }

    /// Syncs a session or all; resolves with the same number as `syncMessages` of `SolConnectSDK`.
    ///
    /// Errors: as `syncMessages` of `SolConnectSDK`; and what `connectWallet` of the local wallet gives, where none was
    /// connected.
    #[wasm_bindgen(js_name = syncMessages, unchecked_return_type = "Promise<number>")]
    pub fn sync_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_optional_param_type = "string")] session_id: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.engine_with_wallet().await?;
            shell.sync(optional_text("sessionId", &session_id)?, SyncScope::Everything).await
        })
    }

    /// Adds a handler.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT` for an event that there is not.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &str, handler: &Function) -> Result<(), JsValue> {
        thrown(self.0.listeners.add(event, handler))
    }

    /// Removes a handler; also one that was not added. No errors.
    #[wasm_bindgen(skip_typescript)]
    pub fn off(&self, event: &str, handler: &Function) {
        self.0.listeners.remove(event, handler);
    }

    /// Closes everything. `initialize` may be called again. No errors.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn dispose(&self) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.cleanup().await;
            Ok(JsValue::UNDEFINED)
        })
    }
}
