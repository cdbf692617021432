//! The batch: on the wire, in both stores, compressed or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::laws;
use solconnect_sync_core::batch::Batch;

fuzz_target!(|bytes: &[u8]| laws::check_batch(&Batch::from_bytes(bytes)));
