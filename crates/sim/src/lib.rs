//! A deterministic world: real clients and the real relay over a network and disks that fail, from one seed.

pub mod agenda;
pub mod checker;
pub mod client_disk;
pub mod conflict_rules;
pub mod device;
pub mod device_rules;
pub mod faults;
pub mod final_rules;
pub mod hostile;
pub mod ledger;
pub mod network;
pub mod relay_disk;
pub mod relay_node;
pub mod relay_rules;
pub mod scenario;
pub mod trace;
pub mod world;
