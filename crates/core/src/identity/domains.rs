//! The domains of an application: what a wallet may have signed for.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::key::PublicKey;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{SessionId, account_id, public_key, sealed_id, uuid_from};
use crate::limits::{DOMAIN_BYTES_MAX, DOMAINS_MAX};
use crate::wire::{put_bytes, put_varint};

/// The domains of one application, as browsers and wallets write them: `chat.example.org`, `localhost:8080`. An account log's
/// id is made of them, so an application with other domains has other account logs, and no option of a client changes
/// which certificates count in one. Shared, because a relay has it once for each account in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSet(Arc<[String]>);

impl DomainSet {
    /// The set of these domains, in whatever order they come.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for none, for more than [`DOMAINS_MAX`], for one that is named twice, and for one that no browser
    /// writes so.
    pub fn new(domains: Vec<String>) -> Result<DomainSet, SyncError> {
        let wrong = |why: &str| Err(SyncError::new(ErrorCode::InvalidArgument, why));
        if domains.is_empty() || domains.len() > DOMAINS_MAX {
            return wrong("an application has 1 to 8 domains");
        }
        let mut sorted: Vec<String> = Vec::with_capacity(domains.len());
        for domain in domains {
            if !is_domain(&domain) {
                return wrong("each domain must be as browsers write a host, in lower case, such as chat.example.org");
            }
            match sorted.binary_search(&domain) {
                Ok(_) => return wrong("a domain is named twice"),
                Err(place) => sorted.insert(place, domain),
            }
        }
        Ok(DomainSet(sorted.into()))
    }

    /// Whether a wallet that signed for this domain signed for the application.
    pub fn has(&self, domain: &str) -> bool {
        self.0.iter().any(|own| own == domain)
    }

    /// The domains, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// As they are part of ids and statements.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        for domain in self.0.iter() {
            put_bytes(out, domain.as_bytes());
        }
    }

    /// The id of a wallet's account log in this application.
    pub fn account_id(&self, wallet: &PublicKey) -> SessionId {
        let mut bytes = b"solconnect.account-id.v1\0".to_vec();
        bytes.extend_from_slice(wallet);
        self.put(&mut bytes);
        account_id(&uuid_from(&Sha256::digest(&bytes).into()))
    }

    /// The session of two wallets in this application: the same for both, on every device. Only devices with keys are in it, and
    /// only those that sign in for these domains. `None` for what is no address of a wallet.
    pub fn session_of(&self, one: &str, other: &str) -> Option<SessionId> {
        self.pair_id(b"solconnect.pair-id.v1\0", one, other)
    }

    /// The encrypted one of them.
    pub fn sealed_session_of(&self, one: &str, other: &str) -> Option<SessionId> {
        self.pair_id(b"solconnect.sealed-pair-id.v1\0", one, other).map(|id| sealed_id(&id))
    }

    fn pair_id(&self, label: &[u8], one: &str, other: &str) -> Option<SessionId> {
        let (one, other) = (public_key(one)?, public_key(other)?);
        let mut bytes = label.to_vec();
        self.put(&mut bytes);
        let (first, second) = if one <= other { (&one, &other) } else { (&other, &one) };
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        Some(uuid_from(&Sha256::digest(&bytes).into()))
    }
}

/// A host with a port where it is not the scheme's own. Whatever else a wallet shows as the domain is none: a text with a
/// space or a line break could look like more than it is.
fn is_domain(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]_".contains(&byte);
    !text.is_empty() && text.len() <= DOMAIN_BYTES_MAX && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{is_account_id, is_sealed_id};

    fn set(domains: &[&str]) -> Result<DomainSet, SyncError> {
        DomainSet::new(domains.iter().map(|domain| (*domain).to_owned()).collect())
    }

    #[test]
    fn an_account_id_depends_on_wallet_and_domains_alone() {
        let id = set(&["b.example", "a.example"]).unwrap().account_id(&[7; 32]);
        assert_eq!(set(&["a.example", "b.example"]).unwrap().account_id(&[7; 32]), id, "their order is no part of it");
        assert_eq!(id, "account:fb13702a-fff9-8bb9-ab7b-fa1a97ff3f26", "by another language");
        for other in [&["a.example"][..], &["a.example", "b.example", "c.example"], &["a.exampleb.example"]] {
            assert_ne!(set(other).unwrap().account_id(&[7; 32]), id);
        }
        assert_ne!(set(&["a.example", "b.example"]).unwrap().account_id(&[8; 32]), id);
        assert!(is_account_id(&id) && !is_account_id(&crate::ids::session_of("a", "b")));
    }

    #[test]
    fn a_session_of_two_wallets_depends_on_them_and_on_the_domains_alone() {
        let [one, other, third] = [[7; 32], [8; 32], [9; 32]].map(|key| crate::ids::wallet_address(&key));
        let id = set(&["b.example", "a.example"]).unwrap().session_of(&one, &other);
        assert_eq!(id.as_deref(), Some("c91bc237-57ba-8821-8ca4-8b7da6739691"), "by another language");
        assert_eq!(set(&["a.example", "b.example"]).unwrap().session_of(&other, &one), id, "no order is a part of it");
        for (domains, peer) in [(&["a.example"][..], &other), (&["a.exampleb.example"], &other), (&["a.example", "b.example"], &third)] {
            assert_ne!(set(domains).unwrap().session_of(&one, peer), id);
        }
        assert_ne!(Some(crate::ids::session_of(&one, &other)), id);
        assert_eq!(set(&["a.example"]).unwrap().session_of(&one, "alice"), None);
        let sealed = set(&["b.example", "a.example"]).unwrap().sealed_session_of(&other, &one);
        assert_eq!(sealed.as_deref(), Some("sealed:1befaf87-a9fb-8d5f-8764-9b536d9a387c"), "by another language");
        assert!(sealed.is_some_and(|id| is_sealed_id(&id)) && id.is_some_and(|id| !is_sealed_id(&id)));
    }

    #[test]
    fn what_no_browser_writes_as_a_host_is_no_domain() {
        for domain in ["localhost:8080", "[::1]:3000", "xn--mnchen-3ya.example", "192.0.2.1"] {
            set(&[domain]).unwrap();
        }
        let long = "a".repeat(DOMAIN_BYTES_MAX + 1);
        for domain in
            ["", "Chat.example", "https://chat.example", "chat.example/", "a b", "a\nb", "münchen.example", "user@chat.example", &long]
        {
            assert_eq!(set(&[domain]).unwrap_err().code, ErrorCode::InvalidArgument, "{domain:?}");
        }
        let many: Vec<String> = (0..=DOMAINS_MAX).map(|number| format!("{number}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for domains in [&[][..], &["a.example", "a.example"], &many] {
            assert_eq!(set(domains).unwrap_err().code, ErrorCode::InvalidArgument);
        }
    }
}
