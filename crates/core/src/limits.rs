//! Every limit of the system, each with its reason. One place, so that both machines and PROTOCOL.md agree.

/// The largest integer that JavaScript holds exactly (2^53 - 1): the cap of counters, sequences and sums.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The highest sequence number of an entry: the numbers of a batch that begins there stay below 2^53.
pub const SEQUENCE_MAX: u64 = INTEGER_MAX - BATCH_MESSAGES_MAX as u64;

/// The largest frame either side accepts, in bytes. Browsers have no backpressure on receive, so a frame
/// must be small enough to hold many of in memory; it must still carry one message of the largest size.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The rows of a batch when inflated, in bytes. A compressed batch says their size first, and one that claims more is
/// refused before anything is allocated.
pub const INFLATED_BYTES_MAX: usize = 256 * 1024;

/// The longest text of one message, in bytes of UTF-8. Escaped in the worst way (every byte as `\u00XX`)
/// it still fits a frame beside its clock.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Wallets of a group session. What they say of each other fits a frame: receipts of all, and one entry that names all.
pub const GROUP_MEMBERS_MAX: usize = 256;

/// Wallets that left a group, of which it is known that they were in it: as many as are. Who is forgotten is a stranger.
pub const GROUP_FORMER_MAX: usize = GROUP_MEMBERS_MAX;

/// The longest text of an entry that says who is in a group, in bytes: 256 wallets of 33 bytes each, with the longest name and
/// eight domains, in base64.
pub const GROUP_TEXT_BYTES_MAX: usize = 16 * 1024;

/// The longest text of an epoch, in bytes: that of 256 wallets, in base64.
pub const EPOCH_TEXT_BYTES_MAX: usize = 52 * 1024;

/// The longest encrypted text, in bytes: the longest text with all that is encrypted beside it, padded, in base64. Secrets that are
/// sealed again and asks are as long at most.
pub const SEALED_TEXT_BYTES_MAX: usize = 16 * 1024;

/// The most that is encrypted of one message, in bytes: the longest text and 3 KiB beside it. Padded and in base64 it is no longer than
/// an encrypted text may be.
pub const CONTENT_BYTES_MAX: usize = 11 * 1024 - 1;

/// Wallets of which an encrypted session keeps what its epochs have said: those of a full group, and as many that left.
pub const EPOCH_WALLETS_MAX: usize = GROUP_MEMBERS_MAX + GROUP_FORMER_MAX;

/// Times that a wallet came back into an encrypted group and that are kept of it.
pub const EPOCH_SPANS_MAX: usize = 64;

/// Epochs of a session that are kept because somebody who was in them cannot read them: as many as one entry may have the secrets of.
pub const EPOCHS_UNREAD_MAX: usize = 64;

/// The last epochs of a session are kept also where everybody seems to have their secrets: who was sealed rubbish asks for those of them.
/// At one epoch in 10 minutes ([`UNCAUSED_EPOCH_MS`]) that is what a dishonest member makes in 2 hours and a half. Each takes 230 bytes
/// of the session's record.
pub const EPOCHS_KEPT: u64 = 16;

/// How often the time doubles between what one wallet asks for, and for what it is given: up to 16 minutes.
pub const ASK_DOUBLINGS_MAX: u32 = 5;

/// Members that lack the secrets of those, counted once for each epoch: 40 KiB in the session's record, and four epochs of a full
/// group that nobody else has ever used.
pub const LACKING_WALLETS_MAX: usize = 1_024;

/// Reseals that a device keeps because it has not got the account key that they are sealed to: several devices may have given the same
/// secrets. Each takes 2 KiB at most.
pub const RESEALS_WAITING_MAX: usize = 4;

/// How long another than the author of an epoch waits, by chance, before it gives its secret to who lacks it: where several
/// can, one mostly has by then.
pub const RESEAL_WAIT_MS: u64 = 30_000;

/// Between two epochs that devices of one wallet begin without a cause, by the relay's time.
pub const UNCAUSED_EPOCH_MS: u64 = 10 * 60 * 1_000;

