//! How far a wallet has received and read a session: one number each, kept by the relay and by every device.

use serde::{Deserialize, Serialize};

use crate::frame::ReceiptStatus;

/// Up to which entry a wallet has the messages of a session. Only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Stored on a device of it.
    pub delivered: u64,
    /// Seen by its owner.
    pub read: u64,
}

impl Watermark {
    /// How far it is.
    pub fn of(&self, status: ReceiptStatus) -> u64 {
        match status {
            ReceiptStatus::Delivered => self.delivered,
            ReceiptStatus::Read => self.read,
        }
    }

    /// Takes in a receipt; says whether it was news.
    pub fn raise(&mut self, status: ReceiptStatus, sequence: u64) -> bool {
        let before = *self;
        self.delivered = self.delivered.max(sequence);
        if status == ReceiptStatus::Read {
            self.read = self.read.max(sequence);
        }
        *self != before
    }
}
