//! Tasks and leases.

use super::{Store, check_name, clean_message};
use crate::{
    batch::Request,
    error::StoreError,
    exclusive_names::{self, NameRelease},
    model::{
        Allowance, AttemptEnding, AttemptKey, AttemptProgress, CancelOutcome, ClaimedQueue,
        ClaimedTask, Fence, FinishOutcome, FinishedAttempt, LeaseLost, NameClaim, NameClaimOutcome,
        NewStoredTask, RetryOutcome, StartedAttempt, StoredTask, StoredTaskFilter, StoredTaskId,
        StoredTaskPage, SubmissionOutcome, SubmittedTask, SweepResult, TaskClaim, TaskCounts,
        TaskResult, TaskUsage,
    },
    tasks::{
        control::RetryRequest,
        millis, query,
        submit::{IdentifiedTask, SubmitResponse},
        sweep::SweepRequest,
        usage,
    },
};
use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};
use tokio::time::timeout;

impl Store {
    /// Adds tasks: all of them, or none if the key of one was used for another call; the results tell which.
    /// When this returns, the tasks are on disk.
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies above the limits; then no task is added.
    pub async fn submit(
        &self,
        tasks: Vec<NewStoredTask>,
    ) -> Result<Vec<SubmittedTask>, StoreError> {
        let tasks = tasks.into_iter().map(|task| (task, None)).collect();
        let answers = self.submit_and_claim(tasks).await?;
        Ok(answers
            .into_iter()
            .map(|(submitted, _)| submitted)
            .collect())
    }

