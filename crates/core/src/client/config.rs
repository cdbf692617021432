//! The options of the client machine: the seed's seven, and the application's domains.

use serde::{Deserialize, Serialize};

use crate::conflict::Strategy;
use crate::error::{ErrorCode, SyncError};
use crate::identity::{DomainSet, PublicKey};
use crate::limits::{BATCH_MESSAGES_ASKED, BATCH_MESSAGES_MAX};

/// The seed's options, with its names in JavaScript and its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConfig {
    /// Messages in one batch, 1 to [`BATCH_MESSAGES_MAX`]. A batch also ends where the frame would be too large.
    pub max_batch_size: usize,
    /// How often a session with auto-sync asks the relay for what it missed, in milliseconds.
    pub sync_interval_ms: u64,
    /// How long a silent connection is trusted before it is asked for a sign of life, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Which of several concurrent versions of a message is shown.
    pub conflict_resolution_strategy: Strategy,
    /// How many attempts a sync gets after its first one. When the last of them has failed too, it is reported as failed.
    /// Messages stay queued, and attempts go on.
    pub max_retries: u32,
    /// The base of the exponential backoff between attempts, in milliseconds.
    pub retry_delay_ms: u64,
    /// Whether batches of the log may travel compressed, where that pays.
    pub enable_compression: bool,
    /// The application's domains. Where there are some, devices sign in.
    pub domains: Vec<String>,
    /// Whether this device approves the devices that the wallet has signed for by itself, once it has the key of the account.
    #[serde(skip)]
    pub approves_devices: bool,
    /// The relay's key; `None` for the first that it shows.
    #[serde(skip)]
    pub relay_key: Option<PublicKey>,
    /// What the relay is called: host, and port where it is not the scheme's own. Not an option of the application.
    #[serde(skip)]
    pub relay_name: String,
    /// The shell turns frames into JSON, so they must fit the limit in that form too. Not an option of the application.
    #[serde(skip)]
    pub frames_in_json: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            max_batch_size: BATCH_MESSAGES_ASKED,
            sync_interval_ms: 5_000,
            heartbeat_interval_ms: 15_000,
            conflict_resolution_strategy: Strategy::VectorClock,
            max_retries: 3,
            retry_delay_ms: 1_000,
            enable_compression: true,
            domains: Vec::new(),
            approves_devices: false,
            relay_key: None,
            relay_name: String::new(),
            frames_in_json: false,
        }
    }
}

/// The longest interval and delay: a day. Beyond it timers of browsers overflow.
const INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The shortest interval. What repeats without end asks the relay for something each time, from every tab that is open:
/// four times a second is more than anybody sees, and a mistaken unit (5 for 5 s) is told at once.
const INTERVAL_MS_MIN: u64 = 250;

/// The shortest delay before a second attempt. It doubles with each failure, so it may be far shorter than an interval;
/// from 10 ms on the tenth attempt comes seconds later, and below it the first ones come faster than sockets open.
const RETRY_DELAY_MS_MIN: u64 = 10;

impl ClientConfig {
    /// Checks every option against its range.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the option as JavaScript writes it.
    pub fn check(&self) -> Result<(), SyncError> {
        check_range("maxBatchSize", self.max_batch_size as u64, 1, BATCH_MESSAGES_MAX as u64)?;
        check_interval("syncIntervalMs", self.sync_interval_ms)?;
        check_interval("heartbeatIntervalMs", self.heartbeat_interval_ms)?;
        if !self.domains.is_empty() {
            DomainSet::new(self.domains.clone())?;
        }
        check_range("maxRetries", u64::from(self.max_retries), 0, 100)?;
        check_range("retryDelayMs", self.retry_delay_ms, RETRY_DELAY_MS_MIN, INTERVAL_MS_MAX)
    }
}

/// Checks an interval: 250 ms to a day.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming it.
pub(crate) fn check_interval(name: &str, interval_ms: u64) -> Result<(), SyncError> {
    check_range(name, interval_ms, INTERVAL_MS_MIN, INTERVAL_MS_MAX)
}

fn check_range(name: &str, value: u64, min: u64, max: u64) -> Result<(), SyncError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(SyncError::new(ErrorCode::InvalidArgument, format!("{name} must be from {min} to {max}, not {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_defaults_are_valid_and_zeroes_are_refused() {
        ClientConfig::default().check().unwrap();
        let zeroes = [
            ClientConfig { max_batch_size: 0, ..ClientConfig::default() },
            ClientConfig { sync_interval_ms: 0, ..ClientConfig::default() },
            ClientConfig { heartbeat_interval_ms: 0, ..ClientConfig::default() },
            ClientConfig { retry_delay_ms: 0, ..ClientConfig::default() },
        ];
        for config in zeroes {
            assert_eq!(config.check().unwrap_err().code, ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn an_interval_that_floods_the_relay_is_refused_by_name() {
        type Change = fn(&mut ClientConfig, u64);
        let with = |change: Change, value| {
            let mut config = ClientConfig::default();
            change(&mut config, value);
            config.check()
        };
        let day = 24 * 60 * 60 * 1_000;
        let options: [(&str, u64, Change); 3] = [
            ("syncIntervalMs must be from 250 to", 250, |config, value| config.sync_interval_ms = value),
            ("heartbeatIntervalMs must be from 250 to", 250, |config, value| config.heartbeat_interval_ms = value),
            ("retryDelayMs must be from 10 to", 10, |config, value| config.retry_delay_ms = value),
        ];
        for (words, min, change) in options {
            assert_eq!([with(change, min), with(change, day)], [Ok(()), Ok(())]);
            for value in [min - 1, day + 1] {
                let error = with(change, value).unwrap_err();
                assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(words), "{error:?}");
            }
        }
    }

    #[test]
    fn options_are_read_under_the_seeds_names() {
        let config: ClientConfig = serde_json::from_str(r#"{"maxBatchSize":7,"conflictResolutionStrategy":"latest"}"#).unwrap();
        assert_eq!((config.max_batch_size, config.conflict_resolution_strategy), (7, Strategy::Latest));
        assert!(serde_json::from_str::<ClientConfig>(r#"{"conflictResolutionStrategy":"coin_toss"}"#).is_err());
    }
}