/// Entries behind the beginning of an epoch after which a device begins another before it writes.
pub const EPOCH_ENTRIES: u64 = 1_000;

/// And its age, by the relay's time.
pub const EPOCH_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Entries of a group's log that a device keeps out of what it shows, because they do not count. An honest relay takes none.
pub const UNCOUNTED_MAX: usize = 100;

/// The largest message as it stands in a frame, clock and escapes included: a frame less its own fields.
pub const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX - 2 * 1024;

/// Devices in one session, and so entries in one vector clock: eight of each wallet of a full group.
pub const CLOCK_DEVICES_MAX: usize = 8 * GROUP_MEMBERS_MAX;

/// The longest session, device or message id, in bytes.
pub const ID_BYTES_MAX: usize = 200;

/// The longest content type or platform name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Messages in one batch, whatever `maxBatchSize` asks for.
pub const BATCH_MESSAGES_MAX: usize = 1_000;

/// Messages in one batch where nothing is asked for.
pub const BATCH_MESSAGES_DEFAULT: usize = 100;

/// Messages in one batch where the application says nothing: a batch has one signature of each of its devices, which is checked once,
/// and people still see a long list grow.
pub const BATCH_MESSAGES_ASKED: usize = 500;

/// Pairs in one entry's `also`: what its author knew beside the log. More than seed clients and a few peers have at once.
pub const ALSO_MAX: usize = 64;

/// The extension block of one entry, in bytes: room for what later versions add beside the largest text.
pub const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;

/// Clocks of more devices are left out of frames in which they only inform: two such clocks at every reconnect would be
/// most of what it takes.
pub const INFORMING_CLOCK_DEVICES_MAX: usize = 64;

/// Ids that a device had before and knows as its own: a profile gets another one where it was copied or set back, and few are that so
/// often.
pub const EARLIER_IDS_MAX: usize = 64;

/// Messages waiting in one device's outbox. Beyond it `sendMessage` refuses rather than grow without end.
pub const OUTBOX_MESSAGES_MAX: usize = 10_000;

/// Messages of one session that the relay refused for good and that are kept to be tried again or given up. People see each
/// of them at the end of the list; a program that writes nothing else must not fill the memory.
pub const FAILED_MESSAGES_MAX: usize = 100;

/// Sessions one device keeps. Each costs memory and a frame at every reconnect.
pub const SESSIONS_MAX: usize = 1_000;

/// Sessions in one `session_list`. In JSON, with their ids, wallets and the longest names, they fit a frame.
pub const LISTED_SESSIONS_MAX: usize = 100;

/// Parts of such a list that a device asks for on one connection: of all the sessions that it may keep, of as many invitations, and
/// of as many again that it has ended, declined or blocked. What is older is not told.
pub const SESSION_LISTS_MAX: usize = 3 * SESSIONS_MAX / LISTED_SESSIONS_MAX;

/// Invitations that one device keeps, and the answers to others: anybody may invite, and each is read at every start. An
/// invitation beyond it is told when others are answered; of declined ones the oldest is forgotten.
pub const INVITATIONS_MAX: usize = SESSIONS_MAX;

/// Update batches that a client has under way at once: enough to hide a round trip, few enough to resend. The relay
/// takes what waits in one write to its disk, so more at once are fewer writes.
pub const UPDATES_IN_FLIGHT_MAX: usize = 10;

/// Messages the relay sends a v1 device ahead of its acknowledgement. Memory on the device is bounded by it.
pub const UNACKNOWLEDGED_MESSAGES_MAX: u64 = 1_000;

/// Bytes the relay queues for one socket before it waits for it to drain: what waits stays in the log, and what only
/// informs is said again later or not at all.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 64 * 1024;

/// Bytes queued for one socket that the relay cuts it at: what it has asked for before must be said, and a socket that takes none
/// of that is lost. A thousand sockets that take nothing stay below 256 MB.
pub const SOCKET_QUEUE_BYTES_CUT: usize = SOCKET_QUEUE_BYTES_MAX + FRAME_BYTES_MAX + 16 * 1024;

