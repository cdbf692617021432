//! Errors: a stable code, what happened, and what follows from the code alone.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $category:ident, $recoverable:literal, $user:literal;)+) => {
        /// What went wrong, as a stable name. Applications and tests match on it; messages may change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorCode { $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+ }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)+];
        }

        /// What follows from each code, in their order.
        const FACTS: &[Facts] = &[$(Facts { name: $text, category: ErrorCategory::$category, recoverable: $recoverable, user_message: $user },)+];
    };
}

struct Facts {
    name: &'static str,
    category: ErrorCategory,
    recoverable: bool,
    user_message: &'static str,
}

impl ErrorCode {
    fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    /// The name as it appears on the wire and in JavaScript.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The code of that name; `UNKNOWN_ERROR` for one that a newer version has.
    pub fn named(name: &str) -> ErrorCode {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).unwrap_or(ErrorCode::UnknownError)
    }

    /// The category that the seed's clients sort errors by.
    pub fn category(self) -> ErrorCategory {
        self.facts().category
    }

    /// Whether trying again, unchanged, can succeed.
    pub fn recoverable(self) -> bool {
        self.facts().recoverable
    }

    /// A sentence to show to a person: what to do.
    pub fn user_message(self) -> &'static str {
        self.facts().user_message
    }
}

