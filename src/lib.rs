//! The browser shell of SolConnect Sync: WebSocket, IndexedDB, timers and what the surface in TypeScript (`src/surface`) stands on.
//!
//! The rules live in `solconnect-sync-core`; what stands here drives its client machine and has none of its own.

mod arguments;
mod clock;
pub mod connection;
mod engine;
mod errors;
mod events;
mod exports;
mod history;
mod mark;
mod platform;
mod promises;
mod sdk;
mod sealing;
mod shell;
pub mod spare;
pub mod store;
mod tab;
mod transport;
mod types;
mod vault;

pub use clock::{check_address, session_id_of, version, wallet_of};
pub use connection::delete_database;
pub use sdk::SolConnectSDK;
pub use tab::TabMachine;
pub use transport::set_frame_codec_loader;