/// Bytes queued for one socket at which the relay reads nothing more of it: what is read then can still be answered by a frame
/// of the largest size. Serving it from the log goes on below, so that a slow device is heard while it catches up.
pub const SOCKET_QUEUE_BYTES_HEARD: usize = SOCKET_QUEUE_BYTES_CUT - FRAME_BYTES_MAX;

/// How long a socket may take nothing of a full queue before the relay cuts it.
pub const SOCKET_STALL_MS_MAX: u64 = 5_000;

/// Sessions one connection may be attached to: what one device may keep.
pub const ATTACHMENTS_MAX: usize = SESSIONS_MAX;

/// Devices of a session that never wrote, which the relay keeps in memory to list them: as many as may write. The one
/// unseen for the longest time gives way, so nobody is kept from reading.
pub const VISITORS_MAX: usize = CLOCK_DEVICES_MAX;

/// Devices in the clock that the relay keeps of an announcement, to list it: a longer one would be kept for every device.
pub const KEPT_CLOCK_DEVICES_MAX: usize = 16;

/// Requests of one connection in one session that wait to be answered. The SDK has one, and each costs memory while its
/// socket takes nothing.
pub const REQUESTS_WAITING_MAX: usize = 64;

/// Ranges of one request that are answered one by one, each with a read of the journal; what comes after them is answered
/// as one.
pub const RANGES_MAX: usize = 64;

/// Refused messages of one update of a seed client that are named, each in an error frame of its own.
pub const REFUSALS_MAX: usize = 32;

/// What one connection may cost the relay at once, in microseconds of its one thread, as estimated by `relay/budget.rs`:
/// a device of a thousand sessions that comes back, or ten thousand short messages in batches of a hundred.
pub const COST_US_MAX: u64 = 250_000;

/// What a connection may cost in a second in the long run: some 2,500 messages of 200 bytes in batches, which nobody writes for
/// long, and a fortieth of the relay's thread, so that a dozen hostile connections leave most of it to the others. An honest
/// one that has more to say than it may at once is slowed down to it, and loses nothing.
pub const COST_US_PER_SECOND: u64 = 25_000;

/// Messages of one session the relay accepts before they are on disk. Beyond it the sender is told RELAY_BUSY.
pub const UPDATE_QUEUE_MESSAGES_MAX: usize = 4_096;

/// Keys that a relay had before and tells of, in every `hello`: devices that were away for longer than so many are asked.
pub const RELAY_KEYS_MAX: usize = 8;

/// Entries of a log that its holder can look back over without reading it, for the clocks of messages whose authors did
/// not know the newest ones.
pub const RECENT_ENTRIES_MAX: usize = 256;

/// Places in the log of which the journal is asked for vector clocks at once: a batch of messages that all knew different
/// ones. Each may be the clock of as many devices as a session may have.
pub const CLOCK_PLACES_MAX: usize = BATCH_MESSAGES_DEFAULT;

/// Recent entries of a session that the relay keeps in memory, to push and to describe conflicts without a read.
pub const TAIL_ENTRIES_MAX: usize = 256;

/// Versions of one message by one wallet that are kept as rivals: more than devices of a wallet write at once, few enough
/// to compare at every new one.
pub const VERSIONS_MAX: usize = 32;

/// Versions that one reported conflict carries in full; the rest are named by their counters.
pub const CONFLICT_VERSIONS_MAX: usize = 8;

/// Bytes of text that one reported conflict repeats of other messages: a batch of a thousand small messages that did not
/// know of a few long ones must not stand for thousands of copies of those.
pub const CONFLICT_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Wallets whose receipts are kept in one session: those of a full group. In sessions of seed clients any name may be one, and a
/// member could give itself a new one with every receipt.
pub const RECEIPT_WALLETS_MAX: usize = GROUP_MEMBERS_MAX;

/// How long a socket may take to open.
pub const CONNECT_TIMEOUT_MS: u64 = 8_000;

