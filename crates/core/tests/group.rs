//! Who is in a group session, entry by entry.

use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::group::{
    Group, GroupChange, GroupNonce, Role, Statement, check_group_name, group_id, is_group_of, sealed_group_id,
};
use solconnect_sync_core::identity::DomainSet;
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::{GROUP_FORMER_MAX, GROUP_MEMBERS_MAX, GROUP_TEXT_BYTES_MAX, NAME_BYTES_MAX};
use solconnect_sync_core::message::{Kind, Message};

const NONCE: GroupNonce = [7; 16];

fn domains() -> DomainSet {
    DomainSet::new(vec!["chat.example".into()]).unwrap()
}

/// Wallets by their numbers.
fn wallet(number: u16) -> String {
    let mut key = [1; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    wallet_address(&key)
}

fn wallets(numbers: &[u16]) -> Vec<String> {
    numbers.iter().copied().map(wallet).collect()
}

/// A group and the length of its log.
struct Log {
    group: Group,
    end: u64,
}

impl Log {
    /// A group that wallet 0 begins with these others.
    fn begun(others: &[u16]) -> Log {
        let (draft, statement) = Group::draft(&wallet(0), domains(), NONCE, "Walkers", &wallets(others), false).unwrap();
        let id = group_id(&domains(), &wallet(0), &NONCE);
        assert_eq!(draft.members().len(), others.len() + 1);
        let mut log = Log { group: Group::named(&id, ""), end: 0 };
        log.says(0, statement).unwrap();
        log
    }

    fn entry(&self, author: u16, message: Message) -> Entry {
        let message = Message { sender_wallet: wallet(author), ..message };
        Entry { message, device_id: format!("d{author}"), counter: self.end + 1, sequence_number: self.end + 1, ..Entry::default() }
    }

    /// The next entry of the log, whether it counts or not.
    fn take(&mut self, entry: &Entry) -> Result<Vec<GroupChange>, ErrorCode> {
        let before = self.group.clone();
        let judged = self.group.judge(entry);
        let taken = self.group.take(entry);
        assert_eq!(judged.err(), taken.clone().err());
        assert!(taken.is_ok() || self.group == before, "what does not count changes nothing");
        self.end += 1;
        assert_eq!(Group::from_bytes(&self.group.to_bytes()), Ok(self.group.clone()), "as it is stored");
        taken.map_err(|error| error.code)
    }

    fn says(&mut self, author: u16, statement: Statement) -> Result<Vec<GroupChange>, ErrorCode> {
        assert_eq!(Statement::of(&statement.message()), Ok(statement.clone()));
        self.take(&self.entry(author, statement.message()))
    }

    fn writes(&mut self, author: u16) -> Result<Vec<GroupChange>, ErrorCode> {
        self.take(&self.entry(author, Message { ciphertext: "hello".into(), ..Message::default() }))
    }

    fn add(&mut self, author: u16, others: &[u16]) -> Result<Vec<GroupChange>, ErrorCode> {
        self.says(author, Statement::Add(wallets(others)))
    }

    fn remove(&mut self, author: u16, others: &[u16]) -> Result<Vec<GroupChange>, ErrorCode> {
        self.says(author, Statement::Remove(wallets(others)))
    }

    fn promote(&mut self, author: u16, others: &[u16]) -> Result<Vec<GroupChange>, ErrorCode> {
        self.says(author, Statement::Promote(wallets(others)))
    }

    fn demote(&mut self, author: u16, others: &[u16]) -> Result<Vec<GroupChange>, ErrorCode> {
        self.says(author, Statement::Demote(wallets(others)))
    }

    /// The members by their numbers, admins with an exclamation mark.
    fn members(&self) -> String {
        let number = |address: &str| (0..300).find(|number| wallet(*number) == address).unwrap();
        let members = self.group.members().iter();
        members.map(|member| format!("{}{}", number(&member.wallet), if member.is_admin { "!" } else { "" })).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn an_admin_adds_removes_and_renames() {
    let mut log = Log::begun(&[1, 2]);
    assert_eq!(log.members(), "0! 1 2");
    assert_eq!(log.add(0, &[3, 1]), Ok(vec![GroupChange::Added(wallet(3))]), "who is there already stays as it is");
    assert_eq!(log.remove(0, &[1, 9]), Ok(vec![GroupChange::Removed(wallet(1))]));
    assert_eq!(log.says(0, Statement::Rename("Runners".into())), Ok(vec![GroupChange::Renamed]));
    assert_eq!((log.members().as_str(), log.group.name()), ("0! 2 3", "Runners"));
    assert_eq!(log.group.member(&wallet(3)).map(|member| member.since), Some(2));
}

#[test]
fn members_who_are_no_admins_only_write_and_leave() {
    let mut log = Log::begun(&[1, 2]);
    assert_eq!(log.writes(1), Ok(vec![]));
    assert_eq!(log.add(1, &[3]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.remove(1, &[2]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.remove(1, &[1, 2]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.says(1, Statement::Rename("Mine".into())), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.promote(1, &[1]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.demote(1, &[0]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(log.remove(1, &[1]), Ok(vec![GroupChange::Removed(wallet(1))]));
    assert_eq!(log.members(), "0! 2");
}

#[test]
fn what_counts_depends_on_the_place_alone() {
    let mut log = Log::begun(&[1]);
    log.remove(0, &[1]).unwrap();
    assert_eq!(log.writes(1), Err(ErrorCode::MemberRemoved), "it was written before, and came behind");
    assert_eq!(log.group.role(&wallet(1)), Role::Former);
    log.add(0, &[1]).unwrap();
    assert_eq!(log.writes(1), Ok(vec![]));
    assert_eq!(log.writes(9), Err(ErrorCode::NotAMember));
    log.promote(0, &[1]).unwrap();
    log.remove(1, &[0]).unwrap();
    assert_eq!(log.add(0, &[2]), Err(ErrorCode::MemberRemoved), "an admin that was removed before its entry came");
    assert_eq!(log.members(), "1!");
}

#[test]
fn where_the_last_admin_leaves_the_longest_member_is_one() {
    let mut log = Log::begun(&[5, 3]);
    log.add(0, &[1]).unwrap();
    assert_eq!(log.remove(0, &[0]), Ok(vec![GroupChange::Removed(wallet(0)), GroupChange::Admin(wallet(5))]));
    assert_eq!(log.members(), "5! 3 1");
    log.promote(5, &[1]).unwrap();
    log.remove(1, &[5, 1]).unwrap();
    assert_eq!(log.members(), "3!");
    assert_eq!(log.demote(3, &[3]), Ok(vec![GroupChange::Admin(wallet(3))]), "nobody else could be");
    assert_eq!(log.members(), "3!");
    log.remove(3, &[3]).unwrap();
    assert_eq!((log.members().as_str(), log.writes(3)), ("", Err(ErrorCode::MemberRemoved)), "it is over");
}

#[test]
fn an_admin_who_gives_that_up_is_followed_by_another() {
    let mut log = Log::begun(&[1, 2]);
    assert_eq!(log.demote(0, &[0]), Ok(vec![GroupChange::Admin(wallet(0)), GroupChange::Admin(wallet(1))]));
    assert_eq!(log.members(), "0 1! 2");
    assert_eq!(log.promote(1, &[9]), Err(ErrorCode::NotAMember));
}

#[test]
fn a_group_begins_once_by_the_wallet_in_its_id() {
    let id = group_id(&domains(), &wallet(0), &NONCE);
    let (_, statement) = Group::draft(&wallet(0), domains(), NONCE, "Walkers", &wallets(&[1]), false).unwrap();
    let entry = |author: u16, sequence: u64, statement: &Statement| {
        let message = Message { sender_wallet: wallet(author), ..statement.message() };
        Entry { message, device_id: "d".into(), counter: 1, sequence_number: sequence, ..Entry::default() }
    };
    let refused = |id: &str, author, sequence, statement: &Statement| {
        Group::named(id, "").judge(&entry(author, sequence, statement)).unwrap_err().code
    };
    Group::named(&id, "").judge(&entry(0, 1, &statement)).unwrap();
    let Statement::Begin { name, members, .. } = statement.clone() else { panic!() };
    let with = |nonce, domain: &str, members: Vec<(String, bool)>| Statement::Begin {
        nonce,
        domains: DomainSet::new(vec![domain.into()]).unwrap(),
        name: name.clone(),
        members,
    };
    assert_eq!(refused(&id, 0, 2, &statement), ErrorCode::NotAMember, "behind another entry");
    assert_eq!(refused(&id, 1, 1, &statement), ErrorCode::NotAMember, "in another's name");
    assert_eq!(refused("another", 0, 1, &statement), ErrorCode::NotAMember);
    assert_eq!(refused(&id, 0, 1, &with([8; 16], "chat.example", members.clone())), ErrorCode::NotAMember);
    assert_eq!(refused(&id, 0, 1, &with(NONCE, "evil.example", members.clone())), ErrorCode::NotAMember);
    let swapped = members.iter().rev().cloned().collect();
    assert_eq!(refused(&id, 0, 1, &with(NONCE, "chat.example", swapped)), ErrorCode::InvalidArgument);
    assert_eq!(refused(&id, 0, 1, &Statement::Add(wallets(&[1]))), ErrorCode::NotAMember, "before it has begun");
    let mut log = Log::begun(&[1]);
    assert_eq!(log.says(0, statement), Err(ErrorCode::NotAMember), "again");
}

#[test]
fn before_a_group_has_begun_nothing_counts() {
    let (mut draft, _) = Group::draft(&wallet(0), domains(), NONCE, "Walkers", &[], false).unwrap();
    let message = Message { sender_wallet: wallet(0), ciphertext: "hello".into(), ..Message::default() };
    let entry = Entry { message, device_id: "d".into(), counter: 1, sequence_number: 1, ..Entry::default() };
    assert_eq!(draft.take(&entry).unwrap_err().code, ErrorCode::NotAMember);
    assert_eq!(Group::founded(draft.session_id(), &wallet(0), domains(), NONCE).judge(&entry).unwrap_err().code, ErrorCode::NotAMember);
}

#[test]
fn a_full_group_fits_one_entry_and_takes_no_more() {
    let others: Vec<u16> = (1..GROUP_MEMBERS_MAX as u16).collect();
    let mut log = Log::begun(&others);
    assert_eq!(log.group.members().len(), GROUP_MEMBERS_MAX);
    assert_eq!(log.add(0, &[300]), Err(ErrorCode::LimitReached));
    log.remove(0, &[9]).unwrap();
    assert_eq!(log.add(0, &[298, 299]), Err(ErrorCode::LimitReached));
    log.add(0, &[299]).unwrap();
    let domain = |number: usize| format!("{number}.{}", "a".repeat(257));
    let largest = DomainSet::new((0..8).map(domain).collect()).unwrap();
    let name = "é".repeat(NAME_BYTES_MAX / 2);
    let (group, statement) = Group::draft(&wallet(0), largest, NONCE, &name, &wallets(&others), false).unwrap();
    assert!(statement.message().ciphertext.len() <= GROUP_TEXT_BYTES_MAX);
    statement.message().check().unwrap();
    assert!(group.to_bytes().len() <= GROUP_TEXT_BYTES_MAX);
    let too_many = wallets(&(1..=GROUP_MEMBERS_MAX as u16).collect::<Vec<_>>());
    assert_eq!(Group::draft(&wallet(0), domains(), NONCE, "x", &too_many, false).unwrap_err().code, ErrorCode::LimitReached);
}

#[test]
fn only_the_last_who_left_are_remembered() {
    let mut log = Log::begun(&[]);
    for number in 1..=GROUP_FORMER_MAX as u16 + 1 {
        log.add(0, &[number]).unwrap();
        log.remove(0, &[number]).unwrap();
    }
    assert_eq!((log.group.role(&wallet(1)), log.group.role(&wallet(2))), (Role::Stranger, Role::Former));
}

#[test]
fn what_is_no_statement_is_refused_and_never_panics() {
    let mut log = Log::begun(&[1]);
    let said = Statement::Add(wallets(&[2])).message().ciphertext;
    for text in ["", "A", "AQ==", "AQc=", &said[..said.len() - 4], &format!("{said}AAAA"), "not base64 \u{0}"] {
        let message = Message { kind: Kind::GROUP, ciphertext: text.into(), ..Message::default() };
        assert_eq!(log.take(&log.entry(0, message)), Err(ErrorCode::InvalidMessageFormat), "{text:?}");
    }
    for (wrong, code) in [
        (Statement::Add(wallets(&[2, 2])), ErrorCode::InvalidArgument),
        (Statement::Add(vec![]), ErrorCode::InvalidArgument),
        (Statement::Remove(vec![]), ErrorCode::InvalidArgument),
        (Statement::Rename(" ".into()), ErrorCode::InvalidArgument),
        (Statement::Rename("a\nb".into()), ErrorCode::InvalidArgument),
    ] {
        assert_eq!(log.says(0, wrong.clone()), Err(code), "{wrong:?}");
    }
    assert_eq!(check_group_name(&"x".repeat(NAME_BYTES_MAX + 1)).unwrap_err().code, ErrorCode::InvalidArgument);
    let bytes = log.group.to_bytes();
    for end in 0..bytes.len() {
        let _ = Group::from_bytes(&bytes[..end]);
    }
}

#[test]
fn a_group_id_depends_on_founder_domains_and_nonce() {
    let id = group_id(&domains(), &wallet(0), &NONCE);
    let other = DomainSet::new(vec!["chat.example".into(), "www.chat.example".into()]).unwrap();
    for another in
        [group_id(&other, &wallet(0), &NONCE), group_id(&domains(), &wallet(1), &NONCE), group_id(&domains(), &wallet(0), &[8; 16])]
    {
        assert_ne!(id, another);
    }
}

#[test]
fn a_group_is_encrypted_or_not_by_its_id() {
    let domains = DomainSet::new(vec!["b.example".into(), "a.example".into()]).unwrap();
    let founder = wallet_address(&[7; 32]);
    let (plain, sealed) = (group_id(&domains, &founder, &[9; 16]), sealed_group_id(&domains, &founder, &[9; 16]));
    assert_eq!(plain, "ae7e7de6-99c9-8b2a-8ae3-19ea7ecbe0d6", "by another language");
    assert_eq!(sealed, "sealed:780a9cfd-4bf4-8bb6-a458-1233784343fe", "by another language");
    for id in [&plain, &sealed] {
        assert!(is_group_of(id, &domains, &founder, &[9; 16]) && !is_group_of(id, &domains, &founder, &[8; 16]));
    }
    for id in [format!("sealed:{plain}"), sealed["sealed:".len()..].to_owned()] {
        assert!(!is_group_of(&id, &domains, &founder, &[9; 16]), "{id}");
    }
}
