//! Who is in a group session: what the entries of its log make of it.
//!
//! The relay and every device evaluate the same entries by this code, in the order of the log, and come to the same members.
//! What counts depends on the entries and on the session's id alone. No clock, no option and no order of arrival has a part.

mod statement;

pub use statement::Statement;
use statement::{put_wallet, take_domains, take_wallet};

use sha2::{Digest as _, Sha256};

use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::identity::DomainSet;
use crate::ids::{SessionId, WalletAddress, check_wallet, is_sealed_id, public_key, sealed_id, uuid_from};
use crate::limits::{GROUP_FORMER_MAX, GROUP_MEMBERS_MAX, NAME_BYTES_MAX};
use crate::message::Kind;
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// What keeps apart the groups of one wallet.
pub type GroupNonce = [u8; 16];

/// The id of a group's session. It is made of who begins it, so that nobody else can begin it in that wallet's name, and of the
/// application's domains, so that no option of a client changes what counts in it.
pub fn group_id(domains: &DomainSet, founder: &str, nonce: &GroupNonce) -> SessionId {
    let mut bytes = b"solconnect.group-id.v1\0".to_vec();
    domains.put(&mut bytes);
    put_wallet(&mut bytes, founder);
    bytes.extend_from_slice(nonce);
    uuid_from(&Sha256::digest(&bytes).into())
}

/// The id of an encrypted group. A nonce makes one group of each kind, so what is proved of one says nothing of the other.
pub fn sealed_group_id(domains: &DomainSet, founder: &str, nonce: &GroupNonce) -> SessionId {
    let mut bytes = b"solconnect.sealed-group-id.v1\0".to_vec();
    domains.put(&mut bytes);
    put_wallet(&mut bytes, founder);
    bytes.extend_from_slice(nonce);
    sealed_id(&uuid_from(&Sha256::digest(&bytes).into()))
}

/// Whether this wallet begins a group of this id with this nonce.
pub fn is_group_of(session_id: &str, domains: &DomainSet, founder: &str, nonce: &GroupNonce) -> bool {
    let make = if is_sealed_id(session_id) { sealed_group_id } else { group_id };
    make(domains, founder, nonce) == session_id
}

/// Checks what a group is to be called: 1 to [`NAME_BYTES_MAX`] bytes that people can read.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn check_group_name(name: &str) -> Result<(), SyncError> {
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("a group's name has 1 to {NAME_BYTES_MAX} bytes, no control characters, and something to read");
        return Err(SyncError::new(ErrorCode::InvalidArgument, message));
    }
    Ok(())
}

/// A wallet of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its address.
    pub wallet: WalletAddress,
    /// It may add, remove and rename, and say who else may.
    pub is_admin: bool,
    /// The place of the entry that made it one.
    pub since: u64,
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// It is a member from this entry on.
    Added(WalletAddress),
    /// It hears this entry, and nothing behind it.
    Removed(WalletAddress),
    /// It may do more, or less.
    Admin(WalletAddress),
    /// The group is called otherwise.
    Renamed,
}

/// What a wallet is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It never was in it, or that is forgotten.
    Stranger,
    /// It was in it once.
    Former,
    /// It is in it.
    Member,
    /// And says who else is.
    Admin,
}

/// A group up to an entry of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    session_id: SessionId,
    /// Its first entry is in the log. Before that, what is here is what its founder, or who invited, says of it.
    begun: bool,
    /// What its id is made of, where that is known; of one that has begun, it is.
    nonce: Option<GroupNonce>,
    domains: Option<DomainSet>,
    name: String,
    /// In the order in which they came.
    members: Vec<Member>,
    /// Who left, the last of them last: some are forgotten.
    former: Vec<WalletAddress>,
}

impl Group {
    /// A group of which only its id is known, and what it is called where somebody said so.
    pub fn named(session_id: &str, name: &str) -> Group {
        let (nonce, domains) = (None, None);
        let (members, former) = (Vec::new(), Vec::new());
        Group { session_id: session_id.to_owned(), begun: false, nonce, domains, name: name.to_owned(), members, former }
    }

