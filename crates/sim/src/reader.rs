//! Frames as the checker reads them. The same bytes pass from a machine to its socket and on to several others; they are
//! decoded once.

use std::collections::BTreeMap;
use std::rc::Rc;

use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{Body, Frame, Payload};

/// As many frames as are about to arrive somewhere, and no more than a small cache should hold.
const FRAMES_MAX: usize = 500;

/// A frame that could be read.
pub struct Reading {
    /// The frame.
    pub frame: Frame,
    /// The entries of a batch of the log, or of one of unsent messages; `None` where it cannot be read.
    pub entries: Option<Vec<Entry>>,
}

/// See the module.
#[derive(Default)]
pub struct Reader {
    /// By the address of the bytes, which stay there while they are kept.
    readings: BTreeMap<usize, (Payload, Option<Rc<Reading>>)>,
}

impl Reader {
    /// What a frame says; `None` where it cannot be read.
    pub fn read(&mut self, payload: &Payload) -> Option<Rc<Reading>> {
        let address = match payload {
            Payload::Text(text) => text.as_ptr().addr(),
            Payload::Binary(bytes) => bytes.as_ptr().addr(),
        };
        if self.readings.len() >= FRAMES_MAX {
            self.readings.clear();
        }
        self.readings.entry(address).or_insert_with(|| (payload.clone(), decode(payload))).1.clone()
    }
}

fn decode(payload: &Payload) -> Option<Rc<Reading>> {
    let frame = match payload {
        Payload::Text(text) => Frame::parse(text).ok()?,
        Payload::Binary(bytes) => Frame::from_bytes(bytes).ok()?,
    };
    let entries = match &frame.body {
        Body::SyncResponse(response) => response.messages.entries().ok(),
        Body::SyncUpdate(update) => update.messages.entries().ok(),
        _ => Some(Vec::new()),
    };
    Some(Rc::new(Reading { frame, entries }))
}
