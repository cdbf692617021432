//! The rules of SolConnect Sync, sans-I/O: state machines that the browser, the relay and the tests share.
//!
//! [`client::Client`] is one device: outbox, log, cursors, retries. [`relay::Relay`] gives every session its one order.
//! [`tab::Tab`] is one tab among those that share a device. Each takes an input and the time, and returns the work that it asks
//! of its shell. None has a clock, a source of randomness, threads or waiting of its own, so a seed repeats a run exactly.

pub mod backoff;
pub mod batch;
pub mod client;
pub mod conflict;
pub mod content;
pub mod entry;
pub mod epochs;
pub mod error;
pub mod frame;
pub mod group;
pub mod identity;
pub mod ids;
pub mod limits;
mod list;
pub mod log;
pub mod message;
#[cfg(feature = "relay")]
pub mod relay;
mod scalar;
mod sorted;
#[cfg(feature = "json")]
mod surrogates;
pub mod tab;
pub mod time;
pub mod vector_clock;
pub mod watermark;
mod wire;
