//! What a relay has signed of a session, so that somebody else can see by it alone whether the relay contradicts itself.

use super::head::{HeadSignature, SignedHead};
use super::key::PublicKey;
use crate::entry::{Digest, Entry, first_log_hash, next_log_hash};
use crate::error::{ErrorCode, SyncError};
use crate::ids::SessionId;
use crate::log::{Log, LogHead, Refusal};

/// The first line of a file: another form would have another.
const FORMAT: &str = "solconnect-evidence 1";

/// Signed heads of one session, and the log that leads to them, without what was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The relay's key.
    pub relay: PublicKey,
    /// The session.
    pub session_id: SessionId,
    /// What the relay has signed.
    pub heads: Vec<SignedHead>,
    /// The digest and the relay's time of each entry from the first on. Nobody has to believe them: with a hash that the relay
    /// has signed at their end they are those of its log.
    pub links: Vec<(Digest, u64)>,
}

/// What evidence shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The relay has signed two logs that exclude each other: at this place one has the one hash, and one the other.
    Forked(LogHead, LogHead),
    /// It has signed a shorter log later. It was set back, or its clock was.
    SetBack(SignedHead, SignedHead),
    /// Nothing that it has signed contradicts anything else.
    Consistent(usize),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Forked(one, other) => {
                write!(f, "guilty: the relay has signed two logs that exclude each other, one with {one} and one with {other}")
            }
            Verdict::SetBack(one, other) => write!(
                f,
                "set back: the relay signed at {} that its log ends at {}, and at {} that it ends at {}. Either its journal was set back or its clock",
                one.signature.time, one.head, other.signature.time, other.head
            ),
            Verdict::Consistent(count) => write!(f, "not guilty: none of the {count} signed heads contradicts another"),
        }
    }
}

impl Evidence {
    /// Goes on with entries of the session's log, which leads up to here.
    ///
    /// # Errors
    /// They do not follow.
    pub fn follow(&mut self, log: &mut Log, entries: &[Entry]) -> Result<(), Refusal> {
        for entry in entries {
            log.take(entry)?;
            self.links.push((log.digest(&self.session_id, &entry.device_id), entry.server_timestamp));
        }
        Ok(())
    }

    /// As the text of a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FORMAT}\nrelay {}\nsession {}\n", hex(&self.relay), self.session_id);
        for SignedHead { head, signature } in &self.heads {
            text += &format!("head {} {} {} {}\n", head.sequence, hex(&head.hash), signature.time, hex(&signature.signature));
        }
        for (digest, time) in &self.links {
            text += &format!("entry {} {time}\n", hex(digest));
        }
        text
    }

    /// Reads that.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the line.
    pub fn from_text(text: &str) -> Result<Evidence, SyncError> {
        let mut lines = (1..).zip(text.lines());
        let wrong = |line: usize| SyncError::new(ErrorCode::InvalidArgument, format!("line {line} is not one of such a file"));
        if lines.next().is_none_or(|(_, first)| first != FORMAT) {
            return Err(wrong(1));
        }
        let mut evidence = Evidence { relay: PublicKey::default(), session_id: SessionId::new(), heads: Vec::new(), links: Vec::new() };
        for (number, line) in lines {
            let (kind, said) = line.split_once(' ').ok_or_else(|| wrong(number))?;
            let parts: Vec<&str> = said.split(' ').collect();
            let read = match (kind, &*parts) {
                ("relay", [key]) => bytes(key).map(|key| evidence.relay = key),
                ("session", _) => {
                    said.clone_into(&mut evidence.session_id);
                    Some(())
                }
                ("head", [sequence, hash, time, signature]) => {
                    read_head(sequence, hash, time, signature).map(|head| evidence.heads.push(head))
                }
                ("entry", [digest, time]) => bytes(digest).zip(time.parse().ok()).map(|link| evidence.links.push(link)),
                _ => None,
            };
            read.ok_or_else(|| wrong(number))?;
        }
        Ok(evidence)
    }

    /// The hash of the log up to each place that the links reach.
    fn hashes(&self) -> Vec<Digest> {
        let mut hashes = vec![first_log_hash(&self.session_id)];
        for (digest, time) in &self.links {
            let before = hashes.last().copied().unwrap_or_default();
            hashes.push(next_log_hash(&before, digest, *time));
        }
        hashes
    }
}

