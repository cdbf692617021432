//! Entries of an export, as JSON, into a device that imports them. The browser parses the text itself; the fields are
//! those of the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_fuzz::store::{self, Records};
use solconnect_sync_core::client::{Action, Client, ClientConfig, Input};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::time::Now;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";

fuzz_target!(|text: &str| {
    let Ok(entries) = serde_json::from_str::<Vec<Entry>>(text) else { return };
    let mut records = Records::default();
    let mut client = Client::new(ClientConfig::default(), records.snapshot(), 1);
    let now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };
    let inputs = [
        Input::ConnectWallet { request: 1, wallet: WALLET.into() },
        Input::Import { request: 2, peer_wallet: PEER.into(), entries: entries.clone() },
        Input::Import { request: 3, peer_wallet: PEER.into(), entries },
    ];
    for input in inputs {
        let mut actions = bounded(|| client.handle(now, input));
        while let Some(action) = actions.pop() {
            if let Action::Persist(commit) = action {
                let id = commit.id;
                store::write(&mut records, &commit);
                actions.extend(client.handle(now, Input::Persisted { commit: id }));
            }
        }
    }
});
