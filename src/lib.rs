//! The browser shell of SolConnect Sync: WebSocket, IndexedDB, timers, tabs and the JavaScript surface.
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
mod message_bus;
mod platform;
mod promises;
mod sdk;
mod shell;
pub mod store;
mod sync_manager;
mod tabs;
mod transport;
mod types;
mod wallet;

pub use clock::{VectorClock, session_id_of, version};
pub use message_bus::MessageBus;
pub use sdk::SolConnectSDK;
pub use sync_manager::{SyncManager, SyncStorage};
pub use transport::{WebSocketSyncTransport, set_frame_codec_loader};
pub use wallet::{LocalWallet, create_local_wallet};