/// What files of one session show together. Where one device alone cannot show it, those of two may.
///
/// # Errors
/// `INVALID_ARGUMENT` where they are of several sessions or relays, or where a head is not signed by the relay.
pub fn judge(files: &[Evidence]) -> Result<Verdict, SyncError> {
    let refused = |message: &str| Err(SyncError::new(ErrorCode::InvalidArgument, message));
    let Some(first) = files.first() else { return refused("there is no file") };
    if files.iter().any(|file| (file.relay, &file.session_id) != (first.relay, &first.session_id)) {
        return refused("the files are of several sessions or relays");
    }
    let heads: Vec<SignedHead> = files.iter().flat_map(|file| file.heads.iter().copied()).collect();
    for SignedHead { head, signature } in &heads {
        if signature.check(&first.relay, &first.session_id, head).is_err() {
            return refused("a head is not signed by this relay: the file proves nothing");
        }
    }
    for one in &heads {
        for other in &heads {
            if one.head.sequence == other.head.sequence && one.head.hash != other.head.hash {
                return Ok(Verdict::Forked(one.head, other.head));
            }
        }
    }
    for hashes in files.iter().map(Evidence::hashes) {
        let at = |sequence: u64| hashes.get(usize::try_from(sequence).ok()?).copied();
        // The links lead to what the relay has signed, so they are those of its log, also before that.
        let signed =
            heads.iter().filter(|signed| at(signed.head.sequence) == Some(signed.head.hash)).map(|signed| signed.head.sequence).max();
        for SignedHead { head, .. } in heads.iter().filter(|other| Some(other.head.sequence) < signed) {
            if let Some(hash) = at(head.sequence).filter(|hash| *hash != head.hash) {
                return Ok(Verdict::Forked(*head, LogHead { hash, ..*head }));
            }
        }
    }
    for one in &heads {
        let is_shorter = |other: &&SignedHead| other.signature.time > one.signature.time && other.head.sequence < one.head.sequence;
        if let Some(other) = heads.iter().find(is_shorter) {
            return Ok(Verdict::SetBack(*one, *other));
        }
    }
    Ok(Verdict::Consistent(heads.len()))
}

fn read_head(sequence: &str, hash: &str, time: &str, signature: &str) -> Option<SignedHead> {
    let head = LogHead { sequence: sequence.parse().ok()?, hash: bytes(hash)? };
    Some(SignedHead { head, signature: HeadSignature { time: time.parse().ok()?, signature: bytes(signature)? } })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const COUNT: usize>(hex: &str) -> Option<[u8; COUNT]> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;

    const SESSION: &str = "a room";

    fn key() -> DeviceKey {
        DeviceKey::from_secret(&[5; 32])
    }

    /// What is known of a log of these digests, of which the relay has signed the places.
    fn evidence(digests: &[u8], signed: &[(u64, u64)]) -> Evidence {
        let links = digests.iter().map(|digest| ([*digest; 32], 7)).collect();
        let mut evidence = Evidence { relay: key().public(), session_id: SESSION.into(), heads: Vec::new(), links };
        let hashes = evidence.hashes();
        for (sequence, time) in signed {
            let head = LogHead { sequence: *sequence, hash: hashes[*sequence as usize] };
            evidence.heads.push(SignedHead { head, signature: HeadSignature::sign(&key(), SESSION, &head, *time) });
        }
        evidence
    }

    /// The same without the log.
    fn heads_only(evidence: Evidence) -> Evidence {
        Evidence { links: Vec::new(), ..evidence }
    }

    #[test]
    fn an_honest_relay_is_not_guilty() {
        let one = evidence(&[1, 2, 3, 4], &[(1, 10), (4, 20), (4, 20)]);
        let other = evidence(&[1, 2], &[(2, 15)]);
        assert_eq!(judge(&[one.clone(), other]), Ok(Verdict::Consistent(4)));
        // What somebody only says of the log accuses nobody.
        let liar = Evidence { links: evidence(&[9, 9, 9], &[]).links, ..one };
        assert_eq!(judge(&[liar]), Ok(Verdict::Consistent(3)));
    }

    #[test]
    fn two_logs_at_one_place_are_guilt() {
        let files = [heads_only(evidence(&[1, 2], &[(2, 10)])), heads_only(evidence(&[1, 3], &[(2, 10)]))];
        assert!(matches!(judge(&files), Ok(Verdict::Forked(..))));
    }

    #[test]
    fn two_logs_are_guilt_where_digests_link_them() {
        let (long, short) = (evidence(&[1, 2, 3, 4], &[(4, 20)]), heads_only(evidence(&[1, 3], &[(2, 10)])));
        assert!(matches!(judge(&[long.clone(), short.clone()]), Ok(Verdict::Forked(..))));
        assert_eq!(judge(&[heads_only(long), short]), Ok(Verdict::Consistent(2)), "without the links nothing is proved");
    }

    #[test]
    fn a_shorter_log_that_is_signed_later_was_set_back() {
        assert!(matches!(judge(&[evidence(&[1, 2, 3], &[(3, 10), (2, 11)])]), Ok(Verdict::SetBack(..))));
        assert_eq!(judge(&[evidence(&[1, 2, 3], &[(3, 11), (2, 11)])]), Ok(Verdict::Consistent(2)));
    }

    #[test]
    fn what_the_relay_did_not_sign_is_no_evidence() {
        let mut forged = evidence(&[1, 2], &[(2, 10)]);
        forged.heads[0].head.hash = [9; 32];
        let others = Evidence { session_id: "hall".into(), ..evidence(&[1], &[]) };
        for files in [vec![forged], vec![evidence(&[1], &[]), others], vec![]] {
            assert_eq!(judge(&files).unwrap_err().code, ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn a_file_comes_back_and_says_which_line_is_wrong() {
        let evidence = evidence(&[1, 2, 3], &[(2, 10), (3, 11)]);
        assert_eq!(Evidence::from_text(&evidence.to_text()), Ok(evidence.clone()));
        let text = evidence.to_text();
        for (bad, line) in [("", 1), ("{}", 1), (&text.replace("entry 01", "entry 0"), 6), (&text.replace("relay ", "relay x"), 2)] {
            let refused = Evidence::from_text(bad).unwrap_err();
            assert!(refused.message.contains(&format!("line {line} ")), "{refused}");
        }
    }
}
