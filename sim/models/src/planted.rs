//! The planted bugs: what each model can be told to do wrong, to prove that it would be noticed.
//!
//! They are parameters of the models, which play the part of the product around the pure code (who waits for a
//! quorum, which revision a client resumes at). The pure code itself stays as it is.

use std::fmt;

/// Every planted bug, and which rule it breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Planted {
    /// No bug.
    #[default]
    Nothing,
    /// Lease: a keep-alive is acknowledged without a quorum round.
    RenewedWithoutQuorum,
    /// Lease: a keep-alive is acknowledged before the checkpoint is cleared.
    CheckpointNotReset,
    /// Lease: a deposed leader's expiry is appended all the same.
    ExpiryOfDeposedLeader,
    /// Lease: a keep-alive is acknowledged while expiry is proposed.
    RenewedWhileExpiring,
    /// Lease: a new leader counts from the grant and not from its own election.
    CountedFromGrant,
    /// Lease: the leader's table is not told that a lease has ended.
    EndNotNoted,
    /// Lease: a member that is out of office answers a keep-alive from its table.
    AnsweredOutOfOffice,
    /// Watch: a client resumes at the last revision that it has.
    ResumedAtLast,
    /// Watch: a client resumes behind the header's revision of the last response.
    ResumedAtHeader,
    /// Watch: a client goes on at the compacted revision and does not say so.
    CancelSwallowed,
    /// Watch: the compaction cancel does not reach the client.
    CancelLost,
    /// Read index: the leader answers without asking anybody.
    RoundSkipped,
    /// Read index: a leader answers before it has committed in its own term.
    OwnTermNotAwaited,
    /// Read index: a reader joins a round that is under way.
    RoundJoinedLate,
    /// Read index: answers to an earlier round count.
    OldAnswersCounted,
    /// Read index: a leader calls committed what it alone holds.
    CommittedAlone,
    /// Dedupe, linearizability: a retry takes a new sequence.
    RetriedUnderNewId,
    /// Dedupe: a snapshot leaves out the request ids.
    SnapshotWithoutDedupe,
    /// Dedupe: a restarted sender keeps its incarnation.
    IncarnationNotRaised,
    /// Dedupe: a sender forgets a request that is not answered yet.
    ForgottenTooEarly,
    /// Snapshot: it leaves out the leases.
    SnapshotWithoutLeases,
    /// Snapshot: the log goes on one entry too early.
    EntryAppliedAgain,
    /// Snapshot: the last byte of the stream is not sent.
    SnapshotCutShort,
    /// Learner: a new member votes from the moment it is added.
    PromotedAtOnce,
    /// Learner: the acknowledgement of a learner counts.
    LearnerCounted,
    /// Learner: the new voters come into force without the step in between.
    JointSkipped,
    /// Learner: a joint configuration is left to the leader that began it.
    JointLeftUnfinished,
    /// Lock: the watch on the predecessor starts now and not after the look at it.
    WatchedFromNow,
    /// Lock: whoever sees any key of the lock deleted takes it.
    AnyDeletionWakes,
    /// Lock: the guard is read first and the write sent afterwards.
    GuardReadFirst,
    /// Linearizability: a read is answered from local state at once.
    ReadWithoutIndex,
    /// Linearizability: a write is answered when it is appended.
    AnsweredBeforeCommit,
    /// Pinned reads: the sweep is not told of the pin, nor the reader of the sweep.
    PinIgnored,
    /// Pinned reads: each step of a walk is at the newest revision and not at the read's.
    WalkedAtNewest,
    /// Pinned reads: nobody tells the sweep that the pin is gone.
    SweepNotResumed,
    /// Transactions: nested compares see what the transaction has written.
    ComparedAfterWrite,
    /// Transactions: a put over a living key creates it anew.
    PutCreatesAnew,
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self);
        f.write_str(value.as_ref().map_or("nothing", |value| value.get_name()))
    }
}
