//! Frames in the binary form, as the relay reads them of devices and devices of the relay.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::{bounded, laws};
use solconnect_sync_core::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = bounded(|| Frame::from_bytes(bytes)) {
        laws::check_binary_frame(&frame);
    }
});