    /// A group that is about to begin, as its founder wants it: encrypted, or not.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `INVALID_WALLET_ADDRESS`, `LIMIT_REACHED`.
    pub fn draft(
        founder: &str,
        domains: DomainSet,
        nonce: GroupNonce,
        name: &str,
        others: &[WalletAddress],
        is_sealed: bool,
    ) -> Result<(Group, Statement), SyncError> {
        let mut members = vec![(founder.to_owned(), true)];
        members.extend(others.iter().filter(|wallet| *wallet != founder).map(|wallet| (wallet.clone(), false)));
        let make = if is_sealed { sealed_group_id } else { group_id };
        let session_id = make(&domains, founder, &nonce);
        let statement = Statement::Begin { nonce, domains, name: name.to_owned(), members };
        let mut group = Group::named(&session_id, name);
        group.check(founder, 1, &statement)?;
        group.apply(1, founder, statement.clone());
        group.begun = false;
        Ok((group, statement))
    }

    /// A group that its founder announces, whose first entry is not there yet: it has this one member.
    pub fn founded(session_id: &str, founder: &str, domains: DomainSet, nonce: GroupNonce) -> Group {
        let members = vec![Member { wallet: founder.to_owned(), is_admin: true, since: 1 }];
        Group { nonce: Some(nonce), domains: Some(domains), members, ..Group::named(session_id, "") }
    }

    /// Its session.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Whether its first entry is in the log.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// What its id is made of, where this is known.
    pub fn nonce(&self) -> Option<GroupNonce> {
        self.nonce
    }

    /// The domains of its application, where they are known.
    pub fn domains(&self) -> Option<&DomainSet> {
        self.domains.as_ref()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its wallets, in the order in which they came.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A wallet of it.
    pub fn member(&self, wallet: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.wallet == wallet)
    }

    /// What a wallet is in it.
    pub fn role(&self, wallet: &str) -> Role {
        match self.member(wallet) {
            Some(member) if member.is_admin => Role::Admin,
            Some(_) => Role::Member,
            None if self.former.iter().any(|former| former == wallet) => Role::Former,
            None => Role::Stranger,
        }
    }

    /// A wallet's account log in the group's application; `None` before that is known.
    pub fn account_id(&self, wallet: &str) -> Option<SessionId> {
        Some(self.domains.as_ref()?.account_id(&public_key(wallet)?))
    }

    /// Whether an entry counts as the next one, at its place. Of a message that does not, nobody shows anything.
    ///
    /// # Errors
    /// Why not: what the relay refuses it with.
    pub fn judge(&self, entry: &Entry) -> Result<(), SyncError> {
        self.judged(entry).map(|_| ())
    }

    /// Takes the next entry of the log; what it changed, or why it does not count.
    ///
    /// # Errors
    /// As [`Group::judge`]; the group is as it was then.
    pub fn take(&mut self, entry: &Entry) -> Result<Vec<GroupChange>, SyncError> {
        Ok(match self.judged(entry)? {
            Some(statement) => self.apply(entry.sequence_number, &entry.message.sender_wallet, statement),
            None => Vec::new(),
        })
    }

    /// What an entry that counts says of the group, where it says anything.
    fn judged(&self, entry: &Entry) -> Result<Option<Statement>, SyncError> {
        let author = &entry.message.sender_wallet;
        if entry.message.kind == Kind::GROUP {
            let statement = Statement::of(&entry.message)?;
            return self.check(author, entry.sequence_number, &statement).map(|()| Some(statement));
        }
        if !self.begun {
            return refuse(ErrorCode::NotAMember, "the group has not begun: its first entry says who is in it");
        }
        match self.role(author) {
            Role::Member | Role::Admin => Ok(None),
            Role::Former | Role::Stranger => Err(not_in_it(self.role(author))),
        }
    }

