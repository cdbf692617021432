//! Parts of the log, encoded once for all who ask for them: what is in the log never changes.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::{Batch, Encoder};
use crate::frame::{Encoding, Payload};
use crate::ids::SessionId;
use crate::limits::FRAME_BYTES_MAX;
use crate::message::Entry;

/// Of the encoded parts that are kept. Enough for many devices to catch up on the same long history.
const CHUNKS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages in one frame: the rest is for its own fields.
const MESSAGES_BYTES_MAX: usize = FRAME_BYTES_MAX - 8 * 1024;

/// Which part, for whom. Parts end at multiples of the batch size, so that devices which began at different places soon
/// ask for the same ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    pub session_id: SessionId,
    pub from: u64,
    pub count_max: usize,
    pub form: Form,
}

/// What a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Json,
    Binary,
    Deflated,
}

impl Form {
    pub fn encoding(self) -> Encoding {
        if self == Form::Json { Encoding::Json } else { Encoding::Binary }
    }
}

impl ChunkKey {
    /// The last sequence number that this part may have.
    pub fn boundary(&self) -> u64 {
        let size = self.count_max as u64;
        (self.from - 1) / size * size + size
    }

    /// Encodes the part from its entries, of which there may be more than fit.
    pub fn encode<'a>(&self, entries: impl Iterator<Item = &'a Entry>, through: u64) -> Option<Chunk> {
        let mut entries = entries.take_while(|entry| entry.sequence_number <= through).peekable();
        let mut encoder = Encoder::new(entries.peek()?, MESSAGES_BYTES_MAX);
        let (mut last, mut json_bytes) = (self.from - 1, 0);
        for entry in entries {
            if self.form == Form::Json {
                json_bytes += serde_json::to_string(entry).map_or(0, |json| json.len() + 1);
                if json_bytes > MESSAGES_BYTES_MAX && last >= self.from {
                    break;
                }
            }
            if !encoder.push(entry) {
                break;
            }
            last = entry.sequence_number;
        }
        let batch = encoder.finish();
        let batch = if self.form == Form::Deflated { batch.deflate() } else { batch };
        let is_closed = last < through || last == self.boundary();
        (last >= self.from).then_some(Chunk { through: last, is_closed, batch, push: None })
    }
}

/// An encoded part.
pub(super) struct Chunk {
    pub through: u64,
    /// It will not grow with the log: it is as large as it may be.
    pub is_closed: bool,
    pub batch: Batch,
    /// The frame of a live push of it, the same for everybody, and the head of the log that it names.
    pub push: Option<(u64, Payload)>,
}

/// The parts that were encoded last.
#[derive(Default)]
pub(super) struct Chunks {
    chunks: BTreeMap<ChunkKey, Chunk>,
    order: VecDeque<ChunkKey>,
    bytes: usize,
}

impl Chunks {
    /// The part, where it is kept, reaches as far as it can, and not beyond `through`.
    pub fn get(&mut self, key: &ChunkKey, through: u64) -> Option<&mut Chunk> {
        let is_whole = |chunk: &&mut Chunk| chunk.through == through || (chunk.is_closed && chunk.through < through);
        self.chunks.get_mut(key).filter(is_whole)
    }

    pub fn insert(&mut self, key: ChunkKey, chunk: Chunk) {
        self.bytes += chunk.batch.bytes().len();
        match self.chunks.insert(key.clone(), chunk) {
            Some(old) => self.bytes -= old.batch.bytes().len(),
            None => self.order.push_back(key),
        }
        while self.bytes > CHUNKS_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(chunk) = self.chunks.remove(&oldest) {
                self.bytes -= chunk.batch.bytes().len();
            }
        }
    }
}
