//! Errors: a stable code and what happened.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $recoverable:literal;)+) => {
        /// What went wrong, as a stable name. Applications and tests match on it; messages may change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorCode { $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+ }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)+];
        }

        /// What follows from each code, in their order.
        const FACTS: &[Facts] = &[$(Facts { name: $text, recoverable: $recoverable },)+];
    };
}

struct Facts {
    name: &'static str,
    recoverable: bool,
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

    /// Whether trying again, unchanged, can succeed.
    pub fn recoverable(self) -> bool {
        self.facts().recoverable
    }
}

// Nothing raises NETWORK_TIMEOUT, MESSAGE_DELIVERY_FAILED, ENCRYPTION_FAILED, DECRYPTION_FAILED and SESSION_EXPIRED. They are of the
// original protocol's list and stay for applications that handle them. SDK_INITIALIZATION_FAILED is raised where the wasm is loaded
// (`src/surface/load.ts`), KEY_DERIVATION_FAILED where a device is unlocked (`src/surface/lock.ts`).
codes! {
    /// The relay could not be reached.
    ConnectionFailed = "CONNECTION_FAILED", true;
    /// The relay did not answer in time.
    NetworkTimeout = "NETWORK_TIMEOUT", true;
    /// The connection ended while an answer was awaited.
    RelayDisconnected = "RELAY_DISCONNECTED", true;
    /// The relay refused a message for good.
    MessageDeliveryFailed = "MESSAGE_DELIVERY_FAILED", false;
    /// A cryptographic operation failed.
    CryptoError = "CRYPTO_ERROR", false;
    /// Encryption failed.
    EncryptionFailed = "ENCRYPTION_FAILED", false;
    /// Decryption failed.
    DecryptionFailed = "DECRYPTION_FAILED", false;
    /// A key is not of the expected form.
    InvalidKey = "INVALID_KEY", false;
    /// A key could not be derived.
    KeyDerivationFailed = "KEY_DERIVATION_FAILED", false;
    /// A session could not be created.
    SessionCreationFailed = "SESSION_CREATION_FAILED", false;
    /// The session is not known here.
    UnknownSession = "UNKNOWN_SESSION", false;
    /// The message is not known here.
    UnknownMessage = "UNKNOWN_MESSAGE", false;
    /// The message is on its way to the relay, or was.
    MessageSent = "MESSAGE_SENT", false;
    /// Another wallet wrote the message.
    NotYourMessage = "NOT_YOUR_MESSAGE", false;
    /// A message or frame does not have the form it must have.
    InvalidMessageFormat = "INVALID_MESSAGE_FORMAT", false;
    /// Not 32 bytes of base58.
    InvalidWalletAddress = "INVALID_WALLET_ADDRESS", false;
    /// An option or argument is out of its range.
    InvalidArgument = "INVALID_ARGUMENT", false;
    /// A clock has a negative, fractional or huge counter, or too many devices.
    InvalidVectorClock = "INVALID_VECTOR_CLOCK", false;
    /// The message is above the limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE", false;
    /// The frame is above the limit.
    FrameTooLarge = "FRAME_TOO_LARGE", false;
    /// Too many messages wait in the outbox.
    OutboxFull = "OUTBOX_FULL", true;
    /// A count of devices, sessions or subscriptions is at its limit.
    LimitReached = "LIMIT_REACHED", false;
    /// A wallet is needed first.
    WalletNotConnected = "WALLET_NOT_CONNECTED", true;
    /// The user has blocked this wallet.
    WalletBlocked = "WALLET_BLOCKED", false;
    /// The wallet could not be connected.
    WalletConnectionFailed = "WALLET_CONNECTION_FAILED", true;
    /// A signature is not valid.
    InvalidSignature = "INVALID_SIGNATURE", false;
    /// The session is over.
    SessionExpired = "SESSION_EXPIRED", true;
    /// The connection may not read or write this session.
    NotAMember = "NOT_A_MEMBER", false;
    /// The wallet was a member of the group, and is none any more.
    MemberRemoved = "MEMBER_REMOVED", false;
    /// Only an admin of the group may do this.
    NotAnAdmin = "NOT_AN_ADMIN", false;
    /// Reading or writing the database failed.
    StorageError = "STORAGE_ERROR", true;
    /// The disk or the origin's quota is full.
    StorageFull = "STORAGE_FULL", true;
    /// The browser refuses storage altogether.
    StorageRefused = "STORAGE_REFUSED", false;
    /// The browser has deleted the database.
    StorageLost = "STORAGE_LOST", false;
    /// Something else than the SDK made the database of this name.
    StorageForeign = "STORAGE_FOREIGN", false;
    /// The database is of another format: another version of the SDK made it.
    StorageVersion = "STORAGE_VERSION", false;
    /// The database does not open, because something else in this browser keeps it.
    StorageBlocked = "STORAGE_BLOCKED", true;
    /// The tabs of one database have different options.
    ConfigMismatch = "CONFIG_MISMATCH", false;
    /// Another tab runs a newer version that does not work together with this one.
    TabOutdated = "TAB_OUTDATED", false;
    /// Another tab uses this profile.
    ProfileInUse = "PROFILE_IN_USE", true;
    /// `initialize` must be called first.
    SdkNotInitialized = "SDK_NOT_INITIALIZED", true;
    /// Starting failed.
    SdkInitializationFailed = "SDK_INITIALIZATION_FAILED", true;
    /// The relay has less than this device saw it acknowledge: it was set back.
    RelayRolledBack = "RELAY_ROLLED_BACK", false;
    /// The relay's log is another than the one that this device has stored: it was changed, or is shown to others otherwise.
    RelayForked = "RELAY_FORKED", false;
    /// The relay shows messages of a device that the device did not sign so.
    EntryForged = "ENTRY_FORGED", false;
    /// The relay sent what the protocol does not allow.
    RelayMisbehaved = "RELAY_MISBEHAVED", true;
    /// The relay cannot take more at the moment.
    RelayBusy = "RELAY_BUSY", true;
    /// The relay could not store; nothing was acknowledged.
    RelayStorageFailed = "RELAY_STORAGE_FAILED", true;
    /// A device that keeps our rules must announce itself in a session first.
    NotAnnounced = "NOT_ANNOUNCED", true;
    /// A device skipped a counter; the frame says which is expected.
    CounterGap = "COUNTER_GAP", true;
    /// A counter or id was used before for another message.
    CounterReused = "COUNTER_REUSED", false;
    /// The name that the application gave belongs to another message of this wallet.
    MessageIdTaken = "MESSAGE_ID_TAKEN", false;
    /// The message of this name is in the log, written by another device of the wallet.
    AlreadyStored = "ALREADY_STORED", true;
    /// A frame's `type` is not known.
    UnknownFrame = "UNKNOWN_FRAME", false;
    /// The signed text is no certificate of this protocol.
    InvalidCertificate = "INVALID_CERTIFICATE", false;
    /// A certificate or signature is another wallet's or device's.
    WrongKey = "WRONG_KEY", false;
    /// The certificate was signed for another application.
    WrongDomain = "WRONG_DOMAIN", false;
    /// The certificate was signed for something else.
    WrongPurpose = "WRONG_PURPOSE", false;
    /// The certificate may not be used at this time: the wallet must sign another one.
    CertificateExpired = "CERTIFICATE_EXPIRED", false;
    /// The account has changed meanwhile.
    AccountMoved = "ACCOUNT_MOVED", true;
    /// The session is encrypted and the application's device is not set to encrypt, or the other way round: it writes in none of that kind.
    EncryptionMismatch = "ENCRYPTION_MISMATCH", false;
    /// Who can read an encrypted session has changed: what was encrypted before does not count any more.
    EpochMoved = "EPOCH_MOVED", true;
    /// The device has not got the newest key of its account: what it writes in encrypted sessions waits for that, and so does what is
    /// written with it.
    AccountKeyMissing = "ACCOUNT_KEY_MISSING", true;
    /// The device's key is locked, and this page has not got what unlocks it.
    DeviceLocked = "DEVICE_LOCKED", true;
    /// The device was removed from the account.
    DeviceRemoved = "DEVICE_REMOVED", false;
    /// The relay serves only who has signed in.
    SignInRequired = "SIGN_IN_REQUIRED", true;
    /// What was signed to sign in is over, or was used.
    NonceExpired = "NONCE_EXPIRED", true;
    /// What was signed to sign in is for another relay.
    WrongRelay = "WRONG_RELAY", false;
    /// The relay has another key than this device knows.
    RelayKeyChanged = "RELAY_KEY_CHANGED", false;
    /// The wallet has no such device.
    UnknownDevice = "UNKNOWN_DEVICE", false;
    /// Only an approved device may do this.
    DeviceNotApproved = "DEVICE_NOT_APPROVED", false;
    /// What was typed is no recovery code: a character is wrong or missing.
    InvalidRecoveryCode = "INVALID_RECOVERY_CODE", false;
    /// A recovery code or passkey that the account does not have, or has no longer.
    UnknownRecoveryCode = "UNKNOWN_RECOVERY_CODE", false;
    /// Anything else.
    UnknownError = "UNKNOWN_ERROR", true;
}

/// A code and a sentence for developers. Behind a pointer: a page loads less code where what may fail gives back a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncError(Box<Details>);

/// What an error tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What went wrong.
    pub code: ErrorCode,
    /// The particulars: which value, which limit.
    pub message: String,
}

impl SyncError {
    /// An error of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        SyncError(Box::new(Details { code, message: message.into() }))
    }

    /// The particulars alone.
    pub fn into_message(self) -> String {
        self.0.message
    }
}

impl Deref for SyncError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for SyncError {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// As JavaScript has it. What a person is told stands with the surface (`src/surface/errors.ts`).
impl Serialize for SyncError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("SdkError", 2)?;
        fields.serialize_field("code", self.code.as_str())?;
        fields.serialize_field("message", &self.message)?;
        fields.end()
    }
}

impl std::fmt::Display for SyncError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for SyncError {}
