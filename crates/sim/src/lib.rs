//! A deterministic world: real clients and the real relay over a network and disks that fail, from one seed.
//!
//! `npm run sim -- --seeds N` runs seeds, `-- --seed S` shows one, `-- --canaries` breaks the machines on purpose and has
//! the world find it. A seed is one thread, one source of randomness and one agenda of virtual time, so its number repeats
//! it exactly; one seed in a hundred is run twice to show that.
//!
//! **What a seed is** (`scenario`): three wallets who talk pairwise on three to five devices, at least 200 operations of
//! their applications and 10 faults, rates drawn by seed (`faults`: each kind is absent from some seeds and frequent in
//! others). Then nothing fails any more, and everything must have converged within 240 seconds of virtual time.
//!
//! **What is real**: `client::Client`, `relay::Relay` and `tab::Tab` as they ship, every frame and every stored record in its bytes.
//!
//! **What is simulated**
//! - `network`: sockets in both directions, each in order. Latency, clogging, partitions one way or both, half-open paths
//!   without any event, suffixes lost at a break, frames of an older socket that come late, refused handshakes, captive
//!   portals, a socket buffer that fills where nobody reads.
//! - `client_disk`: a database of transactions, strict or relaxed: latency, aborts after success, a power cut that takes
//!   relaxed commits back, older states put back, copies, eviction; a claim that fences older tabs; deleted under a tab, which makes
//!   it anew of what it has in memory, at once or after failures; a second copy of the outbox, with which a database begins that is gone.
//! - `relay_disk`, `relay_node`: a journal with a write-ahead log: group commit, failed writes, failed syncs whose writes
//!   are found after a crash all the same, slowness; processes killed between any two actions, with their machine or
//!   without, pauses, jumps of the clock, an older journal put back.
//! - `page`: what users see as tabs: up to four over one profile, with its lock or without one, and a channel that is in order
//!   for each pair and loses the last words of who ends; hidden, put aside and back, frozen between any two actions with or without
//!   hearing the channel, robbed of the lock before or after they know it, of two versions, with other settings; a store that a frozen one
//!   keeps from the others.
//! - `device`: the machines of those that own: killed between any two actions, given up with a commit under way, frozen, with timers once a minute; wall clocks
//!   that jump by years; databases that are deleted, or claimed by another tab, while calls are under way and before others
//!   are made.
//! - `signers`: wallets that sign, where the world is one in which devices sign in.
//! - `groups`: where devices must sign in, groups that people begin, come into, change and leave.
//! - `liar`, `adversaries`: there half of the seeds end with an attack, once all has converged: a relay that lies in one of ten ways
//!   (F48), a member that signs garbage, or the thief of a profile's copy whom the wallet signs out.
//! - `encryption`: where all sessions are encrypted (`--encryption required`), people who approve devices, come with new ones, and sign a
//!   reset where nobody has the account's key any more. Most seeds have a stand-in for the cryptography (`stand_in`), every 20th the
//!   real one. `book` writes down what devices encrypt; `marker` is an eavesdropper on the wire and in the journal.
//! - `book`: a wallet that makes wrong epochs and gives rubbish, in two of five encrypted seeds
//! - `hostile`: members that send malformed and oversized frames, wrong counters, clocks, ids and receipts, floods, in
//!   binary and JSON, v1 and seed clients, and one that never reads.
//!
//! **Who judges** (`checker`, with `device_rules`, `store_rules`, `event_rules`, `relay_rules`, `invitation_rules`, `group_rules`, `conflict_rules`, `liar_rules`, `vault_rules`,
//! `final_rules`): knows
//! replies, events, frames, the journal's contents and stored records, and never the machines' inner state. Holds I1 to I23,
//! I25 to I27 and I30 to I33, and of encrypted sessions E1 to E12 (`docs/numbers.md`) at every step. An invariant counts as put to the test only where a check looked at
//! something that could have been otherwise (`Checker::require`, `require_where`, `require_none`).
//!
//! **What is not simulated**: IndexedDB and browsers themselves (tests of the browser shell), WebSocket framing, TLS and
//! the operating system's sockets (tests of the relay), bit rot (F15), devices and relay of several versions (F20), members that make wrong epochs (E10), several relays
//! (F21 to F26), a wasm trap or memory that does not
//! grow (F43, F44), storage that is lost in part only.
//!
//! [`conformance`] says what every journal must do; the simulated one and SQLite's are held to it. The simulated disk of a
//! device is held to what every store must do (`tests/store.rs`), as IndexedDB is.

pub mod adversaries;
pub mod agenda;
pub mod book;
pub mod checker;
pub mod client_disk;
pub mod conflict_rules;
pub mod conformance;
pub mod device;
pub mod device_rules;
pub mod encryption;
pub mod event_rules;
pub mod faults;
pub mod final_rules;
pub mod group_rules;
pub mod groups;
pub mod hostile;
pub mod invitation_rules;
pub mod ledger;
pub mod liar;
pub mod liar_rules;
pub mod lines;
pub mod list;
pub mod marker;
pub mod network;
pub mod page;
pub mod reader;
pub mod relay_disk;
pub mod relay_node;
pub mod relay_rules;
pub mod scenario;
pub mod signers;
pub mod stand_in;
pub mod store_rules;
pub mod trace;
pub mod vault_rules;
pub mod world;
