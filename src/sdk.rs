//! The class `SolConnectSDK`.

use std::rc::Rc;

use js_sys::{Date, Function, Promise};
use solconnect_sync_core::client::vault::Secret;
use solconnect_sync_core::client::{CallKey, Client, GroupWish, Input, RequestId, SyncScope};
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::identity::{Certificate, Purpose};
use solconnect_sync_core::ids::check_wallet;
use wasm_bindgen::prelude::*;
use web_sys::CryptoKey;

use crate::arguments::{field, is_left_out, optional_count, optional_text, text, text_field, texts};
use crate::errors::{invalid_argument, to_thrown};
use crate::history::Wish;
use crate::platform::now;
use crate::promises::settle;
use crate::shell::{Options, Shell};
use crate::store::Lock;
use crate::types::{object, result, to_js, with_clocks};

/// Messages of `getStoredMessages` where no limit is given.
const PAGE_MESSAGES: u64 = 100;

/// The engine of one database, which the class of the same name in `src/surface/sdk.ts` stands on: what its methods promise, and
/// which errors they have, stands there. Asynchronous methods resolve with `{ success, data }` or `{ success, error }` and never
/// reject. Every argument is checked here too.
#[wasm_bindgen]
pub struct SolConnectSDK(Rc<Shell>);

