use super::{Account, PublicKey};
use crate::entry::Digest;
impl Account {
    pub fn place(&self, _sequence: u64) -> Option<Digest> { None }
    pub fn was_listed_at(&self, _id: &str, _sequence: u64) -> bool { false }
    pub fn generation_at(&self, _sequence: u64) -> Option<(u64, PublicKey)> { None }
    pub fn last_cut(&self) -> u64 { 0 }
}