// Nothing raises NETWORK_TIMEOUT, MESSAGE_DELIVERY_FAILED, ENCRYPTION_FAILED, DECRYPTION_FAILED, INVALID_KEY,
// KEY_DERIVATION_FAILED, INVALID_SIGNATURE and SESSION_EXPIRED. They are of the original protocol's list and stay for
// applications that handle them. SDK_INITIALIZATION_FAILED is raised where the wasm is loaded (`src/index.ts`).
codes! {
    /// The relay could not be reached.
    ConnectionFailed = "CONNECTION_FAILED", Network, true, "The relay cannot be reached. Your messages are kept and will be sent when it is.";
    /// The relay did not answer in time.
    NetworkTimeout = "NETWORK_TIMEOUT", Network, true, "The relay did not answer in time. Your messages are kept and will be sent later.";
    /// The connection ended while an answer was awaited.
    RelayDisconnected = "RELAY_DISCONNECTED", Network, true, "The connection to the relay was lost. It will be made again by itself.";
    /// The relay refused a message for good.
    MessageDeliveryFailed = "MESSAGE_DELIVERY_FAILED", Relay, false, "This message was refused and will not be sent.";
    /// A cryptographic operation failed.
    CryptoError = "CRYPTO_ERROR", Crypto, false, "A cryptographic operation failed in this browser.";
    /// Encryption failed.
    EncryptionFailed = "ENCRYPTION_FAILED", Crypto, false, "The message could not be encrypted.";
    /// Decryption failed.
    DecryptionFailed = "DECRYPTION_FAILED", Crypto, false, "The message could not be decrypted.";
    /// A key is not of the expected form.
    InvalidKey = "INVALID_KEY", Crypto, false, "A key has the wrong form.";
    /// A key could not be derived.
    KeyDerivationFailed = "KEY_DERIVATION_FAILED", Crypto, false, "A key could not be derived.";
    /// A session could not be created.
    SessionCreationFailed = "SESSION_CREATION_FAILED", Validation, false, "The conversation could not be started.";
    /// The session is not known here.
    UnknownSession = "UNKNOWN_SESSION", Validation, false, "This conversation is not open on this device. If you were invited to it, accept first; otherwise start it.";
    /// The message is not known here.
    UnknownMessage = "UNKNOWN_MESSAGE", Validation, false, "This message is not known on this device.";
    /// The message is on its way to the relay, or was.
    MessageSent = "MESSAGE_SENT", Validation, false, "This message was sent already. Delete it instead.";
    /// Another wallet wrote the message.
    NotYourMessage = "NOT_YOUR_MESSAGE", Validation, false, "Only the person who wrote a message can change it.";
    /// A message or frame does not have the form it must have.
    InvalidMessageFormat = "INVALID_MESSAGE_FORMAT", Validation, false, "This message cannot be sent as it is. It may be empty.";
    /// Not 32 bytes of base58.
    InvalidWalletAddress = "INVALID_WALLET_ADDRESS", Validation, false, "This is not a wallet address.";
    /// An option or argument is out of its range.
    InvalidArgument = "INVALID_ARGUMENT", Validation, false, "This app made a mistake. If it happens again, tell those who make it.";
    /// A clock has a negative, fractional or huge counter, or too many devices.
    InvalidVectorClock = "INVALID_VECTOR_CLOCK", Validation, false, "This app made a mistake. If it happens again, tell those who make it.";
    /// The message is above the limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE", Validation, false, "The message is too long.";
    /// The frame is above the limit.
    FrameTooLarge = "FRAME_TOO_LARGE", Validation, false, "Too much was sent at once.";
    /// Too many messages wait in the outbox.
    OutboxFull = "OUTBOX_FULL", Validation, true, "Too many messages are waiting. Go online to send them first.";
    /// A count of devices, sessions or subscriptions is at its limit.
    LimitReached = "LIMIT_REACHED", Validation, false, "There are too many here: of conversations, devices or blocked people. Remove some and try again.";
    /// A wallet is needed first.
    WalletNotConnected = "WALLET_NOT_CONNECTED", Auth, true, "Connect a wallet first.";
    /// The user has blocked this wallet.
    WalletBlocked = "WALLET_BLOCKED", Validation, false, "You have blocked this person. Unblock them first.";
    /// The wallet could not be connected.
    WalletConnectionFailed = "WALLET_CONNECTION_FAILED", Auth, true, "The wallet could not be connected.";
    /// A signature is not valid.
    InvalidSignature = "INVALID_SIGNATURE", Auth, false, "A signature is not valid.";
    /// The session is over.
    SessionExpired = "SESSION_EXPIRED", Auth, true, "Please sign in again.";
    /// The connection may not read or write this session.
    NotAMember = "NOT_A_MEMBER", Auth, false, "You are not part of this conversation.";
    /// Reading or writing the database failed.
    StorageError = "STORAGE_ERROR", System, true, "The browser's storage failed. Nothing that was confirmed is lost.";
    /// The disk or the origin's quota is full.
    StorageFull = "STORAGE_FULL", System, true, "There is no space left to store messages. Free some and try again.";
    /// The browser refuses storage altogether.
    StorageRefused = "STORAGE_REFUSED", System, false, "The browser does not let this page store anything.";
    /// The browser has deleted the database.
    StorageLost = "STORAGE_LOST", System, false, "The browser has deleted what was stored here. What was sent comes back from the relay when the same wallet is connected; what was not is sent as far as there is a copy of it.";
    /// Something else than the SDK made the database of this name.
    StorageForeign = "STORAGE_FOREIGN", System, false, "What is stored in this browser under this name belongs to something else. Nothing was changed.";
    /// The database is of another format: another version of the SDK made it.
    StorageVersion = "STORAGE_VERSION", System, false, "What is stored in this browser belongs to another version of this app. Nothing was changed.";
    /// Another tab uses this profile.
    ProfileInUse = "PROFILE_IN_USE", System, true, "This account is open in another tab. Close it there or use it there.";
    /// `initialize` must be called first.
    SdkNotInitialized = "SDK_NOT_INITIALIZED", System, true, "This app is not ready yet. Try again in a moment.";
    /// Starting failed.
    SdkInitializationFailed = "SDK_INITIALIZATION_FAILED", System, true, "This app could not start. Reload the page.";
    /// The relay has less than this device saw it acknowledge: it was set back.
    RelayRolledBack = "RELAY_ROLLED_BACK", Relay, false, "The relay has lost messages that it had confirmed. Ask its operator to restore them.";
    /// The relay's log is another than the one that this device has stored: it was changed, or is shown to others otherwise.
    RelayForked = "RELAY_FORKED", Relay, false, "The relay shows another history than before. Nothing more is sent to it here.";
    /// The relay sent what the protocol does not allow.
    RelayMisbehaved = "RELAY_MISBEHAVED", Relay, true, "The relay sent something that makes no sense. It will be tried again.";
    /// The relay cannot take more at the moment.
    RelayBusy = "RELAY_BUSY", Relay, true, "The relay is busy. Your messages will be sent shortly.";
    /// The relay could not store; nothing was acknowledged.
    RelayStorageFailed = "RELAY_STORAGE_FAILED", Relay, true, "The relay could not store your messages. They are kept and sent again.";
    /// A device that keeps our rules must announce itself in a session first.
    NotAnnounced = "NOT_ANNOUNCED", Relay, true, "The connection is being set up again.";
    /// A device skipped a counter; the frame says which is expected.
    CounterGap = "COUNTER_GAP", Relay, true, "Messages arrived out of order and will be sent again.";
    /// A counter or id was used before for another message.
    CounterReused = "COUNTER_REUSED", Relay, false, "This device was copied or restored. It goes on under a new name.";
    /// The name that the application gave belongs to another message of this wallet.
    MessageIdTaken = "MESSAGE_ID_TAKEN", Validation, false, "Another message was sent under the same name. Send this one again.";
    /// The message of this name is in the log, written by another device of the wallet.
    AlreadyStored = "ALREADY_STORED", Relay, true, "This message has arrived already.";
    /// A frame's `type` is not known.
    UnknownFrame = "UNKNOWN_FRAME", Relay, false, "The other side uses a newer version of this app. Reload the page.";
    /// Anything else.
    UnknownError = "UNKNOWN_ERROR", System, true, "Something unexpected happened.";
}

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorCategory {
    /// The way to the relay.
    Network,
    /// Keys and ciphers.
    Crypto,
    /// What the caller passed in.
    Validation,
    /// This browser or machine.
    System,
    /// Who may do what.
    Auth,
    /// What the relay answered.
    Relay,
}

impl ErrorCategory {
    /// The name as it appears in JavaScript.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCategory::Network => "network",
            ErrorCategory::Crypto => "crypto",
            ErrorCategory::Validation => "validation",
            ErrorCategory::System => "system",
            ErrorCategory::Auth => "auth",
            ErrorCategory::Relay => "relay",
        }
    }
}

/// A code and a sentence for developers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncError {
    /// What went wrong.
    pub code: ErrorCode,
    /// The particulars: which value, which limit.
    pub message: String,
}

impl SyncError {
    /// An error of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        SyncError { code, message: message.into() }
    }
}

/// As JavaScript has it (`SdkError`), with what follows from the code.
impl Serialize for SyncError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("SdkError", 5)?;
        fields.serialize_field("code", self.code.as_str())?;
        fields.serialize_field("category", self.code.category().as_str())?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("userMessage", self.code.user_message())?;
        fields.serialize_field("recoverable", &self.code.recoverable())?;
        fields.end()
    }
}

impl std::fmt::Display for SyncError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for SyncError {}
