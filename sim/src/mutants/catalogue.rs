//! The planted bugs themselves: each with its area, its name, and what it breaks.
//!
//! A bug stands in product code, once, behind `mutant!`. It is one that a good engineer could write, and none that
//! an ordinary test could find, because the plain build does not hold it. No oracle knows of any.

use super::{Area, Mutant};

/// All of them, by name.
pub const CATALOGUE: &[Mutant] = &[
    Mutant {
        area: Area::Upkeep,
        name: "alarm-cleared-for-everybody",
        breaks: "who clears the alarm of one member clears those of all",
    },
    Mutant {
        area: Area::Upkeep,
        name: "alarm-leases-still-granted",
        breaks: "leases are granted while members are said to differ",
    },
    Mutant {
        area: Area::Upkeep,
        name: "alarms-listed-from-behind",
        breaks: "alarms are listed as they stood on a member that may lag behind",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-compares-unchecked",
        breaks: "what a transaction compares need not be readable to the user, who so learns of it",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-inner-transaction-unchecked",
        breaks: "what a transaction within a transaction does is not held against the user's rights",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-lease-judged-by-one-key",
        breaks: "a lease counts as the user's when its first key is, so others' keys end with it",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-nobody-asked-after-a-start",
        breaks: "that clients are asked who they are is forgotten at a restart",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-old-finding-accepted",
        breaks: "a member that lags behind a change of password still lets the old session write",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-previous-value-shown",
        breaks: "a put answers the value before it to a user who may not read the key",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-refused-from-behind",
        breaks: "a member that lags behind refuses what the user may do by now",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-revoked-role-still-reaches",
        breaks: "a user whose last role is taken away keeps what it gave",
    },
    Mutant {
        area: Area::Auth,
        name: "auth-session-outlives-its-password",
        breaks: "a change of password does not end the sessions that the old one opened",
    },
    Mutant {
        area: Area::Comparison,
        name: "checksum-before-the-entry-is-applied",
        breaks: "a member that lags answers what it has so far, so a comparison takes it for one that lacks something",
    },
    Mutant {
        area: Area::Comparison,
        name: "checksum-compared-with-itself",
        breaks: "what peers answer is not looked at, so a member that has parted is never found out",
    },
    Mutant {
        area: Area::Comparison,
        name: "checksums-of-different-compactions",
        breaks: "histories are compared though one member has compacted further, so they seem to differ",
    },
    Mutant {
        area: Area::Comparison,
        name: "checksums-of-different-revisions",
        breaks: "each member answers for the revision that it has come to, so a comparison beside writes finds a difference",
    },
    Mutant {
        area: Area::Compaction,
        name: "compact-refuses-its-own-revision",
        breaks: "a read at exactly the compacted revision is refused, though that revision can still be read",
    },
    Mutant {
        area: Area::Compaction,
        name: "compact-sweeps-under-a-read",
        breaks: "the sweep of a compaction does not spare what a read in steps is still reading, so records \
                 vanish under it",
    },
    Mutant {
        area: Area::Compaction,
        name: "compact-takes-its-own-deletion",
        breaks: "the sweep takes a deletion at the compacted revision along, so a watch from there never hears of \
                 it",
    },
    Mutant {
        area: Area::Comparison,
        name: "compaction-hash-taken-when-asked",
        breaks: "a member hashes its state when it is asked for that of a compaction, so two never agree while anything changes",
    },
    Mutant {
        area: Area::Requests,
        name: "dedupe-last-of-a-run-forgotten",
        breaks: "the last request of a run counts as unseen, so a batch that is sent again applies it twice",
    },
    Mutant {
        area: Area::Requests,
        name: "dedupe-not-loaded",
        breaks: "the table of requests seen is not loaded at start, so a retry across a restart is applied twice",
    },
    Mutant {
        area: Area::Requests,
        name: "dedupe-run-given-up-whole",
        breaks: "when a run of seen requests is cut, what lies above the cut is forgotten too, so a retry is \
                 applied twice",
    },
    Mutant {
        area: Area::Engine,
        name: "defragment-ahead-of-the-log",
        breaks: "a state that is written anew becomes durable before the log entries that it has applied",
    },
    Mutant {
        area: Area::Engine,
        name: "defragment-leaves-out-the-last-changes",
        breaks: "what was applied while the last changes were carried over is missing in the file that takes the live one's place",
    },
    Mutant {
        area: Area::Engine,
        name: "defragment-name-not-durable",
        breaks: "a state that was written anew is used before its name is durable, so a power loss brings back the file before it",
    },
    Mutant {
        area: Area::Membership,
        name: "discover-answered-from-behind",
        breaks: "a newcomer is told the member list of a member that lags, and takes the id of the member before it \
                 at its address",
    },
    Mutant {
        area: Area::Upkeep,
        name: "downgrade-forgotten-at-restart",
        breaks: "a member that restarts forgets that the cluster is prepared for a lower version",
    },
    Mutant {
        area: Area::Upkeep,
        name: "downgrade-judged-from-behind",
        breaks: "whether a lower version is possible is said by a member that may lag behind",
    },
    Mutant {
        area: Area::Upkeep,
        name: "downgrade-prepared-twice",
        breaks: "a lower version is prepared for while one is prepared",
    },
    Mutant {
        area: Area::Turn,
        name: "election-leader-from-behind",
        breaks: "who leads an election is answered by a member that lags behind",
    },
    Mutant {
        area: Area::Turn,
        name: "election-nobody-where-nothing-was-read",
        breaks: "that nobody leads is answered where nobody could be asked in time",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-fed-during-a-flush",
        breaks: "the engine is fed while a flush waits for the log, so it becomes durable ahead of the log",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-flush-ahead-of-wal",
        breaks: "the state engine becomes durable before the log entries it has applied, so a power loss leaves \
                 state that the log does not know",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-header-read-by-halves",
        breaks: "each copy of the engine's header is read with all of its half page, so a bad sector beside a sound copy \
                 is taken for a bad copy",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-not-durable-when-the-log-is-purged",
        breaks: "the log is purged up to a snapshot that is not durable in the engine, so a power loss loses what \
                 was between",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-pages-not-verified-at-start",
        breaks: "a start does not hold the engine's pages against their checksums, so rot is met later, where nobody \
                 can say in which place it stands",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-pages-not-verified-when-read",
        breaks: "what rots while a member runs is taken for content, and written elsewhere with a sound checksum",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-records-forgotten-while-fed",
        breaks: "buffered records are forgotten when the engine takes them, not when it has them, so a read in \
                 between misses them",
    },
    Mutant {
        area: Area::Engine,
        name: "engine-written-before-it-is-verified",
        breaks: "redb writes its header anew before the file is verified, so a start that refuses has made what was \
                 rot in one copy the content of the disk",
    },
    Mutant {
        area: Area::Hash,
        name: "hash-skips-deletions",
        breaks: "deletions are left out of the sum over what is stored, so the state is refused when it is loaded",
    },
    Mutant {
        area: Area::Membership,
        name: "hello-refused-at-a-reused-address",
        breaks: "a newcomer does not say what became of a member that asks for the one before it: a founder whose \
                 disk was lost starts anew and votes twice",
    },
    Mutant {
        area: Area::Image,
        name: "image-behind-what-was-answered",
        breaks: "an image lacks what its member has applied and answered, and not yet given to its engine",
    },
    Mutant {
        area: Area::Image,
        name: "image-forgets-the-compaction",
        breaks: "an image does not say how far its history was compacted",
    },
    Mutant {
        area: Area::Image,
        name: "image-leaves-out-leases",
        breaks: "an image holds keys on leases and none of the leases",
    },
    Mutant {
        area: Area::Repair,
        name: "join-as-one-that-has-run",
        breaks: "who finds its place by its peer URLs takes the id there though that member has run: a lost disk starts as the \
                 member that it was",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-busy-for-ever-after-a-checkpoint",
        breaks: "a lease whose remainder was written down still counts as being written down, so its end is never \
                 proposed",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-checkpoint-not-reset",
        breaks: "a keep-alive of a lease with a checkpointed remainder is answered without clearing it, so the \
                 next leader ends the lease too early",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-deadline-outlives-the-lease",
        breaks: "the leader goes on counting for a lease that was revoked, and renews it for whoever asks",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-expiry-forwarded",
        breaks: "an expiry may be forwarded to another leader, so a deposed one ends leases that its successor \
                 has renewed",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-kept-by-a-put-without-one",
        breaks: "a put without a lease leaves its key attached to the old one, whose end then deletes it",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-keys-end-one-by-one",
        breaks: "the keys of a lease that ends are deleted at a revision each, so they do not vanish together",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-remainder-not-loaded",
        breaks: "the checkpointed remainder is lost at a restart, so members differ in what they know of a lease",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-renewed-while-expiring",
        breaks: "a keep-alive is answered while the lease's expiry is already proposed, so a lease just renewed \
                 dies",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-renewed-without-quorum",
        breaks: "a keep-alive is answered without a quorum round, so a deposed leader renews leases for nothing",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-skipped-at-take-over",
        breaks: "a new leader that takes leases over in steps skips the one between two steps, and calls it gone",
    },
    Mutant {
        area: Area::Lease,
        name: "lease-timer-of-an-earlier-office",
        breaks: "a leader that comes back to office goes on with the deadlines of its last term, and ends leases \
                 renewed since",
    },
    Mutant {
        area: Area::Membership,
        name: "member-removed-id-forgotten",
        breaks: "that an id was removed is not stored, so after a restart a removed member is a stranger again that \
                 nobody sends away",
    },
    Mutant {
        area: Area::Membership,
        name: "member-removed-still-admitted",
        breaks: "members go on talking to one that was removed, so it never learns of it",
    },
    Mutant {
        area: Area::Membership,
        name: "member-seeds-not-asked",
        breaks: "a member that joined and knows nobody does not ask where its options say, so one that was removed \
                 early runs for ever",
    },
    Mutant {
        area: Area::Membership,
        name: "membership-joint-left-unfinished",
        breaks: "a new leader does not finish the joint configuration that it finds, so the old voters are needed for \
                 ever",
    },
    Mutant {
        area: Area::Membership,
        name: "membership-removed-leader-goes-on",
        breaks: "a leader that has removed itself changes the configuration once more before it steps down",
    },
    Mutant {
        area: Area::KeySpace,
        name: "mvcc-limit-before-filter",
        breaks: "a range cuts at its limit before it filters by revision, so it misses keys that it should answer",
    },
    Mutant {
        area: Area::KeySpace,
        name: "mvcc-revision-raised-by-an-empty-delete",
        breaks: "a deletion that deletes nothing raises the revision",
    },
    Mutant {
        area: Area::Turn,
        name: "observe-begins-behind",
        breaks: "an observer's stream begins with whoever led as far as a member knows that lags behind",
    },
    Mutant {
        area: Area::Turn,
        name: "observe-follows-everybody-in-line",
        breaks: "an observer is told of whoever writes a place in the line as of its leader",
    },
    Mutant {
        area: Area::Membership,
        name: "peer-answers-for-another",
        breaks: "a newcomer at the address of a member that was removed answers what is meant for that one, and votes \
                 in its place",
    },
    Mutant {
        area: Area::Quota,
        name: "quota-alarm-forgotten-at-restart",
        breaks: "a member that restarts forgets a raised alarm, and applies what the others refuse",
    },
    Mutant {
        area: Area::Raft,
        name: "raft-leader-stays-unanswered",
        breaks: "a leader that is heard and hears nothing stays in office, and the cluster stands still for ever",
    },
    Mutant {
        area: Area::Raft,
        name: "raft-uncommitted-tail-applied-at-start",
        breaks: "a member applies its whole log when it starts, entries that were never committed included",
    },
    Mutant {
        area: Area::Raft,
        name: "raft-vote-answered-before-sync",
        breaks: "a vote is answered before it is durable, so a member that loses power votes twice in one term",
    },
    Mutant {
        area: Area::Read,
        name: "read-before-applied",
        breaks: "a linearizable read does not wait until its member has applied what it must see",
    },
    Mutant {
        area: Area::Read,
        name: "read-confirmed-by-a-voter-that-moved-on",
        breaks: "a voter that has given its vote to a new candidate still confirms the old leader",
    },
    Mutant {
        area: Area::Read,
        name: "read-index-before-own-term",
        breaks: "a new leader gives out its commit index before its own first entry is committed, which may lag",
    },
    Mutant {
        area: Area::Read,
        name: "read-index-skipped",
        breaks: "linearizable reads are answered without asking a quorum, so a deposed or lagging member serves \
                 the past",
    },
    Mutant {
        area: Area::Read,
        name: "read-joins-a-round-under-way",
        breaks: "a read that arrives while a round is under way shares its outcome, so it may miss a write that \
                 came before it",
    },
    Mutant {
        area: Area::Repair,
        name: "readmission-of-two-at-once",
        breaks: "a member that lost its log is taken back while another that was has no vote yet, so the voters grow fewer by \
                 as many as lose their logs",
    },
    Mutant {
        area: Area::Repair,
        name: "repair-note-passed-over",
        breaks: "a start does not look for the note of a lost log, and starts the member that the note names on an empty one",
    },
    Mutant {
        area: Area::Repair,
        name: "replaced-member-stays-listed",
        breaks: "who is taken back under another id keeps its old id beside it, and both count",
    },
    Mutant {
        area: Area::Replication,
        name: "replication-skips-purged-entries",
        breaks: "replication that asks for purged entries is given later ones, and leaves a hole in the \
                 follower's log",
    },
    Mutant {
        area: Area::Turn,
        name: "resign-of-another-place",
        breaks: "who resigns gives up what stands under its key, though another place was taken there since",
    },
    Mutant {
        area: Area::Snapshot,
        name: "snapshot-answered-before-it-is-durable",
        breaks: "the second copy of a snapshot is answered as installed while the first one is still being put to use, so \
                 the leader counts on entries that a crash takes away",
    },
    Mutant {
        area: Area::Snapshot,
        name: "snapshot-behind-the-log-installed",
        breaks: "a follower installs a snapshot that its log has overtaken, and its record of what was submitted \
                 to the log moves backwards",
    },
    Mutant {
        area: Area::Snapshot,
        name: "snapshot-ends-a-bucket-at-a-full-chunk",
        breaks: "a snapshot goes on to the next bucket when a chunk is just full, and leaves out the rest",
    },
    Mutant {
        area: Area::Snapshot,
        name: "snapshot-misses-leases",
        breaks: "a snapshot leaves the leases out, so its receiver has keys without them",
    },
    Mutant {
        area: Area::Membership,
        name: "snapshot-misses-removed-members",
        breaks: "a snapshot is sent without the ids of members that were removed",
    },
    Mutant {
        area: Area::Engine,
        name: "state-name-taken-for-durable",
        breaks: "a start does not give the state's files their names anew: after a failed sync of the folder the log is \
                 purged by a snapshot that a power loss takes away",
    },
    Mutant {
        area: Area::Replication,
        name: "stream-asks-for-purged-entries-for-ever",
        breaks: "replication that needs purged entries asks again and again instead of sending a snapshot, so a \
                 follower never catches up",
    },
    Mutant {
        area: Area::Replication,
        name: "stream-polled-after-its-call",
        breaks: "a transport goes on polling the requests of a call that has failed, which takes entries for sent \
                 that the next call should send, so a follower lags until the next write",
    },
    Mutant {
        area: Area::Turn,
        name: "turn-after-one-wait",
        breaks: "who waits for a lock takes the place just before its own for the only one",
    },
    Mutant {
        area: Area::Turn,
        name: "turn-lease-ends-early",
        breaks: "a lease that a service makes for its client lives six seconds instead of sixty",
    },
    Mutant {
        area: Area::Turn,
        name: "turn-of-a-place-that-is-gone",
        breaks: "a lock is given without a look at whether the client's own place still stands",
    },
    Mutant {
        area: Area::Txn,
        name: "txn-inner-compares-after-writes",
        breaks: "the compares of an inner transaction see what outer steps have written, instead of the state \
                 before",
    },
    Mutant {
        area: Area::Txn,
        name: "txn-inner-puts-unchecked",
        breaks: "the puts of an inner transaction are not checked, so a key can name a lease that does not exist",
    },
    Mutant {
        area: Area::Txn,
        name: "txn-range-misses-own-writes",
        breaks: "a range within a transaction does not see what the transaction has written",
    },
    Mutant {
        area: Area::Turn,
        name: "unlock-answered-before-it-is-done",
        breaks: "an unlock is answered before its key is deleted",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-ack-before-sync",
        breaks: "log entries are acknowledged before they are synced, so a power loss takes back promises",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-corruption-taken-for-a-torn-tail",
        breaks: "a bad batch is cut although a later one vouches for it, so acknowledged entries are lost in \
                 silence",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-cut-suffix-kept-in-recovery",
        breaks: "entries that a leader had cut off the log come back when it is read at start",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-incarnation-passed-over",
        breaks: "a start that passes over a segment of no use forgets who opened it, so requests get ids that others had",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-no-space-answered-as-done",
        breaks: "a commit that found no space for the next segment is answered as done, so what it held is nowhere",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-proof-of-segment-recycled",
        breaks: "the segment that vouches for an unused newest one is recycled, so a member refuses to start \
                 after a power loss",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-read-error-taken-for-the-end",
        breaks: "a sector of the log that cannot be read is taken for the end of what was written, so what stands \
                 behind it is cut",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-recycles-an-entry-too-many",
        breaks: "a segment is recycled whose last entry is still needed",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-rename-without-folder-sync",
        breaks: "a segment's new name is not made durable, so a power loss takes the whole file",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-reuse-tail-segment",
        breaks: "recovery appends to the segment it found, so an unsynced batch of an earlier life can come back",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-second-header-copy-not-tried",
        breaks: "a segment whose first header copy is damaged is refused, though the second one is sound",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-segment-named-before-it-is-durable",
        breaks: "a segment gets its name before its checkpoint is durable, so a power loss leaves one that cannot \
                 be read",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-torn-tail-taken-for-corruption",
        breaks: "a last batch that a power loss tore is taken for rot, so a member refuses to start",
    },
    Mutant {
        area: Area::Wal,
        name: "wal-vote-lost-at-recycle",
        breaks: "a new segment's checkpoint carries an old vote, so a member votes twice in one term",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-compacted-scan-delivered",
        breaks: "what a scan found is delivered though a compaction swept history away under it",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-drop-event-at-catch-up",
        breaks: "a watcher that catches up from history misses an event when it turns live",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-event-lost-when-unsynced",
        breaks: "a watcher whose stream is full remembers the last of the events it was refused, and misses those \
                 before",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-future-start-gets-earlier-events",
        breaks: "a watch from a future revision is given all of a set of events that begins before it",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-gap-at-compaction",
        breaks: "a watcher that falls behind a compaction goes on behind it, instead of being told",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-gap-at-snapshot",
        breaks: "a watcher that was up to date misses what an installed snapshot passes over",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-last-piece-promises-more",
        breaks: "the last piece of a response that is too large says that more follow, so a client waits for them with \
                 what it has",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-only-one-stream-woken",
        breaks: "of the streams that were given something at once only the first is woken to send it",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-pieces-taken-for-wholes",
        breaks: "the pieces of a response that is too large do not say that more follow, so a client takes part of a \
                 revision for all of it",
    },
    Mutant {
        area: Area::Watch,
        name: "watch-progress-of-an-unsynced-watcher",
        breaks: "a watcher that has yet to catch up is told that it has",
    },
];