    /// Whether a wallet may say this at this place.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, author: &str, sequence: u64, statement: &Statement) -> Result<(), SyncError> {
        if let Statement::Begin { nonce, domains, name, members } = statement {
            return self.check_begin(author, sequence, (nonce, domains), name, members);
        }
        let role = self.role(author);
        if !self.begun || !matches!(role, Role::Member | Role::Admin) {
            return Err(not_in_it(role));
        }
        let is_own = matches!(statement, Statement::Remove(wallets) if wallets.len() == 1 && wallets[0] == author);
        if role != Role::Admin && !is_own {
            return refuse(ErrorCode::NotAnAdmin, "only an admin of the group may do this");
        }
        match statement {
            Statement::Begin { .. } => Ok(()),
            Statement::Rename(name) => check_group_name(name),
            Statement::Add(wallets) => {
                check_wallets(wallets.iter())?;
                let new = wallets.iter().filter(|wallet| self.member(wallet).is_none()).count();
                check_count(self.members.len() + new)
            }
            Statement::Remove(wallets) => check_wallets(wallets.iter()),
            Statement::Promote(wallets) | Statement::Demote(wallets) => {
                check_wallets(wallets.iter())?;
                if wallets.iter().any(|wallet| self.member(wallet).is_none()) {
                    return refuse(ErrorCode::NotAMember, "only a member of the group can be its admin");
                }
                Ok(())
            }
        }
    }

    fn check_begin(
        &self,
        author: &str,
        sequence: u64,
        (nonce, domains): (&GroupNonce, &DomainSet),
        name: &str,
        members: &[(WalletAddress, bool)],
    ) -> Result<(), SyncError> {
        if self.begun || sequence != 1 {
            return refuse(ErrorCode::NotAMember, "a group begins once, with the first entry of its session");
        }
        if !is_group_of(&self.session_id, domains, author, nonce) {
            return refuse(ErrorCode::NotAMember, "the session is not one that this wallet can begin");
        }
        check_group_name(name)?;
        check_wallets(members.iter().map(|(wallet, _)| wallet))?;
        check_count(members.len())?;
        if members.first().is_none_or(|(wallet, is_admin)| wallet != author || !is_admin) {
            return refuse(ErrorCode::InvalidArgument, "who begins a group is its first member and an admin");
        }
        Ok(())
    }

    /// Does what counts.
    fn apply(&mut self, sequence: u64, author: &str, statement: Statement) -> Vec<GroupChange> {
        let mut changes = Vec::new();
        match statement {
            Statement::Begin { nonce, domains, name, members } => {
                (self.begun, self.nonce, self.domains, self.name) = (true, Some(nonce), Some(domains), name);
                let member = |(wallet, is_admin)| Member { wallet, is_admin, since: sequence };
                self.members = members.into_iter().map(member).collect();
                changes.extend(self.members.iter().map(|member| GroupChange::Added(member.wallet.clone())));
            }
            Statement::Add(wallets) => {
                for wallet in wallets {
                    if self.member(&wallet).is_none() {
                        self.former.retain(|former| *former != wallet);
                        self.members.push(Member { wallet: wallet.clone(), is_admin: false, since: sequence });
                        changes.push(GroupChange::Added(wallet));
                    }
                }
            }
            Statement::Remove(wallets) => {
                for wallet in wallets {
                    if let Some(place) = self.members.iter().position(|member| member.wallet == wallet) {
                        self.members.remove(place);
                        self.former.push(wallet.clone());
                        changes.push(GroupChange::Removed(wallet));
                    }
                }
                let forgotten = self.former.len().saturating_sub(GROUP_FORMER_MAX);
                self.former.drain(..forgotten);
            }
            Statement::Rename(name) => {
                if name != self.name {
                    self.name = name;
                    changes.push(GroupChange::Renamed);
                }
            }
            Statement::Promote(wallets) => self.set_admins(&wallets, true, &mut changes),
            Statement::Demote(wallets) => self.set_admins(&wallets, false, &mut changes),
        }
        self.keep_an_admin(author, &mut changes);
        changes
    }

    fn set_admins(&mut self, wallets: &[WalletAddress], is_admin: bool, changes: &mut Vec<GroupChange>) {
        for member in self.members.iter_mut().filter(|member| wallets.contains(&member.wallet) && member.is_admin != is_admin) {
            member.is_admin = is_admin;
            changes.push(GroupChange::Admin(member.wallet.clone()));
        }
    }

    /// A group that has members has an admin: where the last one is none any more, the member that has been there longest, and
    /// not the one that gave it up where there is another.
    fn keep_an_admin(&mut self, author: &str, changes: &mut Vec<GroupChange>) {
        if self.members.iter().any(|member| member.is_admin) {
            return;
        }
        let place = self.members.iter().position(|member| member.wallet != author).unwrap_or(0);
        if let Some(member) = self.members.get_mut(place) {
            member.is_admin = true;
            let change = GroupChange::Admin(member.wallet.clone());
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }

    /// What is stored of it: enough to take the next entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.begun) | u8::from(self.nonce.is_some()) << 1];
        put_bytes(&mut out, self.session_id.as_bytes());
        if let Some(nonce) = &self.nonce {
            out.extend_from_slice(nonce);
        }
        match &self.domains {
            Some(domains) => domains.put(&mut out),
            None => put_varint(&mut out, 0),
        }
        put_bytes(&mut out, self.name.as_bytes());
        put_varint(&mut out, self.members.len() as u64);
        for Member { wallet, is_admin, since } in &self.members {
            put_wallet(&mut out, wallet);
            put_varint(&mut out, since << 1 | u64::from(*is_admin));
        }
        put_varint(&mut out, self.former.len() as u64);
        self.former.iter().for_each(|wallet| put_wallet(&mut out, wallet));
        out
    }

    /// Reads that.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Group, Malformed> {
        let mut reader = Reader(bytes);
        let flags = reader.byte()?;
        let session_id = reader.text()?.to_owned();
        let nonce = if flags & 2 != 0 { Some(*reader.array()?) } else { None };
        let domains = if reader.0.first() == Some(&0) {
            reader.byte()?;
            None
        } else {
            Some(take_domains(&mut reader)?)
        };
        let name = reader.text()?.to_owned();
        let count = reader.below(GROUP_MEMBERS_MAX + 1)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            let wallet = take_wallet(&mut reader)?;
            let since = reader.varint()?;
            members.push(Member { wallet, is_admin: since & 1 != 0, since: since >> 1 });
        }
        let count = reader.below(GROUP_FORMER_MAX + 1)?;
        let former = (0..count).map(|_| take_wallet(&mut reader)).collect::<Result<_, Malformed>>()?;
        Ok(Group { session_id, begun: flags & 1 != 0, nonce, domains, name, members, former })
    }
}

