//! The relay of SolConnect Sync: the shell around [`solconnect_sync_core::relay::Relay`], which has the rules.
//!
//! A frame's way in: [`socket`] reads it, [`driver`] hands it to the machine, [`journal`] puts what the machine asks on
//! the disk, and its answer lets the machine acknowledge. [`server`] accepts connections and serves the page.

mod address;
pub mod driver;
pub mod erase;
pub mod journal;
pub mod key;
mod linger;
pub mod log;
pub mod metrics;
mod notes;
pub mod options;
mod origin;
mod pages;
mod place;
mod refusals;
pub mod server;
mod socket;
mod store;
pub mod verify;
