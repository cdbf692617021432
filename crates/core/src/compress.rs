//! `enableCompression`: frames above a threshold travel as binary WebSocket messages, compressed with LZ4.
//!
//! LZ4 because both machines are synchronous (the browser's CompressionStream is not) and it adds little to the wasm.
//! Layout: the inflated size as a little-endian u32, then one LZ4 block.

use std::sync::Arc;

use crate::error::{ErrorCode, SyncError};
use crate::frame::Frame;
use crate::limits::{FRAME_BYTES_MAX, INFLATED_BYTES_MAX};

/// Frames of fewer bytes travel as they are: they fit one network packet either way.
const COMPRESS_BYTES_MIN: usize = 1_024;

/// A WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A frame in JSON.
    Text(Arc<str>),
    /// A frame in JSON, compressed.
    Binary(Arc<[u8]>),
}

impl Payload {
    /// Packs a frame's JSON, compressed where that is allowed and pays.
    pub fn pack(json: String, compress: bool) -> Payload {
        if compress && json.len() >= COMPRESS_BYTES_MIN {
            let block = lz4_flex::block::compress(json.as_bytes());
            if block.len() + 4 < json.len() {
                let size = u32::try_from(json.len()).unwrap_or(u32::MAX);
                return Payload::Binary(size.to_le_bytes().into_iter().chain(block).collect());
            }
        }
        Payload::Text(json.into())
    }

    /// Reads the frame within.
    ///
    /// # Errors
    /// As [`Frame::parse`]; `FRAME_TOO_LARGE` also for what would inflate above [`INFLATED_BYTES_MAX`].
    pub fn parse(&self) -> Result<Frame, SyncError> {
        let bytes = match self {
            Payload::Text(text) => return Frame::parse(text),
            Payload::Binary(bytes) => bytes,
        };
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(SyncError::new(
                ErrorCode::FrameTooLarge,
                format!("the frame has {} bytes, the limit is {FRAME_BYTES_MAX}", bytes.len()),
            ));
        }
        let broken = |why: &str| SyncError::new(ErrorCode::InvalidMessageFormat, format!("a compressed frame: {why}"));
        let (size, block) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("it has no size"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size > INFLATED_BYTES_MAX {
            return Err(SyncError::new(
                ErrorCode::FrameTooLarge,
                format!("the frame inflates to {size} bytes, the limit is {INFLATED_BYTES_MAX}"),
            ));
        }
        let inflated = lz4_flex::block::decompress(block, size).map_err(|error| broken(&error.to_string()))?;
        let text = String::from_utf8(inflated).map_err(|_| broken("it is not UTF-8"))?;
        Frame::parse_inflated(&text)
    }

    /// How many bytes it takes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Body, Head, SyncConflict};

    fn json(session_bytes: usize) -> String {
        let head = Head { session_id: "s".repeat(session_bytes), ..Head::default() };
        Frame { head, body: Body::SyncConflict(SyncConflict::default()) }.to_json()
    }

    #[test]
    fn long_frames_shrink_and_come_back() {
        let chat = format!(r#"{{"roomId":"r","message":"{}"}}"#, "hello ".repeat(1_000));
        let packed = Payload::pack(chat.clone(), true);
        assert!(matches!(&packed, Payload::Binary(bytes) if bytes.len() < chat.len() / 10));
        assert_eq!(packed.parse().unwrap().to_json().len(), Frame::parse(&chat).unwrap().to_json().len());
        assert!(matches!(Payload::pack(json(9), true), Payload::Text(_)), "short frames are left alone");
        assert!(matches!(Payload::pack(chat, false), Payload::Text(_)), "only where it is allowed");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let mut bomb = u32::MAX.to_le_bytes().to_vec();
        bomb.extend([0u8; 16]);
        assert_eq!(Payload::Binary(bomb.into()).parse().unwrap_err().code, ErrorCode::FrameTooLarge);
        for broken in [vec![], vec![1, 2], vec![9, 0, 0, 0, 255, 255, 255]] {
            assert_eq!(Payload::Binary(broken.into()).parse().unwrap_err().code, ErrorCode::InvalidMessageFormat);
        }
    }
}
