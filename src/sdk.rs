//! The class `SolConnectSDK`.

use std::rc::Rc;

use js_sys::{Date, Function, Promise};
use solconnect_sync_core::client::{Input, SyncScope};
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::prelude::*;

use crate::arguments::{field, optional_count, optional_text, text, text_field};
use crate::errors::{invalid_argument, to_thrown};
use crate::promises::settle;
use crate::shell::{Options, Shell};
use crate::types::{object, result, to_js, with_clocks};

/// Messages of `getStoredMessages` where no limit is given.
const PAGE_MESSAGES: u64 = 100;

/// The interval of `enableAutoSync` where none is given, in milliseconds.
const AUTO_SYNC_INTERVAL_MS: u64 = 5_000;

/// One device of a wallet. Asynchronous methods resolve with a `Result` and never reject.
#[wasm_bindgen]
pub struct SolConnectSDK(Rc<Shell>);

#[wasm_bindgen]
impl SolConnectSDK {
    /// Checks the configuration; nothing is opened. Throws `INVALID_ARGUMENT`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_optional_param_type = "SdkConfig")] config: JsValue) -> Result<SolConnectSDK, JsValue> {
        Options::of(&config).map(|options| SolConnectSDK(Rc::new(Shell::new(options)))).map_err(to_thrown)
    }

    /// Takes the profile, opens its database and loads it. `PROFILE_IN_USE` when another tab has it.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn initialize(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.initialize().await.map(|()| JsValue::NULL) })
    }

    /// Connects a wallet; without a provider the local one: a key pair of this profile.
    #[wasm_bindgen(js_name = connectWallet, unchecked_return_type = "Promise<Result<WalletInfo>>")]
    pub fn connect_wallet(&self, #[wasm_bindgen(unchecked_optional_param_type = "WalletProvider | null")] provider: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { to_js(&shell.connect_wallet(&provider).await?) })
    }

    /// Disconnects it: nothing syncs until the next.
    #[wasm_bindgen(js_name = disconnectWallet, unchecked_return_type = "Promise<Result<null>>")]
    pub fn disconnect_wallet(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            shell.engine()?.call(|request| Input::DisconnectWallet { request }).await?;
            Ok(JsValue::NULL)
        })
    }

    /// Starts the session with a peer, new or stored.
    #[wasm_bindgen(js_name = startSession, unchecked_return_type = "Promise<Result<SessionView>>")]
    pub fn start_session(&self, #[wasm_bindgen(unchecked_param_type = "{ peerWallet: string }")] options: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { with_clocks(&shell.start_session(text_field(&options, "peerWallet")?).await?) })
    }

    /// Ends a session and its auto-sync. What is queued is still sent.
    #[wasm_bindgen(js_name = endSession, unchecked_return_type = "Promise<Result<null>>")]
    pub fn end_session(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let session_id = text("sessionId", &session_id)?;
            shell.engine()?.call(|request| Input::CloseSession { request, session_id }).await?;
            Ok(JsValue::NULL)
        })
    }

    /// Queues a message. Resolves when it is stored here; the relay gets it as soon as there is a connection.
    #[wasm_bindgen(js_name = sendMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn send_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "{ contentType?: string; id?: string }")] options: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let option = |name| optional_text(name, &field(&options, name));
            let (session_id, content) = (text("sessionId", &session_id)?, text("text", &content)?);
            to_js(&shell.engine()?.send(session_id, content, option("contentType")?, option("id")?).await?)
        })
    }

    /// Queues a new version of an own message.
    #[wasm_bindgen(js_name = editMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn edit_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { edit(&shell, &session_id, &message_id, Some(text("text", &content)?)).await })
    }

    /// Queues the deletion of an own message.
    #[wasm_bindgen(js_name = deleteMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn delete_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { edit(&shell, &session_id, &message_id, None).await })
    }

    /// Settles a conflict of versions with one that supersedes all that this device knows.
    #[wasm_bindgen(js_name = resolveConflict, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn resolve_conflict(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { edit(&shell, &session_id, &message_id, Some(text("text", &content)?)).await })
    }

    /// Tells the handler of each message of other devices, once.
    #[wasm_bindgen(js_name = subscribeToMessages, unchecked_return_type = "Promise<Result<Subscription>>")]
    pub fn subscribe_to_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(message: MessageView) => void")] handler: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.subscribe(text("sessionId", &session_id)?, handler) })
    }

    /// The last messages, oldest first: `limit` (100 by default) of them, before a place in the log or of all with the queued ones.
    #[wasm_bindgen(js_name = getStoredMessages, unchecked_return_type = "Promise<Result<MessageView[]>>")]
    pub fn get_stored_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "number")] limit: JsValue,
        #[wasm_bindgen(js_name = beforeSequence, unchecked_optional_param_type = "number")] before_sequence: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let limit = optional_count("limit", &limit)?.unwrap_or(PAGE_MESSAGES);
            let before_sequence = optional_count("beforeSequence", &before_sequence)?;
            with_clocks(&shell.engine()?.stored_messages(&text("sessionId", &session_id)?, limit, before_sequence).await?)
        })
    }

    /// Sends what is queued and fetches what is missing, of one session or all; resolves with the number of messages.
    #[wasm_bindgen(js_name = syncMessages, unchecked_return_type = "Promise<Result<number>>")]
    pub fn sync_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_optional_param_type = "string")] session_id: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.sync(optional_text("sessionId", &session_id)?, SyncScope::Everything).await })
    }

    /// Sends what is queued; resolves with the number of messages.
    #[wasm_bindgen(js_name = processQueuedMessages, unchecked_return_type = "Promise<Result<number>>")]
    pub fn process_queued_messages(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.sync(None, SyncScope::Outbox).await })
    }

    /// Syncs a session every so often, from 250 ms to a day [5000 ms].
    #[wasm_bindgen(js_name = enableAutoSync, unchecked_return_type = "Promise<Result<null>>")]
    pub fn enable_auto_sync(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = intervalMs, unchecked_optional_param_type = "number")] interval_ms: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let interval_ms = optional_count("intervalMs", &interval_ms)?.unwrap_or(AUTO_SYNC_INTERVAL_MS);
            shell.auto_sync(text("sessionId", &session_id)?, Some(interval_ms)).await.map(|()| JsValue::NULL)
        })
    }

    /// Ends that; also where it was off.
    #[wasm_bindgen(js_name = disableAutoSync, unchecked_return_type = "Promise<Result<null>>")]
    pub fn disable_auto_sync(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.auto_sync(text("sessionId", &session_id)?, None).await.map(|()| JsValue::NULL) })
    }

    /// Where syncing stands.
    #[wasm_bindgen(js_name = getSyncStatus, unchecked_return_type = "Result<SyncStatus>")]
    pub fn get_sync_status(&self) -> JsValue {
        result(self.0.engine().map(|engine| {
            let status = engine.read(|client| client.sync_status());
            let durability = if engine.is_persistent() { "persistent" } else { "best-effort" };
            let mut fields = vec![
                ("syncInProgress", status.sync_in_progress.into()),
                ("queuedMessageCount", JsValue::from(status.queued_message_count as f64)),
                ("durability", durability.into()),
            ];
            if let Some(ms) = status.last_sync_ms {
                fields.push(("lastSyncAt", Date::new(&JsValue::from(ms as f64)).into()));
            }
            object(&fields)
        }))
    }

    /// The connection to the relay.
    #[wasm_bindgen(js_name = getConnectionStatus, unchecked_return_type = "Result<ConnectionState>")]
    pub fn get_connection_status(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| to_js(&engine.read(|client| client.connection()))))
    }

    /// The address of the connected wallet.
    #[wasm_bindgen(js_name = getCurrentWallet, unchecked_return_type = "Result<string | null>")]
    pub fn get_current_wallet(&self) -> JsValue {
        result(self.0.engine().map(|engine| engine.read(|client| client.wallet().map_or(JsValue::NULL, JsValue::from))))
    }

    /// The sessions that are started.
    #[wasm_bindgen(js_name = getActiveSessions, unchecked_return_type = "Result<SessionView[]>")]
    pub fn get_active_sessions(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| with_clocks(&engine.read(|client| client.sessions()))))
    }

    /// Who this database is.
    #[wasm_bindgen(js_name = getDeviceId, unchecked_return_type = "Result<string>")]
    pub fn get_device_id(&self) -> JsValue {
        result(self.0.engine().map(|engine| engine.read(|client| client.device_id().into())))
    }

    /// The devices of a session, as the relay last told.
    #[wasm_bindgen(js_name = getDevices, unchecked_return_type = "Result<DeviceState[]>")]
    pub fn get_devices(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> JsValue {
        result(self.of_session(&session_id, |client, session_id| with_clocks(&client.devices(session_id))))
    }

    /// How syncing a session went, since `initialize`.
    #[wasm_bindgen(js_name = getSyncStats, unchecked_return_type = "Result<SyncStats>")]
    pub fn get_sync_stats(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> JsValue {
        result(self.of_session(&session_id, |client, session_id| to_js(&client.stats(session_id).unwrap_or_default())))
    }

    /// Works offline by wish, or no longer.
    #[wasm_bindgen(js_name = setOffline, unchecked_return_type = "Result<null>")]
    pub fn set_offline(&self, offline: bool) -> JsValue {
        result(self.0.engine().map(|engine| {
            engine.feed(Input::SetOffline { offline });
            JsValue::NULL
        }))
    }

    /// Forgets the stored log of a session, not what is queued.
    #[wasm_bindgen(js_name = clearStoredMessages, unchecked_return_type = "Promise<Result<null>>")]
    pub fn clear_stored_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let session_id = text("sessionId", &session_id)?;
            shell.engine()?.call(|request| Input::ClearLog { request, session_id }).await?;
            Ok(JsValue::NULL)
        })
    }

    /// All stored messages as JSON text.
    #[wasm_bindgen(js_name = exportMessages, unchecked_return_type = "Promise<Result<string>>")]
    pub fn export_messages(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.export().await.map(JsValue::from) })
    }

    /// Takes in what another device of a session exported; resolves with the number of messages that were new.
    #[wasm_bindgen(js_name = importMessages, unchecked_return_type = "Promise<Result<number>>")]
    pub fn import_messages(&self, #[wasm_bindgen(unchecked_param_type = "string")] data: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.import(&text("data", &data)?).await.map(|count| JsValue::from(count as f64)) })
    }

    /// `read` as `markMessageAsRead`; `delivered` is told by itself, so it changes nothing.
    #[wasm_bindgen(js_name = updateMessageStatus, unchecked_return_type = "Promise<Result<null>>")]
    pub fn update_message_status(
        &self,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "'delivered' | 'read'")] status: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            let (engine, message_id) = (shell.engine()?, text("messageId", &message_id)?);
            match text("status", &status)?.as_str() {
                "read" => engine.mark_read(message_id).await?,
                "delivered" => drop(engine.find(&message_id).await?),
                _ => return Err(invalid_argument("a status to set is delivered or read")),
            }
            Ok(JsValue::NULL)
        })
    }

    /// The user saw this message and all before it.
    #[wasm_bindgen(js_name = markMessageAsRead, unchecked_return_type = "Promise<Result<null>>")]
    pub fn mark_message_as_read(
        &self,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.mark_read(text("messageId", &message_id)?).await.map(|()| JsValue::NULL) })
    }

    /// How far a message is.
    #[wasm_bindgen(js_name = getMessageStatus, unchecked_return_type = "Promise<Result<MessageStatus>>")]
    pub fn get_message_status(&self, #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { to_js(&shell.engine()?.status(&text("messageId", &message_id)?).await?) })
    }

    /// Adds a handler, also before `initialize`. Throws `INVALID_ARGUMENT` for an event that there is not.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &str, handler: &Function) -> Result<(), JsValue> {
        self.0.listeners.add(event, handler).map_err(to_thrown)
    }

    /// Removes a handler.
    #[wasm_bindgen(skip_typescript)]
    pub fn off(&self, event: &str, handler: &Function) {
        self.0.listeners.remove(event, handler);
    }

    /// Closes the socket and the database and gives up the profile. `initialize` may be called again.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn cleanup(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            shell.cleanup().await;
            Ok(JsValue::NULL)
        })
    }
}

async fn edit(shell: &Shell, session_id: &JsValue, message_id: &JsValue, content: Option<String>) -> Result<JsValue, SyncError> {
    let engine = shell.engine()?;
    let (session_id, message_id) = (text("sessionId", session_id)?, text("messageId", message_id)?);
    engine.session(&session_id)?;
    engine.check_own(&session_id, &message_id).await?;
    let answer = engine.call(|request| Input::Edit { request, session_id, message_id, text: content });
    to_js(&engine.receipt(answer).await?)
}

impl SolConnectSDK {
    fn of_session(
        &self,
        session_id: &JsValue,
        read: impl FnOnce(&solconnect_sync_core::client::Client, &str) -> Result<JsValue, SyncError>,
    ) -> Result<JsValue, SyncError> {
        let (engine, session_id) = (self.0.engine()?, text("sessionId", session_id)?);
        engine.session(&session_id)?;
        engine.read(|client| read(client, &session_id))
    }
}