fn refuse<T>(code: ErrorCode, message: &str) -> Result<T, SyncError> {
    Err(SyncError::new(code, message))
}

/// Why a wallet that is not in a group may do nothing in it.
pub fn not_in_it(role: Role) -> SyncError {
    match role {
        Role::Former => SyncError::new(ErrorCode::MemberRemoved, "this wallet is no member of the group any more"),
        _ => SyncError::new(ErrorCode::NotAMember, "the session is closed to all but devices that have signed in as one of its wallets"),
    }
}

fn check_count(members: usize) -> Result<(), SyncError> {
    if members > GROUP_MEMBERS_MAX {
        return refuse(ErrorCode::LimitReached, &format!("a group has at most {GROUP_MEMBERS_MAX} members"));
    }
    Ok(())
}

/// Wallets that an entry names: at least one, none twice, and no more than a group may have.
fn check_wallets<'a>(wallets: impl Iterator<Item = &'a WalletAddress>) -> Result<(), SyncError> {
    let mut known: Vec<&str> = Vec::new();
    for wallet in wallets {
        check_wallet(wallet)?;
        match known.binary_search(&wallet.as_str()) {
            Ok(_) => return refuse(ErrorCode::InvalidArgument, "a wallet is named twice"),
            Err(place) => known.insert(place, wallet),
        }
    }
    if known.is_empty() {
        return refuse(ErrorCode::InvalidArgument, "no wallet is named");
    }
    check_count(known.len())
}
