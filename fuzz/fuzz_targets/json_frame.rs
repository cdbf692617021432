//! Frames in JSON, as the relay reads them of devices and an application's own transport hands them to the SDK.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::{bounded, laws};
use solconnect_sync_core::frame::Frame;

fuzz_target!(|text: &str| {
    if let Ok(frame) = bounded(|| Frame::parse(text)) {
        laws::check_json_frame(&frame);
    }
});