/// How long an answer may take (acknowledgement, batch, heartbeat) before the path counts as dead.
/// A dead path shows no event at all, so this is what finds it.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;

/// How long a peer may be silent before the relay ends its connection: two of its pings went by, whatever TCP believes (F6).
pub const SILENCE_MS_MAX: u64 = 75_000;

/// The longest wait between two attempts to connect or to store.
pub const BACKOFF_MS_MAX: u64 = 60_000;

/// Answers to keyed calls that a device keeps. A tab has at most 64 calls under way and names those that are done with the next
/// one, so that these are the last calls of some thousand tabs.
pub const CALLS_MAX: usize = 4_096;

/// How often a store that is gone may fail to be made anew before the application is told which messages nobody keeps: some ten
/// seconds with the usual waits, in which a browser that has just cleared its storage is ready again.
pub const REBUILD_FAILURES_MAX: u32 = 5;

/// The longest wait between two attempts to make a store anew: calls wait for the next one, and a person for the call.
pub const REBUILD_WAIT_MS_MAX: u64 = 10_000;

/// Tabs that a tab knows of. Nobody has more open of one application; what pretends to must not fill the memory.
pub const TABS_KNOWN_MAX: usize = 256;

/// Calls with effects that a tab has under way at the owner. The engine keeps the answers of so many tabs' calls that none is
/// forgotten before its tab has it.
pub const CALLS_UNDER_WAY_MAX: usize = 64;

/// Answers that an owner keeps in case the call comes again: those of all calls that 16 tabs have under way.
pub const ANSWERS_KEPT_MAX: usize = 16 * CALLS_UNDER_WAY_MAX;

/// Calls of a tab that wait, and calls of others at an owner. They are the application's own memory; what repeats itself
/// without end must be told.
pub const CALLS_WAITING_MAX: usize = 100_000;

/// Domains of one application: its name, those of its tests and stages.
pub const DOMAINS_MAX: usize = 8;

/// The longest domain, in bytes: a host name has 253, and a port comes behind it.
pub const DOMAIN_BYTES_MAX: usize = 253 + 6;

/// The text of a certificate, in bytes: with the longest domain ours takes 850, and a wallet may add some. With all that it is
/// sent in, it must fit a frame of somebody who is not signed in.
pub const CERTIFICATE_BYTES_MAX: usize = 1_536;

/// How long a certificate may wait to be entered in the account log: a device may be offline when its person signs.
pub const OFFER_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The longest wait that a certificate may ask for.
pub const OFFER_MS_MAX: u64 = OFFER_MS + 24 * 60 * 60 * 1_000;

/// How far a certificate's time may be ahead of the relay's: as far as wallets allow.
pub const OFFER_AHEAD_MS_MAX: u64 = 10 * 60 * 1_000;

/// Devices and recovery keys that a wallet has at once in an application: one statement has a seal for each.
pub const ACCOUNT_DEVICES_MAX: usize = 32;

/// Joins, approvals, successions, recovery keys and account keys of an account in a day. Each costs every device that follows it
/// something. What cannot be repeated without end is not counted, and nobody shall keep another from it: a removal takes something
/// away that was added before, an account key where none holds follows a removal, a device says its seal key once, and is approved
/// once.
pub const ACCOUNT_CHANGES_MAX: usize = 20;

/// Of these, so many that no recovery key is listed with. Codes are made without a wallet and without another device, as often as an
/// application asks; whoever lost a device on the same day has another one join and approved, gets it the account's key, and tries again.
pub const ACCOUNT_CHANGES_KEPT: usize = 8;

/// What an application may have asked for of its account at once: each device that there can be is approved and removed. They are done
/// one after the other, each after an answer of the relay.
pub const ACCOUNT_WISHES_MAX: usize = 2 * ACCOUNT_DEVICES_MAX;

/// Successors, recovery keys, and account keys made while another one holds, in the life of an account: half of the devices that its
/// log may name, so that a device that makes them without end leaves room for those that the wallet certifies.
pub const ACCOUNT_UNASKED_MAX: usize = CLOCK_DEVICES_MAX / 2;

