//! The rules of the protocol, each of which can be taken out.

/// A rule of docs/encryption.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An entry is taken from who signed it alone.
    Signatures,
    /// An entry is its device's next one, and names the one before.
    Chain,
    /// A text of a name that counted already does not count.
    Names,
    /// A text counts only in the epoch at its place.
    StrictEpochs,
    /// An entry that changes who is in ends the epoch.
    MembershipEndsEpoch,
    /// An epoch names, and its keys are made of, the transcript that it follows.
    Transcript,
    /// An author is listed at the account head that the epoch names.
    Listed,
    /// No epoch names an older account head than the one before.
    HeadsGrow,
    /// A removed key is never listed again.
    NeverAgain,
    /// A removal has the next generation in it.
    RemovalWithGeneration,
    /// An account key is its wallet's: the account log says so.
    CertifiedAccounts,
    /// A secret is used where its epoch's tag is that of it.
    Tag,
    /// An epoch's secret is fresh.
    FreshSecret,
    /// Who knows of a newer account head makes an epoch before it writes.
    EpochBeforeWriting,
    /// A nonce is made of what is encrypted.
    SyntheticNonce,
    /// The place of a text is in its AAD.
    PlaceInAad,
    /// Who holds a secret owes it to members that have none.
    ResealOwed,
    /// Nobody else is given one.
    ResealToMembers,
}

/// All of them.
pub const ALL_RULES: [Rule; 18] = [
    Rule::Signatures,
    Rule::Chain,
    Rule::Names,
    Rule::StrictEpochs,
    Rule::MembershipEndsEpoch,
    Rule::Transcript,
    Rule::Listed,
    Rule::HeadsGrow,
    Rule::NeverAgain,
    Rule::RemovalWithGeneration,
    Rule::CertifiedAccounts,
    Rule::Tag,
    Rule::FreshSecret,
    Rule::EpochBeforeWriting,
    Rule::SyntheticNonce,
    Rule::PlaceInAad,
    Rule::ResealOwed,
    Rule::ResealToMembers,
];

/// The rules that hold: all but one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The one that is taken out.
    pub without: Option<Rule>,
}

impl Rules {
    /// Whether this one holds.
    pub fn has(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