#[wasm_bindgen]
impl SolConnectSDK {
    /// Checks the configuration; nothing is opened. Every option has a default.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT`, naming the option.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_optional_param_type = "SdkConfig")] config: JsValue) -> Result<SolConnectSDK, JsValue> {
        Options::of(&config).map(|options| SolConnectSDK(Rc::new(Shell::new(options)))).map_err(to_thrown)
    }

    /// Opens the database, claims it and loads it: whoever claims it last may write, and what others write fails with
    /// `PROFILE_IN_USE`. Resolves with the claim, a number that is higher than all before it and than `above` (default 0). A second
    /// call does nothing. May be called again after `abandon` or `cleanup`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<number>>")]
    pub fn initialize(&self, above: Option<f64>) -> Promise {
        let (shell, run, above) = (self.0.clone(), self.0.run(), above.unwrap_or_default() as u64);
        settle(async move { shell.initialize(run, above).await.map(|claim| JsValue::from(claim as f64)) })
    }

    /// The next `initialize` locks the device's key with this key, or unlocks it. `record` is stored beside it. A database that is locked,
    /// and not with this record, is left as it is: `initialize` has the error `DEVICE_LOCKED`.
    pub fn lock(&self, key: CryptoKey, record: Vec<u8>) {
        self.0.lock(Lock { key, record });
    }

    /// The next call that changes something is this one, of a tab that counts its calls from 1: made again, also of another
    /// engine of this database, it is done once and has the same answer. `doneThrough`: the tab has the answers up to there.
    /// `importMessages` takes no key.
    pub fn keyed(&self, tab: f64, call: f64, #[wasm_bindgen(js_name = doneThrough)] done_through: f64) {
        self.0.set_key(CallKey { tab: tab as u64, call: call as u64, done_through: done_through as u64 });
    }

    /// The network is said to be back, or the page is seen again: an open path must prove itself, a waiting attempt is made.
    pub fn awake(&self) {
        self.0.awake();
    }

    /// Gives up everything at once: socket and database are closed when this returns. A commit that was issued may be stored all
    /// the same: the calls in it are answered when that is known, also after a thaw. All others, and an `initialize` under
    /// way, have the error `SDK_NOT_INITIALIZED`: nothing of them is done.
    pub fn abandon(&self) {
        self.0.abandon();
    }

    /// Connects a wallet, by its address.
    #[wasm_bindgen(js_name = connectWallet, unchecked_return_type = "Promise<Result<null>>")]
    pub fn connect_wallet(&self, #[wasm_bindgen(unchecked_param_type = "string")] address: JsValue) -> Promise {
        let wallet = text("address", &address).and_then(|wallet| check_wallet(&wallet).map(|()| wallet));
        self.ask(wallet, |request, wallet| Input::ConnectWallet { request, wallet })
    }

    /// What the connected wallet must sign before this device can sign in, on a page of this domain; `null` where it need not.
    /// After a removal it is asked only where the person wants it: `isWanted`. With `resets` it is what signs out all other devices.
    ///
    /// Errors: `INVALID_ARGUMENT`, `SDK_NOT_INITIALIZED`.
    #[wasm_bindgen(js_name = getOffer, unchecked_return_type = "Promise<Result<string | null>>")]
    pub fn get_offer(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] domain: JsValue,
        #[wasm_bindgen(js_name = isWanted)] is_wanted: bool,
        resets: bool,
    ) -> Promise {
        let purpose = if resets { Purpose::Reset } else { Purpose::Join };
        let offer = text("domain", &domain).and_then(|domain| {
            let offer = |client: &Client| client.offer(now(), &domain, purpose).filter(|_| is_wanted || !client.was_removed());
            Ok(self.0.engine()?.read(offer).map_or(JsValue::NULL, |offer| offer.text().into()))
        });
        settle(async move { offer })
    }

    /// The devices of the connected wallet, as its account is known here.
    #[wasm_bindgen(js_name = getAccountDevices, unchecked_return_type = "Result<DeviceView[]>")]
    pub fn get_account_devices(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| to_js(&engine.read(|client| client.account_devices()))))
    }

    /// Removes a device of the wallet, with all that it certified or approved.
    #[wasm_bindgen(js_name = removeDevice, unchecked_return_type = "Promise<Result<null>>")]
    pub fn remove_device(&self, #[wasm_bindgen(js_name = deviceId, unchecked_param_type = "string")] device_id: JsValue) -> Promise {
        self.ask(text("deviceId", &device_id), |request, device_id| Input::RemoveDevice { request, device_id })
    }

    /// Approves a device of the wallet that waits for it.
    #[wasm_bindgen(js_name = approveDevice, unchecked_return_type = "Promise<Result<null>>")]
    pub fn approve_device(&self, #[wasm_bindgen(js_name = deviceId, unchecked_param_type = "string")] device_id: JsValue) -> Promise {
        self.ask(text("deviceId", &device_id), |request, device_id| Input::ApproveDevice { request, device_id })
    }

    /// Makes a recovery code, which takes the place of the one before it, and resolves with it. It is nowhere stored.
    #[wasm_bindgen(js_name = createRecoveryCode, unchecked_return_type = "Promise<Result<string>>")]
    pub fn create_recovery_code(&self) -> Promise {
        self.ask(Ok(()), |request, ()| Input::CreateRecoveryCode { request })
    }

    /// Whether the person is to be asked for a passkey now: for a new one (`makes`), or for one to come back by, which nobody needs who
    /// lacks nothing. Where it would be in vain, the error.
    #[wasm_bindgen(js_name = needsPasskey, unchecked_return_type = "Promise<Result<boolean>>")]
    pub fn needs_passkey(&self, makes: bool) -> Promise {
        settle(ask(self.0.clone(), None, Ok(Box::new(move |request| Input::NeedsPasskey { request, makes }))))
    }

    /// Approves this device by a recovery code, and opens the account's keys with it.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn recover(&self, #[wasm_bindgen(unchecked_param_type = "string")] code: JsValue) -> Promise {
        self.ask(text("code", &code), |request, code| Input::Recover { request, code })
    }

    /// Takes the 32 bytes that a passkey gives: it is listed in the place of the one before it (`makes`), or approves this device. They
    /// are nowhere stored.
    #[wasm_bindgen(js_name = givePasskey, unchecked_return_type = "Promise<Result<null>>")]
    pub fn give_passkey(&self, makes: bool, output: Vec<u8>) -> Promise {
        let output = output.try_into().map(Secret::new).map_err(|_| invalid_argument("a passkey gives 32 bytes"));
        let input: fn(RequestId, Secret) -> Input = if makes {
            |request, output| Input::CreatePasskey { request, output }
        } else {
            |request, output| Input::RecoverWithPasskey { request, output }
        };
        self.ask(output, input)
    }

    /// The recovery code and the passkey of the wallet, but for what they are.
    #[wasm_bindgen(js_name = getRecovery, unchecked_return_type = "Result<RecoveryView>")]
    pub fn get_recovery(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| to_js(&engine.read(|client| client.recovery()))))
    }

    /// The wallet has signed this text.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn certify(&self, #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] signed: JsValue, signature: Vec<u8>) -> Promise {
        let signature = signature.try_into().map_err(|_| invalid_argument("a signature has 64 bytes"));
        let certificate = text("text", &signed).and_then(|text| signature.map(|signature| Certificate { text, signature }));
        self.ask(certificate, |request, certificate| Input::Certify { request, certificate })
    }

    /// Disconnects it: nothing syncs until the next.
    #[wasm_bindgen(js_name = disconnectWallet, unchecked_return_type = "Promise<Result<null>>")]
    pub fn disconnect_wallet(&self) -> Promise {
        self.ask(Ok(()), |request, ()| Input::DisconnectWallet { request })
    }

    /// Starts the session with a peer, new or stored: its id is the same for both peers and all their devices. Or, with
    /// `members` and a `name`, a new group.
    #[wasm_bindgen(js_name = startSession, unchecked_return_type = "Promise<Result<SessionView>>")]
    pub fn start_session(
        &self,
        #[wasm_bindgen(unchecked_param_type = "{ peerWallet: string } | { members: readonly string[]; name: string }")] options: JsValue,
    ) -> Promise {
        let (members, peer) = (field(&options, "members"), field(&options, "peerWallet"));
        if is_left_out(&members) {
            return self.ask(text("peerWallet", &peer), |request, peer_wallet| Input::OpenSession { request, peer_wallet });
        }
        let group = if is_left_out(&peer) {
            texts("members", &members).and_then(|members| Ok((members, text_field(&options, "name")?)))
        } else {
            Err(invalid_argument("name a peerWallet for a session of two, or members for a group"))
        };
        self.ask(group, |request, (members, name)| Input::OpenGroup { request, name, members })
    }

    /// Changes who is in a group, or what it is called. Resolves when that is stored here; the relay hears it like a message.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn regroup(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "'add' | 'remove' | 'leave' | 'rename' | 'promote' | 'demote'")] wish: &str,
        #[wasm_bindgen(unchecked_optional_param_type = "readonly string[] | string")] value: JsValue,
    ) -> Promise {
        let wish = match wish {
            "add" => texts("wallets", &value).map(GroupWish::Add),
            "remove" => texts("wallets", &value).map(GroupWish::Remove),
            "leave" => Ok(GroupWish::Leave),
            "rename" => text("name", &value).map(GroupWish::Rename),
            _ => text("wallet", &value).map(|wallet| GroupWish::SetAdmin(wallet, wish == "promote")),
        };
        let regroup = text("sessionId", &session_id).and_then(|session_id| Ok((session_id, wish?)));
        self.ask(regroup, |request, (session_id, wish)| Input::Regroup { request, session_id, wish })
    }

    /// Ends a session and its auto-sync. What is queued is still sent.
    #[wasm_bindgen(js_name = endSession, unchecked_return_type = "Promise<Result<null>>")]
    pub fn end_session(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        self.ask(text("sessionId", &session_id), |request, session_id| Input::CloseSession { request, session_id })
    }

    /// Starts a session that another wallet has begun with this one, and syncs its history. An invitation that was declined may
    /// be accepted all the same, and a session that is active already stays so.
    #[wasm_bindgen(js_name = acceptSession, unchecked_return_type = "Promise<Result<SessionView>>")]
    pub fn accept_session(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        self.ask(text("sessionId", &session_id), |request, session_id| Input::AcceptSession { request, session_id })
    }

    /// Forgets an invitation on this device, until its peer writes more. The peer is not told.
    #[wasm_bindgen(js_name = declineSession, unchecked_return_type = "Promise<Result<null>>")]
    pub fn decline_session(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        self.ask(text("sessionId", &session_id), |request, session_id| Input::DeclineSession { request, session_id })
    }

    /// Blocks a wallet on this device: its invitations are not told, a session with it ends, and `startSession` with it is
    /// refused, until `unblockWallet`. What is stored stays. The wallet is not told.
    #[wasm_bindgen(js_name = blockWallet, unchecked_return_type = "Promise<Result<null>>")]
    pub fn block_wallet(&self, #[wasm_bindgen(unchecked_param_type = "string")] wallet: JsValue) -> Promise {
        self.ask(text("wallet", &wallet), |request, peer_wallet| Input::BlockWallet { request, peer_wallet })
    }

    /// Unblocks a wallet; also one that is not blocked. What it wrote meanwhile invites again. A session with it is started
    /// by `startSession`.
    #[wasm_bindgen(js_name = unblockWallet, unchecked_return_type = "Promise<Result<null>>")]
    pub fn unblock_wallet(&self, #[wasm_bindgen(unchecked_param_type = "string")] wallet: JsValue) -> Promise {
        self.ask(text("wallet", &wallet), |request, peer_wallet| Input::UnblockWallet { request, peer_wallet })
    }

    /// The invitations of the connected wallet that wait for an answer, oldest first: at most 1,000.
    #[wasm_bindgen(js_name = getInvitations, unchecked_return_type = "Result<InvitationView[]>")]
    pub fn get_invitations(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| to_js(&engine.read(|client| client.invitations()))))
    }

    /// Queues a message of up to 8 KiB. Resolves when it is stored here; the relay gets it as soon as there is a
    /// connection. `contentType` is a media type.
    #[wasm_bindgen(js_name = sendMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn send_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "{ contentType?: string; id?: string }")] options: JsValue,
    ) -> Promise {
        let (shell, key) = (self.0.clone(), self.0.take_key());
        settle(async move {
            let option = |name| optional_text(name, &field(&options, name));
            let (session_id, content) = (text("sessionId", &session_id)?, text("text", &content)?);
            shell.engine()?.send(key, session_id, content, option("contentType")?, option("id")?).await
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
        self.edit(&session_id, &message_id, text("text", &content).map(Some))
    }

    /// Queues the deletion of an own message. One that failed leaves at once.
    #[wasm_bindgen(js_name = deleteMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn delete_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
    ) -> Promise {
        self.edit(&session_id, &message_id, Ok(None))
    }

    /// Settles a conflict of versions with one that supersedes all that this device knows.
    #[wasm_bindgen(js_name = resolveConflict, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn resolve_conflict(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
        #[wasm_bindgen(js_name = text, unchecked_param_type = "string")] content: JsValue,
    ) -> Promise {
        self.edit(&session_id, &message_id, text("text", &content).map(Some))
    }

    /// Takes back a message of this device that was never on its way to the relay: it leaves the outbox for good, with its queued
    /// edits, and an `id` that the application gave is free again. Also gives up one that failed. After a reload, a message that
    /// was queued while the relay could be reached counts as sent.
    #[wasm_bindgen(js_name = cancelMessage, unchecked_return_type = "Promise<Result<null>>")]
    pub fn cancel_message(&self, #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue) -> Promise {
        self.of_message(self.0.take_key(), &message_id, Ok(Wish::Cancel))
    }

    /// Queues a message that failed once more, behind all that waits. It keeps its id, but for one that was refused because its
    /// id belongs to another message: that has got a new one.
    #[wasm_bindgen(js_name = retryMessage, unchecked_return_type = "Promise<Result<DeliveryReceipt>>")]
    pub fn retry_message(&self, #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue) -> Promise {
        self.ask(text("messageId", &message_id), |request, message_id| Input::Retry { request, message_id })
    }

    /// Tells the handler of each message of other devices, once.
    #[wasm_bindgen(js_name = subscribeToMessages, unchecked_return_type = "Promise<Result<Subscription>>")]
    pub fn subscribe_to_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(message: MessageView) => void")] handler: JsValue,
    ) -> Promise {
        Promise::resolve(&result(text("sessionId", &session_id).and_then(|session_id| self.0.subscribe(session_id, handler))))
    }

    /// The last messages, oldest first: `limit` of them (100 by default), before a place in the log (`beforeSequence`) or of all with
    /// the queued ones.
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

    /// The messages that the relay has not acknowledged, oldest first in each session.
    #[wasm_bindgen(js_name = getQueuedMessages, unchecked_return_type = "Promise<Result<MessageView[]>>")]
    pub fn get_queued_messages(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { with_clocks(&shell.engine()?.queued_messages().await?) })
    }

    /// Sends what is queued and fetches what is missing, of one session or all. Resolves when all of it is sent and stored,
    /// with the number of entries that came into the stored log since the call: messages, edits and deletions of this
    /// device and of all others, whether this call or something else brought them. 0 where nothing was missing.
    #[wasm_bindgen(js_name = syncMessages, unchecked_return_type = "Promise<Result<number>>")]
    pub fn sync_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_optional_param_type = "string")] session_id: JsValue,
    ) -> Promise {
        let session_id = optional_text("sessionId", &session_id);
        self.ask(session_id, |request, session_id| Input::Sync { request, session_id, scope: SyncScope::Everything })
    }

    /// Sends what is queued, of all sessions. Resolves as `syncMessages` does, but counts only entries of this device.
    #[wasm_bindgen(js_name = processQueuedMessages, unchecked_return_type = "Promise<Result<number>>")]
    pub fn process_queued_messages(&self) -> Promise {
        self.ask(Ok(None), |request, session_id| Input::Sync { request, session_id, scope: SyncScope::Outbox })
    }

    /// Syncs a session every `intervalMs`: 250 milliseconds to a day, by default the `syncIntervalMs` of the configuration.
    #[wasm_bindgen(js_name = enableAutoSync, unchecked_return_type = "Promise<Result<null>>")]
    pub fn enable_auto_sync(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(js_name = intervalMs, unchecked_optional_param_type = "number")] interval_ms: JsValue,
    ) -> Promise {
        let interval_ms = optional_count("intervalMs", &interval_ms).map(|given| Some(given.unwrap_or(self.0.sync_interval_ms())));
        self.auto_sync(&session_id, interval_ms)
    }

    /// Ends that; also where it was off.
    #[wasm_bindgen(js_name = disableAutoSync, unchecked_return_type = "Promise<Result<null>>")]
    pub fn disable_auto_sync(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        self.auto_sync(&session_id, Ok(None))
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
            if let Some(code) = engine.read(|client| client.sign_in_needed()) {
                fields.push(("signInNeeded", code.as_str().into()));
            }
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

    /// The address of the connected wallet; `null` where none is.
    #[wasm_bindgen(js_name = getCurrentWallet, unchecked_return_type = "Result<string | null>")]
    pub fn get_current_wallet(&self) -> JsValue {
        result(self.0.engine().map(|engine| engine.read(|client| client.wallet().map_or(JsValue::NULL, JsValue::from))))
    }

    /// The sessions of the connected wallet that are started.
    #[wasm_bindgen(js_name = getActiveSessions, unchecked_return_type = "Result<SessionView[]>")]
    pub fn get_active_sessions(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| with_clocks(&engine.read(|client| client.sessions()))))
    }

    /// Every session that is stored here, also those that were ended (`isActive`).
    #[wasm_bindgen(js_name = getStoredSessions, unchecked_return_type = "Result<SessionView[]>")]
    pub fn get_stored_sessions(&self) -> JsValue {
        result(self.0.engine().and_then(|engine| with_clocks(&engine.read(|client| client.stored_sessions()))))
    }

    /// One session that is stored here.
    #[wasm_bindgen(js_name = getSession, unchecked_return_type = "Result<SessionView>")]
    pub fn get_session(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> JsValue {
        let session = text("sessionId", &session_id).and_then(|session_id| self.0.engine()?.session(&session_id));
        result(session.and_then(|session| with_clocks(&session)))
    }

    /// Who this database is: one id in all sessions. Another takes its place where the database was copied or set back
    /// (`onDeviceReplaced`).
    #[wasm_bindgen(js_name = getDeviceId, unchecked_return_type = "Result<string>")]
    pub fn get_device_id(&self) -> JsValue {
        result(self.0.engine().map(|engine| engine.read(|client| client.device_id().into())))
    }

    /// The devices of a session, as the relay last told.
    #[wasm_bindgen(js_name = getDevices, unchecked_return_type = "Result<DeviceState[]>")]
    pub fn get_devices(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> JsValue {
        result(self.of_session(&session_id, |client, session_id| with_clocks(&client.devices(session_id))))
    }

    /// What holds of a session's encryption, also of one that was ended.
    #[wasm_bindgen(js_name = getEncryption, unchecked_return_type = "Promise<Result<EncryptionView>>")]
    pub fn get_encryption(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        let shown = self.of_session(&session_id, |client, session_id| to_js(&client.encryption(session_id)));
        settle(async move { shown })
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

    /// Forgets the stored log of a session, not what is queued. The relay is not asked for it again.
    #[wasm_bindgen(js_name = clearStoredMessages, unchecked_return_type = "Promise<Result<null>>")]
    pub fn clear_stored_messages(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
    ) -> Promise {
        self.ask(text("sessionId", &session_id), |request, session_id| Input::ClearLog { request, session_id })
    }

    /// All stored messages as JSON text. What is queued is not among them.
    #[wasm_bindgen(js_name = exportMessages, unchecked_return_type = "Promise<Result<string>>")]
    pub fn export_messages(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.export().await.map(JsValue::from) })
    }

    /// What the relay has signed of a session, as the text of a file that `solconnect-relay verify-evidence` judges.
    #[wasm_bindgen(js_name = exportEvidence, unchecked_return_type = "Promise<Result<string>>")]
    pub fn export_evidence(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.evidence(&text("sessionId", &session_id)?).await.map(JsValue::from) })
    }

    /// Goes on with the relay's logs as they are now, where they are others than the stored ones; resolves with how many messages of this
    /// device are queued again.
    #[wasm_bindgen(js_name = acceptRelayLog, unchecked_return_type = "Promise<Result<number>>")]
    pub fn accept_relay_log(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move { shell.engine()?.accept_relay_log().await.map(|count| JsValue::from(count as f64)) })
    }

    /// Takes in what another device of a session exported; resolves with the number of entries that were new: messages,
    /// edits and deletions. Sessions of
    /// other wallets are skipped.
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
        let wish = text("status", &status).and_then(|status| match status.as_str() {
            "read" => Ok(Wish::MarkRead),
            "delivered" => Ok(Wish::MarkDelivered),
            _ => Err(invalid_argument("a status to set is delivered or read")),
        });
        self.of_message(self.0.take_key(), &message_id, wish)
    }

    /// The user saw this message and all before it in its session. One that is still queued is left as it is.
    #[wasm_bindgen(js_name = markMessageAsRead, unchecked_return_type = "Promise<Result<null>>")]
    pub fn mark_message_as_read(
        &self,
        #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue,
    ) -> Promise {
        self.of_message(self.0.take_key(), &message_id, Ok(Wish::MarkRead))
    }

    /// How far a message is: `failed` where the relay refused it for good. Of an edit or a deletion at most `sent`.
    #[wasm_bindgen(js_name = getMessageStatus, unchecked_return_type = "Promise<Result<MessageStatus>>")]
    pub fn get_message_status(&self, #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue) -> Promise {
        self.of_message(None, &message_id, Ok(Wish::Status))
    }

    /// A message that is stored here, as `getStoredMessages` shows it. The id is enough, as for `getMessageStatus`.
    #[wasm_bindgen(js_name = getMessage, unchecked_return_type = "Promise<Result<MessageView>>")]
    pub fn get_message(&self, #[wasm_bindgen(js_name = messageId, unchecked_param_type = "string")] message_id: JsValue) -> Promise {
        self.of_message(None, &message_id, Ok(Wish::View))
    }

    /// Sets the one handler that is told of every change in what is stored and shown, in order, before the handlers of `on` are
    /// told of the same transaction; `undefined` removes it. Who has read `getStoredMessages` and takes in every change has what
    /// it would give now. Set it before `initialize`: then no change is missed.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT` for what is no function.
    #[wasm_bindgen]
    pub fn observe(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "((change: Change) => void) | null")] handler: JsValue,
    ) -> Result<(), JsValue> {
        self.0.observe(handler).map_err(to_thrown)
    }

    /// Adds a handler, also before `initialize`.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT` for an event that there is not.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &str, handler: &Function) -> Result<(), JsValue> {
        self.0.listeners.add(event, handler).map_err(to_thrown)
    }

    /// Removes a handler; also one that was not added. No errors.
    #[wasm_bindgen(skip_typescript)]
    pub fn off(&self, event: &str, handler: &Function) {
        self.0.listeners.remove(event, handler);
    }

    /// As `abandon`, and resolves when the outcome of what was under way is known. No errors.
    #[wasm_bindgen(unchecked_return_type = "Promise<Result<null>>")]
    pub fn cleanup(&self) -> Promise {
        let shell = self.0.clone();
        settle(async move {
            shell.cleanup().await;
            Ok(JsValue::NULL)
        })
    }
}