/// Commitments of one device that waits to be approved, to another one: each is a try, at one in a million, to have the number of
/// another device that waits. Both store them, so that a page which begins anew makes none; an honest device makes another one only
/// where one of the two has lost what it had stored.
pub const NUMBER_TRIES_MAX: u64 = 8;

/// What a device says to another one about their short number on one connection: an exchange for each of a dozen reconnects of the
/// other one. Who says more is not answered.
pub const NUMBER_FRAMES_MAX: u8 = 64;

/// The largest frame of somebody who has not signed in and must, in bytes: a `sign_in` in JSON with the largest certificate has
/// less, unless the application has many domains of the longest names that there are.
pub const UNSIGNED_FRAME_BYTES_MAX: usize = 4 * 1024;

/// How long a connection may take to sign in where it must.
pub const SIGN_IN_TIMEOUT_MS: u64 = 5_000;

/// How long what a relay says to be signed may be signed.
pub const NONCE_MS: u64 = 60_000;

/// Devices of one account that wait to be signed in, while it is read from the journal or changed.
pub const SIGN_INS_WAITING_MAX: usize = 64;

/// Account logs that one connection may have the journal read at once: what comes of them fits its queue.
pub const ACCOUNT_READS_MAX: usize = 4;

/// Account logs of others that a device asks for at once: it may ask for its own beside.
pub const INQUIRIES_MAX: usize = ACCOUNT_READS_MAX - 1;

/// Devices, recovery keys and account keys of other wallets, those that are listed no longer too, whose account logs a device keeps: six
/// groups of 256 wallets with eight devices, a recovery key and two account keys each, some 8 MiB. Beyond it the account that was needed the longest time ago is forgotten, and asked for again
/// when one of its devices writes.
pub const PEER_DEVICES_MAX: usize = 8 * CLOCK_DEVICES_MAX;

/// How often one connection is told what to sign: once for its account to have moved, and some more for others that are quicker. A
/// connection that never signs in must not stay for ever.
pub const HELLOS_MAX: u64 = 8;

/// Open connections of one wallet that have signed in: one of each device that it may have, and for each one that is lost and of
/// which the relay has not heard yet.
pub const WALLET_CONNECTIONS_MAX: usize = 2 * ACCOUNT_DEVICES_MAX;

/// Sessions that all connections of a wallet together take part in: eight devices that keep as many as they may are more than
/// people have open at once, and a hostile wallet takes some megabytes of the relay's memory with them.
pub const WALLET_ATTACHMENTS_MAX: usize = 8 * SESSIONS_MAX;

/// Sessions that one wallet begins, at once and in an hour. Each stands in the list of the wallet that it is with for ever: more
/// than a person begins, and so few that a list of [`INVITATIONS_MAX`] takes a hostile wallet half a day.
pub const WALLET_CONVERSATIONS_PER_HOUR: u64 = 100;

/// Open connections from one address: those of an office or a dormitory behind one. With nothing of theirs taken they keep
/// 64 MiB of the relay's memory at most.
pub const ADDRESS_CONNECTIONS_MAX: usize = 256;

/// TCP connections from one address beside those: each that has asked for nothing yet is given up after 5 seconds. Who is at the
/// limit must still be told so.
pub const ADDRESS_REQUESTS_MAX: usize = 64;

/// Sessions that all connections from one address together take part in: some 60 for each that it may have.
pub const ADDRESS_ATTACHMENTS_MAX: usize = 16 * SESSIONS_MAX;

/// Devices that are listed from one address, at once and in an hour. Wallets cost nothing to make, and each writes to the disk
/// when its first device is listed.
pub const ADDRESS_DEVICES_PER_HOUR: u64 = 200;

/// Sessions that are begun from one address, at once and in an hour, by whatever wallets.
pub const ADDRESS_CONVERSATIONS_PER_HOUR: u64 = 1_000;
