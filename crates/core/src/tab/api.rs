//! What goes into the machine of a tab, what comes out, and what tabs say to each other.

use crate::client::CallKey;
use crate::error::SyncError;

/// Names one life of one page: random, below 2^53.
pub type TabId = u64;

/// What a tab is told when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TabConfig {
    /// Who it is.
    pub id: TabId,
    /// The version of what tabs say to each other.
    pub protocol: u32,
    /// The oldest version of others that it understands.
    pub speaks: u32,
    /// The browser has Web Locks.
    pub has_locks: bool,
    /// A digest of the options that all tabs of a database must share.
    pub settings: String,
}

/// Something happened. `P` is the body of calls, answers and news, which the machine does not look into.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Input<P> {
    /// The page starts, or comes back. The channel is open.
    Open { visible: bool },
    /// The page is hidden or frozen: all is given up at once. The channel is closed afterwards.
    Close,
    /// The same for good: calls that nobody has run are answered with `SDK_NOT_INITIALIZED`.
    End,
    /// The page is seen, or no longer.
    Visible { visible: bool },
    /// The application of this tab calls. `is_keyed`: it has effects that must not come twice, and is answered soon.
    Call { call: u64, is_keyed: bool, body: P },
    /// Another tab has said something.
    Heard(Message<P>),
    /// The lock was granted.
    Locked,
    /// The lock was stolen from this tab.
    Unlocked,
    /// The engine runs, and the store is claimed under this number. A start that was stopped reports nothing.
    Started { claim: u64 },
    /// It does not. `is_final`: trying again cannot help.
    StartFailed { error: SyncError, is_final: bool },
    /// The engine has answered a call; `None`: nothing of it has happened, and nothing will. Once for every [`Action::Run`].
    Ran { from: TabId, call: u64, result: Option<P> },
    /// The engine cannot write any more, because another tab has claimed the store.
    Fenced,
    /// The engine told news.
    Told(P),
    /// The wallet is logged out in every tab.
    Gone(P),
    /// The moment of [`Tab::next_timeout_ms`](super::Tab::next_timeout_ms) has come.
    Timeout,
}

/// What the shell is asked to do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Action<P> {
    /// Ask for the lock. Answer `Locked` when it is granted.
    Lock,
    /// Take the lock away from the tab that holds it, and withdraw our own request if one waits. Answer `Locked`.
    Steal,
    /// Give the lock back, or withdraw the request for it.
    Unlock,
    /// Start the engine, which claims the store under a number above this one. Answer `Started` or `StartFailed`.
    Start { above: u64 },
    /// Stop it at once. Calls that were not done are answered with `None`; what was committed is answered as it is.
    Stop,
    /// Give the engine a call. Answer `Ran`, also after `Stop`.
    Run { from: TabId, call: u64, key: Option<CallKey>, body: P },
    /// Say something to the other tabs. [`Kind::Owner`] gets the mirror as its body.
    Say(Message<P>),
    /// Answer a call of this tab. Once for each (I30).
    Answer { call: u64, result: Result<P, SyncError> },
    /// All that getters show, in place of what was known.
    Mirror(P),
    /// News of the owner, in order.
    Tell(P),
    /// What this tab is has changed.
    Role(Role),
    /// There is another owner, or news are missing: what is shown is read again.
    Renewed,
    /// The wallet was logged out in another tab.
    Gone(P),
}

/// What a tab is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Role {
    /// No tab owns the store, or this one knows of none.
    Joining,
    /// Another tab owns it.
    Following { claim: u64 },
    /// This tab owns it.
    Owning { claim: u64, follower_count: usize },
    /// The store does not open. Calls wait.
    Blocked,
    /// This tab can take no part.
    Refused { error: SyncError },
}

/// What one tab says to others.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<P> {
    /// The version that the sender speaks.
    pub protocol: u32,
    /// The oldest one that it understands.
    pub speaks: u32,
    /// Who says it.
    pub from: TabId,
    /// To whom; `None` for all.
    pub to: Option<TabId>,
    /// What it is.
    pub kind: Kind,
    /// Of calls, answers, news and the owner's word: the claim that they are about. Else the highest that the sender knows.
    pub claim: u64,
    /// The number of the call or of the news. With [`Kind::Owner`]: of its last news.
    pub number: u64,
    /// Of a call: every call of the sender with a key up to this one is answered.
    pub done_through: u64,
    /// Of a call: it has a key.
    pub is_keyed: bool,
    /// The sender's page is seen.
    pub visible: bool,
    /// Of [`Kind::Hello`] and [`Kind::Owner`]: the options that all tabs must share.
    pub settings: Option<String>,
    /// Of [`Kind::Start`]: why it takes long. Of [`Kind::Answer`]: why the call was not run.
    pub error: Option<SyncError>,
    /// The call, the answer, the news or the mirror.
    pub body: Option<P>,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who owns the store?
    Hello,
    /// The sender does.
    Owner,
    /// The sender is about to.
    Start,
    /// A call for the owner.
    Call,
    /// Its answer.
    Answer,
    /// The owner's news.
    News,
    /// Is anybody there who holds the lock?
    Ping,
    /// The sender is, and its timers run.
    Pong,
    /// The sender is seen, or not; it follows.
    Seen,
    /// The sender is gone.
    Bye,
    /// The sender no longer owns the store, and lives on.
    Free,
    /// The wallet is logged out in every tab.
    Gone,
}

impl Kind {
    /// Every kind with its name in JavaScript.
    pub const NAMES: [(Kind, &str); 12] = [
        (Kind::Hello, "hello"),
        (Kind::Owner, "owner"),
        (Kind::Start, "start"),
        (Kind::Call, "call"),
        (Kind::Answer, "answer"),
        (Kind::News, "news"),
        (Kind::Ping, "ping"),
        (Kind::Pong, "pong"),
        (Kind::Seen, "seen"),
        (Kind::Bye, "bye"),
        (Kind::Free, "free"),
        (Kind::Gone, "gone"),
    ];

    /// The name in JavaScript.
    pub fn as_str(self) -> &'static str {
        Kind::NAMES[self as usize].1
    }

    /// The kind of that name; `None` for one that a newer version has.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}
