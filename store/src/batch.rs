//! All kinds of write requests, and how waiting requests are merged.
//!
//! Each operation takes a list and returns a list of the same length. So the requests of many callers become
//! one list, one or two statements, and one transaction for all kinds together.

use super::{
    batches, drains,
    error::StoreError,
    exclusive_names::{self, NameRelease},
    leases, logouts,
    model::{
        AttemptProgress, CancelOutcome, ChunkOutcome, ClaimedQueue, Fence, FinishOutcome,
        FinishedAttempt, LeaseLost, NameChangeOutcome, NameClaim, NameClaimOutcome, NewSnapshot,
        NewStoredEntry, RetryOutcome, ScheduleChange, ScheduleOutcome, StartedAttempt,
        StoredLogout, StoredRetention, StoredRevocation, StoredTaskId, StoredVisitor, SweepResult,
        TaskClaim,
    },
    peers, revocations, schedules, snapshots,
    sql::SqlResult,
    static_names::{self, StoredNameChange},
    tasks::{
        claim, control, finish, purge, submit,
        sweep::{self, SweepRequest},
    },
    topics,
    transaction::Transaction,
    transfer, visitors,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The inputs of all requests of one kind, and the callers that wait for the answers.
#[derive(Debug)]
pub(super) struct MergedRequests<I, O> {
    inputs: Vec<I>,
    callers: Vec<(usize, Reply<O>)>,
    outputs: Vec<O>,
}

pub(super) type Reply<O> = oneshot::Sender<Result<Vec<O>, StoreError>>;

impl<I, O> Default for MergedRequests<I, O> {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            callers: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

impl<I, O> MergedRequests<I, O> {
    pub(super) fn push(&mut self, mut inputs: Vec<I>, reply: Reply<O>) {
        self.callers.push((inputs.len(), reply));
        self.inputs.append(&mut inputs);
    }

    fn succeed(self) {
        let mut outputs = self.outputs.into_iter();
        for (count, reply) in self.callers {
            // If the caller is gone, the write still counts.
            let _ = reply.send(Ok(outputs.by_ref().take(count).collect()));
        }
    }

    fn fail(self, error: &StoreError) {
        for (_, reply) in self.callers {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

macro_rules! operations {
    ($($(#[$about:meta])* $kind:ident $field:ident: $input:ty => $output:ty, $run:path, $lane:expr, $durable:expr;)*) => {
        /// The write request of one caller.
        #[derive(Debug)]
        pub(super) enum Request {
            $($(#[$about])* $kind(Vec<$input>, Reply<$output>),)*
        }

        impl Request {
            /// The class that writes it, where classes write in parallel.
            pub(super) fn lane(&self) -> WriteClass {
                match self {
                    $(Self::$kind(..) => $lane,)*
                }
            }

            /// The number of inputs of the request.
            fn inputs(&self) -> usize {
                match self {
                    $(Self::$kind(inputs, _) => inputs.len(),)*
                }
            }
        }

        /// The requests that one transaction writes.
        #[derive(Debug, Default)]
        pub(super) struct Batch {
            $($field: MergedRequests<$input, $output>,)*
            count: usize,
            durable: bool,
            permits: Vec<OwnedSemaphorePermit>,
            turns: Vec<OwnedSemaphorePermit>,
        }

        impl Batch {
            pub(super) fn push(&mut self, queued: QueuedRequest) {
                self.count += queued.request.count();
                self.permits.extend(queued.permit);
                self.turns.extend(queued.turn);
                match queued.request {
                    $(Request::$kind(inputs, reply) => {
                        self.durable |= $durable;
                        self.$field.push(inputs, reply);
                    })*
                }
            }

            /// Runs all of it, in the order of the table below.
            pub(super) async fn run(&mut self, transaction: &mut Transaction<'_>) -> SqlResult<()> {
                super::clock_steps::notice(transaction).await?;
                $(if !self.$field.inputs.is_empty() {
                    self.$field.outputs = $run(transaction, &self.$field.inputs).await?;
                })*
                Ok(())
            }

            /// Answers every caller.
            pub(super) fn answer(self, outcome: Result<(), StoreError>) {
                match outcome {
                    Ok(()) => { $(self.$field.succeed();)* }
                    Err(error) => { $(self.$field.fail(&error);)* }
                }
            }
        }
    };
}

operations! {
    /// New tasks.
    Submit submit: submit::IdentifiedTask => submit::SubmitResponse, submit::submit, WriteClass::Submit, true;
    /// New chunks of batches.
    SubmitChunk submit_chunk: batches::IdentifiedChunk => ChunkOutcome, batches::submit, WriteClass::Submit, true;
    /// New entries of topics.
    Append append: NewStoredEntry => i64, topics::append, WriteClass::Append, true;
    /// The workers of attempts. If this is lost, an attempt ends without the name of its worker.
    Started started: StartedAttempt => bool, control::started, WriteClass::Claim, false;
    /// Progress of attempts. If this is lost, a later report follows.
    Progress progress: AttemptProgress => bool, control::progress, WriteClass::Claim, false;
    /// The ends of attempts.
    Finish finish: FinishedAttempt => FinishOutcome, finish::finish, WriteClass::Finish, true;
    /// Cancellations.
    Cancel cancel: StoredTaskId => CancelOutcome, control::cancel, WriteClass::Other, true;
    /// Cancellations of batches, a chunk at a time.
    CancelChunk cancel_chunk: batches::ChunkPosition => Option<i64>, batches::cancel_chunk, WriteClass::Other, true;
    /// Retries by hand.
    Retry retry: control::RetryRequest => RetryOutcome, control::retry, WriteClass::Other, true;
    /// Renewals of leases, before the check for leases that are over. If this is lost, the lease ends sooner.
    Renew renew: Fence => bool, leases::renew, WriteClass::Lease, false;
    /// Delays, deadlines, and owners that are gone. If this is lost, it is done again.
    Sweep sweep: SweepRequest => SweepResult, sweep::sweep, WriteClass::Claim, false;
    /// Claims. If one is lost, the task is queued, and the end of the lost attempt is not accepted.
    Claim claim: TaskClaim => Result<Vec<ClaimedQueue>, LeaseLost>, claim::claim, WriteClass::Claim, false;
    /// Old tasks to delete.
    Purge purge: i64 => u64, purge::purge, WriteClass::Other, false;
    /// New leases.
    Lease lease: i64 => Fence, leases::begin, WriteClass::Lease, true;
    /// Leases that their owners release.
    Release release: Fence => (), leases::release, WriteClass::Lease, true;
    /// Exclusive names that a name server releases.
    LeaveNames leave_names: NameRelease => (), exclusive_names::release, WriteClass::Lease, true;
    /// Claims of exclusive names.
    ClaimNames claim_names: NameClaim => NameClaimOutcome, exclusive_names::claim, WriteClass::Lease, true;
    /// Changes of static names.
    Names names: StoredNameChange => NameChangeOutcome, static_names::change, WriteClass::Other, true;
    /// Changes of schedules, and the tasks that they submit.
    Schedules schedules: ScheduleChange => ScheduleOutcome, schedules::change, WriteClass::Other, true;
    /// Retention of topics.
    Configure configure: (String, StoredRetention) => (), topics::configure, WriteClass::Other, true;
    /// Old keys of entries to delete.
    ForgetKeys forget_keys: i64 => u64, topics::forget_keys, WriteClass::Other, false;
    /// Topics to trim.
    Trim trim: (String, StoredRetention) => u64, topics::trim, WriteClass::Append, false;
    /// Topics to remove.
    RemoveTopic remove_topic: String => bool, topics::remove, WriteClass::Append, true;
    /// Revocations of users.
    Revoke revoke: StoredRevocation => (), revocations::revoke, WriteClass::Other, true;
    /// Sessions of people that end before their time.
    LogOut log_out: StoredLogout => (), logouts::add, WriteClass::Other, true;
    /// Heartbeats and removals of name servers. If this is lost, it is sent again.
    Peers peers: peers::PeerChange => Option<i64>, peers::change, WriteClass::Other, false;
    /// Workers that get no new calls.
    Drain drain: String => (), drains::add, WriteClass::Other, true;
    /// Who was here. If this is lost, it is seen again, or was seen a little earlier.
    Visitors visitors: StoredVisitor => (), visitors::see, WriteClass::Other, false;
    /// What name servers keep beyond their lives. If this is lost, it is written again.
    Snapshots snapshots: NewSnapshot => bool, snapshots::save, WriteClass::Other, false;
    /// Records that another store exported.
    Import import: transfer::ExportRecord => (), transfer::import, WriteClass::Other, true;
}

/// Where several transactions can run at once, each class has its own. They wait for the disk at the same
/// time, and seldom for each other's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteClass {
    Submit,
    Claim,
    Finish,
    Append,
    Lease,
    Other,
}

impl WriteClass {
    pub(super) const ALL: [Self; 6] = [
        Self::Submit,
        Self::Claim,
        Self::Finish,
        Self::Append,
        Self::Lease,
        Self::Other,
    ];

    /// How many of its transactions can run at once. With two, the requests that arrive while one transaction
    /// waits for the disk need not wait for it too. The rows of topics are locked until the commit, and
    /// claims and leases are not durable or rare: for these, a second transaction would only wait for the
    /// first.
    pub(super) fn writers(self) -> usize {
        match self {
            Self::Submit | Self::Finish => 2,
            Self::Claim | Self::Append | Self::Lease | Self::Other => 1,
        }
    }
}

impl Request {
    /// About how many rows the request writes.
    fn count(&self) -> usize {
        self.chunk_tasks().unwrap_or_else(|| self.inputs())
    }

    /// How many tasks the chunks of a request about batches have; `None` for other requests. A chunk to cancel is not
    /// known yet, so it counts as a usual one.
    pub(super) fn chunk_tasks(&self) -> Option<usize> {
        match self {
            Self::SubmitChunk(chunks, _) => Some(chunks.iter().map(|one| one.tasks.len()).sum()),
            Self::CancelChunk(positions, _) => Some(positions.len() * FULL),
            _ => None,
        }
    }
}

/// A batch with this many rows is not added to: a larger one would delay the first caller by more than the others gain.
const FULL: usize = 1000;

/// How many tasks of chunks wait for their transactions at most. Further chunks wait outside of the queue, so that other
/// requests, such as the renewals of leases, are behind a few chunks and not behind all of them.
pub(super) const MAX_WAITING_CHUNK_TASKS: u32 = 4 * FULL as u32;

/// How many bytes all waiting requests hold at most.
pub(super) const MAX_WAITING_BYTES: usize = 256 << 20;

/// Permits count kibibytes, because a semaphore holds at most 2³² permits.
pub(super) const fn permits_for(bytes: usize) -> u32 {
    let permits = bytes.div_ceil(1024);
    if permits == 0 {
        return 1;
    }
    if permits > MAX_WAITING_BYTES / 1024 {
        return (MAX_WAITING_BYTES / 1024) as u32;
    }
    permits as u32
}

/// A request in a queue.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub(super) request: Request,
    /// Its share of the memory limit of all waiting requests. Leases need none: they are small and must not be late.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Its share of the tasks of waiting chunks.
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// Whether the batch must be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        /// In units of permits.
        const LARGEST: usize = permits_for(16 << 20) as usize;
        let size: usize = self.permits.iter().map(|permit| permit.num_permits()).sum();
        self.count >= FULL || size >= LARGEST
    }

    /// About how many rows the batch writes.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether callers are answered only once the commit is on disk.
    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }
}

#[cfg(test)]
mod tests {
    use super::{batches::ChunkPosition, *};
    use crate::model::StoredBatchId;

    #[test]
    fn a_transaction_cancels_one_chunk_and_not_a_thousand() {
        let position = ChunkPosition {
            batch: StoredBatchId::new([7; 16]),
            after: -1,
        };
        let mut batch = Batch::default();
        for request in [
            Request::Purge(vec![0], oneshot::channel().0),
            Request::CancelChunk(vec![position], oneshot::channel().0),
        ] {
            assert!(!batch.is_full());
            batch.push(QueuedRequest {
                request,
                permit: None,
                turn: None,
            });
        }
        assert!(batch.is_full());
    }
}