    /// Adds tasks. The owner of a lease claims some of them at once, as if they had been queued and claimed.
    /// If the lease has ended, they are queued. A task that is delayed or not new is not claimed.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_and_claim(
        &self,
        tasks: Vec<(NewStoredTask, Option<Fence>)>,
    ) -> Result<Vec<(SubmittedTask, Option<ClaimedTask>)>, StoreError> {
        self.submit_with_allowance(tasks, Allowance::UNLIMITED)
            .await
    }

    /// As [`submit_and_claim`](Self::submit_and_claim), for one submitter, within an allowance. If it does
    /// not cover all tasks, none is added. Name servers that submit at the same moment do not see each
    /// other's tasks, and may exceed the allowance by these.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_with_allowance(
        &self,
        tasks: Vec<(NewStoredTask, Option<Fence>)>,
        allowance: Allowance,
    ) -> Result<Vec<(SubmittedTask, Option<ClaimedTask>)>, StoreError> {
        let mut bytes = 0;
        for (task, _) in &tasks {
            bytes += self.check_task(task)?;
        }
        let lot = rand::random();
        let named = |(task, owner)| IdentifiedTask {
            id: StoredTaskId::generate(),
            batch: lot,
            task,
            owner,
            allowance,
        };
        let named: Vec<IdentifiedTask> = tasks.into_iter().map(named).collect();
        let opened = named
            .iter()
            .map(|named| (named.id, Arc::from(&*named.task.submitter)));
        self.0.waiters.open(opened);
        let ids: Vec<StoredTaskId> = named.iter().map(|named| named.id).collect();
        let submitted = self.0.writer.write(bytes, Request::Submit, named).await;
        match &submitted {
            Ok(submitted) => {
                let is_new = |(one, _): &SubmitResponse| one.submission == SubmissionOutcome::New;
                let others = ids.iter().zip(submitted);
                let others = others.filter(|(_, answer)| !is_new(answer));
                self.0.waiters.forget(others.map(|(id, _)| *id));
            }
            Err(_) => self.0.waiters.forget(ids),
        }
        submitted
    }

    /// Checks a task as [`submit`](Self::submit) does. Returns about how many bytes it takes.
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies above the limits.
    pub fn check_task(&self, task: &NewStoredTask) -> Result<usize, StoreError> {
        check_name("the name of an object", &task.object)?;
        check_name("the name of a method", &task.method)?;
        self.check_submitter(&task.submitter)?;
        check_name("the name of a worker", task.worker.as_deref().unwrap_or(""))?;
        check_name(
            "an idempotency key",
            task.idempotency_key.as_deref().unwrap_or(""),
        )?;
        self.check_body("a task's arguments", &task.arguments)?;
        if task.max_attempts == 0 {
            let why = "a task needs at least one attempt".to_owned();
            return Err(StoreError::Invalid(why));
        }
        Ok(task.arguments.len() + 200)
    }

    pub(super) fn check_submitter(&self, submitter: &str) -> Result<(), StoreError> {
        check_name("the name of a submitter", submitter)?;
        match submitter == usage::ALL_SUBMITTERS {
            true => Err(StoreError::Invalid(
                "no submitter can have the name '*'".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// The submitter of a task, if this process submitted it recently and does not know that it has ended. It
    /// is asked for most often, so it needs no query.
    pub fn submitter_of_open(&self, id: StoredTaskId) -> Option<Arc<str>> {
        self.0.waiters.submitter_of_open(id)
    }

    /// Claims queued tasks: for each queue up to its limit. [`URGENT`](crate::URGENT) tasks go first. Of the
    /// others, submitters take turns whatever the priority; of each submitter, tasks of the highest priority
    /// go first, and of these the oldest. The tasks belong to the owner until they are finished or its lease
    /// ends.
    ///
    /// A claim does not wait for the disk. If it is lost, the tasks are queued, and results under that claim
    /// are not accepted.
    pub async fn claim(
        &self,
        claim: TaskClaim,
    ) -> Result<Result<Vec<ClaimedQueue>, LeaseLost>, StoreError> {
        let claimed = self.write_one(Request::Claim, claim).await?;
        let tasks = claimed.iter().flatten().flat_map(|queue| &queue.tasks);
        self.0.waiters.notify_changed(tasks.map(|task| task.id));
        Ok(claimed)
    }

    /// Records the workers of attempts. Returns for each whether the attempt still counts. Does not wait for
    /// the disk.
    pub async fn started(&self, started: Vec<StartedAttempt>) -> Result<Vec<bool>, StoreError> {
        for started in &started {
            check_name("the name of a worker", &started.worker)?;
        }
        let ids = ids(&started, |started| started.running);
        let counts = self.0.writer.write(0, Request::Started, started).await;
        self.changed(ids, counts)
    }

    /// Records the progress of attempts. Returns for each whether the attempt still counts. Does not wait for
    /// the disk.
    pub async fn progress(
        &self,
        mut progress: Vec<AttemptProgress>,
    ) -> Result<Vec<bool>, StoreError> {
        for progress in &mut progress {
            progress.note.as_mut().map(clean_message);
            progress.fraction = progress.fraction.filter(|fraction| fraction.is_finite());
        }
        let ids = ids(&progress, |progress| progress.running);
        let counts = self.0.writer.write(0, Request::Progress, progress).await;
        self.changed(ids, counts)
    }

    /// Ends attempts. The next state of each task depends on how the attempt ended and on how many attempts
    /// are left. A task has at most one accepted result.
    ///
    /// # Errors
    ///
    /// `Invalid` for results above the limit; then none of the ends is written.
    pub async fn finish(
        &self,
        mut finishes: Vec<FinishedAttempt>,
    ) -> Result<Vec<FinishOutcome>, StoreError> {
        let mut bytes = 0;
        for finish in &mut finishes {
            check_name(
                "the name of a worker",
                finish.worker.as_deref().unwrap_or(""),
            )?;
            match &mut finish.ending {
                AttemptEnding::Succeeded { result } => {
                    self.check_body("a result", result)?;
                    bytes += result.len();
                }
                AttemptEnding::Failed { error, value, .. } => {
                    clean_message(error);
                    let value = value.as_deref().unwrap_or_default();
                    self.check_body("an error", value)?;
                    bytes += value.len();
                }
                AttemptEnding::Lost { reason }
                | AttemptEnding::Silent { reason }
                | AttemptEnding::Refused { reason }
                | AttemptEnding::Denied { reason } => clean_message(reason),
                AttemptEnding::DeadlineExceeded => {}
            }
            bytes += 200;
        }
        let ids = ids(&finishes, |finish| finish.running);
        let outcomes = self.0.writer.write(bytes, Request::Finish, finishes).await;
        self.changed(ids, outcomes)
    }

    /// Cancels tasks, running ones too: no result of them is accepted from now on. Their owners learn it from
    /// [`superseded`](Self::superseded).
    pub async fn cancel(&self, ids: Vec<StoredTaskId>) -> Result<Vec<CancelOutcome>, StoreError> {
        self.0.writer.write(0, Request::Cancel, ids).await
    }

    /// Queues failed and cancelled tasks again, with as many attempts as at first and no deadline.
    pub async fn retry(&self, ids: Vec<StoredTaskId>) -> Result<Vec<RetryOutcome>, StoreError> {
        self.retry_with_allowance(ids, Allowance::UNLIMITED).await
    }

    /// As [`retry`](Self::retry), within an allowance for each submitter.
    pub async fn retry_with_allowance(
        &self,
        ids: Vec<StoredTaskId>,
        allowance: Allowance,
    ) -> Result<Vec<RetryOutcome>, StoreError> {
        let asked = ids.into_iter().map(|id| RetryRequest { id, allowance });
        let asked = asked.collect();
        self.0.writer.write(0, Request::Retry, asked).await
    }

    /// The usage of a submitter, and that of all submitters together.
    pub async fn usage(&self, submitter: &str) -> Result<(TaskUsage, TaskUsage), StoreError> {
        let mut reader = self.0.backend.reader().await?;
        let names = BTreeSet::from([submitter, usage::ALL_SUBMITTERS]);
        let found = usage::read(&mut reader.sql(), &names).await?;
        let of = |name| found.get(name).copied().unwrap_or_default();
        Ok((of(submitter), of(usage::ALL_SUBMITTERS)))
    }

    /// Applies the passing of time: delayed tasks become due, deadlines pass, and leases that were not
    /// renewed end, with everything that was held under them. Any name server may call this at any time. At
    /// least one must, as often as it should take effect, and twice a second so that leases are watched.
    pub async fn sweep(&self) -> Result<SweepResult, StoreError> {
        let swept = self.write_one(Request::Sweep, SweepRequest { rescue: true });
        let swept = swept.await;
        swept.inspect_err(|_| self.0.backend.time().reset_lease_watch())
    }

    /// As [`sweep`](Self::sweep), but ends no lease and takes no task from its owner: for a name server whose
    /// own lease is in doubt.
    pub async fn sweep_without_rescue(&self) -> Result<SweepResult, StoreError> {
        self.write_one(Request::Sweep, SweepRequest { rescue: false })
            .await
    }

    /// Deletes some of the tasks that ended longer than `age` ago. Returns their number; there may be more
    /// until it is 0.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        self.write_one(Request::Purge, millis(age)).await
    }

    /// One task with everything that is stored about it, or `None`.
    pub async fn task(&self, id: StoredTaskId) -> Result<Option<StoredTask>, StoreError> {
        read!(self, query::task, id)
    }

    /// One task without its arguments, its result and all attempts but the last, or `None`.
    pub async fn task_summary(&self, id: StoredTaskId) -> Result<Option<StoredTask>, StoreError> {
        read!(self, query::task_summary, id)
    }

    /// The sizes of a task's arguments and result in bytes. Neither is read.
    pub async fn task_sizes(&self, id: StoredTaskId) -> Result<Option<(usize, usize)>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        let sizes = query::task_sizes(&mut reader.sql(), id).await?;
        let size = |bytes| usize::try_from(bytes).unwrap_or(0);
        Ok(sizes.map(|(arguments, result)| (size(arguments), size(result))))
    }

    /// The first two tasks of a range of ids. If there is only one, the range is unambiguous.
    pub async fn first_two(
        &self,
        ids: &RangeInclusive<StoredTaskId>,
    ) -> Result<Vec<StoredTaskId>, StoreError> {
        read!(self, query::first_two, ids)
    }

    /// Tasks, newest first, without arguments and results. Scans the next 10,000 tasks.
    pub async fn tasks(
        &self,
        filter: &StoredTaskFilter,
        limit: u32,
    ) -> Result<Vec<StoredTask>, StoreError> {
        Ok(self.tasks_page(filter, limit).await?.tasks)
    }

    /// As [`tasks`](Self::tasks), and where the next page begins.
    pub async fn tasks_page(
        &self,
        filter: &StoredTaskFilter,
        limit: u32,
    ) -> Result<StoredTaskPage, StoreError> {
        read!(self, query::tasks, filter, limit)
    }

    /// The number of tasks in each state. It counts all tasks.
    pub async fn counts(&self) -> Result<TaskCounts, StoreError> {
        read!(self, query::counts)
    }

    /// The objects for which tasks are queued.
    pub async fn queued_objects(&self) -> Result<Vec<String>, StoreError> {
        let queued = self.queued().await?;
        let mut objects: Vec<String> = queued.into_iter().map(|(object, _)| object).collect();
        objects.dedup();
        Ok(objects)
    }

    /// The objects for which tasks are queued, each with the one worker that may run them, or `None` if any
    /// worker may.
    pub async fn queued(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        read!(self, query::queued)
    }

    /// The attempts among these that no longer count, because the task was cancelled or has another owner.
    pub async fn superseded(&self, running: &[AttemptKey]) -> Result<Vec<AttemptKey>, StoreError> {
        read!(self, query::superseded, running)
    }

    /// The running attempts of an owner, whether or not it knows of them.
    pub async fn attempts_of_owner(&self, owner: Fence) -> Result<Vec<AttemptKey>, StoreError> {
        read!(self, query::attempts_of_owner, owner)
    }

    /// The results of those of these tasks that have ended, without large results.
    pub async fn small_task_results(
        &self,
        ids: &[StoredTaskId],
    ) -> Result<Vec<TaskResult>, StoreError> {
        read!(self, query::small_task_results, ids)
    }

    /// The results of those of these tasks that have ended.
    pub async fn task_results(&self, ids: &[StoredTaskId]) -> Result<Vec<TaskResult>, StoreError> {
        read!(self, query::task_results, ids)
    }

    /// Waits for the end of a task, wherever it ends; `None` if that takes longer than `at_most`. A large
    /// result is left out. An id that no task has is waited for too.
    pub async fn wait(&self, id: StoredTaskId, at_most: Duration) -> Option<TaskResult> {
        let ended = self.0.waiters.task(id);
        timeout(at_most, ended).await.ok()?.ok()
    }

    /// Resolves at the next change of a task that this process writes: that it runs, where, its progress, its
    /// end. Also returns how many tasks are waited for in this way. Read the task after this call.
    pub fn next_change(&self, id: StoredTaskId) -> (impl Future<Output = ()> + use<>, usize) {
        let (told, count) = self.0.waiters.change(id);
        // The sender is not dropped before the receiver, unless the store is.
        let told = async { drop(told.await) };
        (told, count)
    }

    /// Tells those that wait for changes of tasks, if the tasks were written.
    fn changed<T>(
        &self,
        ids: Vec<StoredTaskId>,
        written: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        written.inspect(|_| self.0.waiters.notify_changed(ids))
    }

    /// Begins a lease. Everything that is done under it carries its fence. It lasts as long as it is renewed
    /// more often than every `ttl`, as observed by the other name servers that sweep.
    pub async fn lease(&self, ttl: Duration) -> Result<Fence, StoreError> {
        self.write_one(Request::Lease, millis(ttl)).await
    }

    /// Renews a lease. Returns whether it still existed: the other name servers may have noticed its end
    /// late, and then nothing was taken over. Does not wait for the disk.
    pub async fn renew(&self, fence: Fence) -> Result<bool, StoreError> {
        self.write_one(Request::Renew, fence).await
    }

    /// Renews a lease, or begins one if there is none. Returns its fence; `None` if it is lost.
    pub async fn renew_or_begin(
        &self,
        lease: Option<Fence>,
        ttl: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        match lease {
            Some(fence) => Ok(self.renew(fence).await?.then_some(fence)),
            None => self.lease(ttl).await.map(Some),
        }
    }

    /// Releases a lease. Everything held under it is taken over as if the lease were over.
    pub async fn release(&self, fence: Fence) -> Result<(), StoreError> {
        self.write_one(Request::Release, fence).await
    }

    /// Claims exclusive names for workers, in order. A name that its holder already has is claimed again by
    /// every name server that is to keep it for the holder when others die.
    pub async fn claim_names(
        &self,
        claims: Vec<NameClaim>,
    ) -> Result<Vec<NameClaimOutcome>, StoreError> {
        for claim in &claims {
            check_name("a name", &claim.name)?;
            check_name("the holder of a name", &claim.holder)?;
        }
        self.0.writer.write(0, Request::ClaimNames, claims).await
    }

    /// Releases the claims of the name server that has this lease. A name that no name server claims is free.
    pub async fn release_names(
        &self,
        nameserver: Fence,
        names: Vec<String>,
    ) -> Result<(), StoreError> {
        let leave = |name| NameRelease { nameserver, name };
        let left = names.into_iter().map(leave).collect();
        self.0.writer.write(0, Request::LeaveNames, left).await?;
        Ok(())
    }

    /// The names that a name server claims for their holders.
    pub async fn names_claimed_by(&self, nameserver: Fence) -> Result<Vec<String>, StoreError> {
        read!(self, exclusive_names::names_claimed_by, nameserver)
    }
}

/// The tasks of attempts.
fn ids<T>(attempts: &[T], of: impl Fn(&T) -> AttemptKey) -> Vec<StoredTaskId> {
    attempts.iter().map(|one| of(one).id).collect()
}