async fn ask(
    shell: Rc<Shell>,
    key: Option<CallKey>,
    input: Result<Box<dyn FnOnce(RequestId) -> Input>, SyncError>,
) -> Result<JsValue, SyncError> {
    let engine = shell.engine()?;
    engine.shown(engine.call(key, input?).await?)
}

impl SolConnectSDK {
    /// Asks the machine, unless an argument is wrong. One future for many methods, because each takes its part of a page.
    fn ask<T: 'static>(&self, argument: Result<T, SyncError>, input: fn(RequestId, T) -> Input) -> Promise {
        let input = argument.map(|argument| Box::new(move |request| input(request, argument)) as Box<dyn FnOnce(RequestId) -> Input>);
        settle(ask(self.0.clone(), self.0.take_key(), input))
    }

    fn of_message(&self, key: Option<CallKey>, message_id: &JsValue, wish: Result<Wish, SyncError>) -> Promise {
        let shell = self.0.clone();
        let message_id = text("messageId", message_id);
        settle(async move { shell.engine()?.of_message(key, message_id?, wish?).await })
    }

    fn edit(&self, session_id: &JsValue, message_id: &JsValue, text: Result<Option<String>, SyncError>) -> Promise {
        let wish = self::text("sessionId", session_id).and_then(|session_id| Ok(Wish::Edit { session_id, text: text? }));
        self.of_message(self.0.take_key(), message_id, wish)
    }

    fn auto_sync(&self, session_id: &JsValue, interval_ms: Result<Option<u64>, SyncError>) -> Promise {
        let arguments = text("sessionId", session_id).and_then(|session_id| Ok((session_id, interval_ms?)));
        self.ask(arguments, |request, (session_id, interval_ms)| Input::AutoSync { request, session_id, interval_ms })
    }

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
