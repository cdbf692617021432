//! `hello`, `sign_in`, `signed_in` and `short_number` of any bytes in both forms: each says in the other form what it says in this.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::{bounded, laws};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{Body, Frame, SignIn};
use solconnect_sync_core::limits::FRAME_BYTES_MAX;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = bounded(|| Frame::from_bytes(bytes)) {
        laws::check_binary_frame(&frame);
        check(&frame);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(frame) = bounded(|| Frame::parse(&text)) {
        laws::check_json_frame(&frame);
        check(&frame);
    }
});

fn check(frame: &Frame) {
    match &frame.body {
        Body::SignIn(said) if said.messages.entries().is_err() => return,
        Body::Hello(_) | Body::SignIn(_) | Body::SignedIn(_) | Body::ShortNumber(_) => {}
        _ => return,
    }
    let (json, Some(bytes)) = (frame.to_json(), frame.to_bytes()) else { return };
    if json.len() > FRAME_BYTES_MAX || bytes.len() > FRAME_BYTES_MAX {
        return;
    }
    let (one, other) = (bounded(|| Frame::parse(&json)), bounded(|| Frame::from_bytes(&bytes)));
    if let (Ok(one), Ok(other)) = (one, other) {
        assert_eq!(without_entries(one.body), without_entries(other.body), "both forms say the same");
    }
}

/// A frame beside its entries, and these: a batch may be written in several ways.
fn without_entries(body: Body) -> (Body, Vec<Entry>) {
    match body {
        Body::SignIn(said) => {
            let entries = said.messages.entries().expect("they were read before");
            (Body::SignIn(SignIn { messages: Batch::default(), ..said }), entries)
        }
        body => (body, Vec::new()),
    }
}
