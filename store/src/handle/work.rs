//! Tasks and leases.

use super::{Store, check_name, only, sentence};
use crate::{
    batch::Request,
    error::StoreError,
    exclusive_names::{self, Leave},
    model::{
        Allowance, Cancelled, Claim, Claimed, ClaimedLane, Counts, Ending, Fence, Finish, Finished,
        LeaseLost, NameClaim, NameClaimed, NewTask, Progress, Retried, Running, Settlement,
        Started, Submission, Submitted, Swept, Task, TaskFilter, TaskId, TaskPage, Usage,
    },
    tasks::{
        control::Retry,
        millis, query,
        submit::{Answer, Named},
        sweep::Sweep,
        usage,
    },
};
use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};
use tokio::time::timeout;

impl Store {
    /// Adds tasks: all of them, or none if the key of one was used for another call. Which it was the
    /// answers say. When this answers, they are on disk.
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies beyond the limits; then none of them is added.
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError> {
        let tasks = tasks.into_iter().map(|task| (task, None)).collect();
        let answers = self.submit_and_claim(tasks).await?;
        Ok(answers
            .into_iter()
            .map(|(submitted, _)| submitted)
            .collect())
    }

    /// Adds tasks, some of which are claimed at once by the owner of a lease, as if they had been
    /// queued and claimed then. They are queued if the lease has ended; a task that is delayed is not
    /// claimed, and neither is one that is not new.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_and_claim(
        &self,
        tasks: Vec<(NewTask, Option<Fence>)>,
    ) -> Result<Vec<(Submitted, Option<Claimed>)>, StoreError> {
        self.submit_within(tasks, Allowance::UNLIMITED).await
    }

    /// As [`submit_and_claim`](Self::submit_and_claim), for one submitter, who may have so much. If
    /// that does not allow all of them, none is added. Of several name servers that submit at the same
    /// moment, each may go beyond it by what the others do then.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_within(
        &self,
        tasks: Vec<(NewTask, Option<Fence>)>,
        allowance: Allowance,
    ) -> Result<Vec<(Submitted, Option<Claimed>)>, StoreError> {
        let mut bytes = 0;
        for (task, _) in &tasks {
            check_name("the name of an object", &task.object)?;
            check_name("the name of a method", &task.method)?;
            check_name("the name of a submitter", &task.submitter)?;
            if task.submitter == usage::EVERYBODY {
                let why = "no submitter can have the name '*'".to_owned();
                return Err(StoreError::Invalid(why));
            }
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
            bytes += task.arguments.len() + 200;
        }
        let lot = rand::random();
        let named = |(task, owner)| Named {
            id: TaskId::generate(),
            lot,
            task,
            owner,
            allowance,
        };
        let named: Vec<Named> = tasks.into_iter().map(named).collect();
        let opened = named
            .iter()
            .map(|named| (named.id, Arc::from(&*named.task.submitter)));
        self.0.waiters.open(opened);
        let ids: Vec<TaskId> = named.iter().map(|named| named.id).collect();
        let submitted = self.0.writer.write(bytes, Request::Submit, named).await;
        match &submitted {
            Ok(submitted) => {
                let is_new = |(one, _): &Answer| one.submission == Submission::New;
                let others = ids.iter().zip(submitted);
                let others = others.filter(|(_, answer)| !is_new(answer));
                self.0.waiters.forget(others.map(|(id, _)| *id));
            }
            Err(_) => self.0.waiters.forget(ids),
        }
        submitted
    }

    /// Who submitted a task, if that was in this process and not long ago, and it is not known to have
    /// ended: what is asked most often, without a question to the database.
    pub fn submitter_of_open(&self, id: TaskId) -> Option<Arc<str>> {
        self.0.waiters.submitter_of_open(id)
    }

    /// Takes queued tasks: of each lane as many as asked for. [`URGENT`](crate::URGENT) ones go
    /// first; of the others submitters take turns, whatever the priority, and of each the tasks of
    /// the highest priority go first and of these the oldest. They are the owner's until they are
    /// finished or its lease ends.
    ///
    /// A claim is not waited to be on disk. If it is lost, the tasks are queued and what comes of
    /// them under that claim does not count.
    pub async fn claim(
        &self,
        claim: Claim,
    ) -> Result<Result<Vec<ClaimedLane>, LeaseLost>, StoreError> {
        let claims = vec![claim];
        only(self.0.writer.write(0, Request::Claim, claims).await?)
    }

    /// Notes the workers of attempts. Gives for each whether the attempt still counts. Not waited to
    /// be on disk.
    pub async fn started(&self, started: Vec<Started>) -> Result<Vec<bool>, StoreError> {
        for started in &started {
            check_name("the name of a worker", &started.worker)?;
        }
        self.0.writer.write(0, Request::Started, started).await
    }

    /// Notes how far attempts are. Gives for each whether the attempt still counts. Not waited to be
    /// on disk.
    pub async fn progress(&self, mut progress: Vec<Progress>) -> Result<Vec<bool>, StoreError> {
        for progress in &mut progress {
            progress.note.as_mut().map(sentence);
            progress.fraction = progress.fraction.filter(|fraction| fraction.is_finite());
        }
        self.0.writer.write(0, Request::Progress, progress).await
    }

    /// Ends attempts. What becomes of each task is decided by how the attempt ended and by the
    /// attempts that are left. A task has one accepted result at most.
    ///
    /// # Errors
    ///
    /// `Invalid` for results beyond the limit; then none of the ends is written.
    pub async fn finish(&self, mut finishes: Vec<Finish>) -> Result<Vec<Finished>, StoreError> {
        let mut bytes = 0;
        for finish in &mut finishes {
            check_name(
                "the name of a worker",
                finish.worker.as_deref().unwrap_or(""),
            )?;
            match &mut finish.ending {
                Ending::Succeeded { result } => {
                    self.check_body("a result", result)?;
                    bytes += result.len();
                }
                Ending::Failed { error, value, .. } => {
                    sentence(error);
                    let value = value.as_deref().unwrap_or_default();
                    self.check_body("an error", value)?;
                    bytes += value.len();
                }
                Ending::Lost { reason }
                | Ending::Silent { reason }
                | Ending::Refused { reason }
                | Ending::Denied { reason } => sentence(reason),
                Ending::DeadlineExceeded => {}
            }
            bytes += 200;
        }
        self.0.writer.write(bytes, Request::Finish, finishes).await
    }

    /// Calls tasks off, also those that run: no result of them counts from now on. Their owners find
    /// out by [`superseded`](Self::superseded).
    pub async fn cancel(&self, ids: Vec<TaskId>) -> Result<Vec<Cancelled>, StoreError> {
        self.0.writer.write(0, Request::Cancel, ids).await
    }

    /// Queues failed and cancelled tasks again, with as many attempts as at first and no deadline.
    pub async fn retry(&self, ids: Vec<TaskId>) -> Result<Vec<Retried>, StoreError> {
        self.retry_within(ids, Allowance::UNLIMITED).await
    }

    /// As [`retry`](Self::retry), if their submitters may have so much.
    pub async fn retry_within(
        &self,
        ids: Vec<TaskId>,
        allowance: Allowance,
    ) -> Result<Vec<Retried>, StoreError> {
        let asked = ids.into_iter().map(|id| Retry { id, allowance });
        let asked = asked.collect();
        self.0.writer.write(0, Request::Retry, asked).await
    }

    /// What a submitter has in the store, and what all of them have.
    pub async fn usage(&self, submitter: &str) -> Result<(Usage, Usage), StoreError> {
        let mut reader = self.0.backend.reader().await?;
        let names = BTreeSet::from([submitter, usage::EVERYBODY]);
        let found = usage::read(&mut reader.sql(), &names).await?;
        let of = |name| found.get(name).copied().unwrap_or_default();
        Ok((of(submitter), of(usage::EVERYBODY)))
    }

    /// Does what time brings: delayed tasks become due, deadlines pass, and leases that nobody has
    /// renewed end, with all that was held under them. Any name server may do so at any time; at least
    /// one has to, as often as it should take effect, and twice a second for leases to be watched.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let everything = vec![Sweep { rescue: true }];
        let swept = self.0.writer.write(0, Request::Sweep, everything).await;
        only(swept.inspect_err(|_| self.0.backend.time().lost_sight())?)
    }

    /// As [`sweep`](Self::sweep), but takes nothing from anybody: for a name server whose own lease is
    /// in doubt.
    pub async fn sweep_times(&self) -> Result<Swept, StoreError> {
        let times = vec![Sweep { rescue: false }];
        only(self.0.writer.write(0, Request::Sweep, times).await?)
    }

    /// Forgets tasks that ended longer than `age` ago, a number of them at a time: gives how many,
    /// and there may be more until that is 0.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        let age = vec![millis(age)];
        only(self.0.writer.write(0, Request::Purge, age).await?)
    }

    /// One task with all that is kept of it, or nothing.
    pub async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::task(&mut reader.sql(), id).await?)
    }

    /// One task without its arguments, its result and all attempts but the last, or nothing.
    pub async fn brief(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::brief(&mut reader.sql(), id).await?)
    }

    /// How many bytes a task's arguments and its result have. Neither is read.
    pub async fn sizes(&self, id: TaskId) -> Result<Option<(usize, usize)>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        let sizes = query::sizes(&mut reader.sql(), id).await?;
        let size = |bytes| usize::try_from(bytes).unwrap_or(0);
        Ok(sizes.map(|(arguments, result)| (size(arguments), size(result))))
    }

    /// The first two tasks of a range of ids: one, if the range leaves no doubt.
    pub async fn first_two(&self, ids: &RangeInclusive<TaskId>) -> Result<Vec<TaskId>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::first_two(&mut reader.sql(), ids).await?)
    }

    /// Tasks, newest first, without arguments and results; those that are found among the next 10,000.
    pub async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, StoreError> {
        Ok(self.tasks_page(filter, limit).await?.tasks)
    }

    /// As [`tasks`](Self::tasks), and where to go on.
    pub async fn tasks_page(
        &self,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::tasks(&mut reader.sql(), filter, limit).await?)
    }

    /// How many tasks are in each state. It counts them.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::counts(&mut reader.sql()).await?)
    }

    /// The objects that tasks are queued for.
    pub async fn queued_objects(&self) -> Result<Vec<String>, StoreError> {
        let queued = self.queued().await?;
        let mut objects: Vec<String> = queued.into_iter().map(|(object, _)| object).collect();
        objects.dedup();
        Ok(objects)
    }

    /// The objects that tasks are queued for, each with the one worker that may run them, or none if
    /// any may.
    pub async fn queued(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::queued(&mut reader.sql()).await?)
    }

    /// Those of these attempts that no longer count, because the task was called off or is
    /// another's.
    pub async fn superseded(&self, running: &[Running]) -> Result<Vec<Running>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::superseded(&mut reader.sql(), running).await?)
    }

    /// The attempts that are an owner's, whoever knows of them.
    pub async fn owned(&self, owner: Fence) -> Result<Vec<Running>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::owned(&mut reader.sql(), owner).await?)
    }

    /// Those of these tasks that have ended. Large results are left out.
    pub async fn ended(&self, ids: &[TaskId]) -> Result<Vec<Settlement>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::ended(&mut reader.sql(), ids).await?)
    }

    /// Those of these tasks that have ended.
    pub async fn settled(&self, ids: &[TaskId]) -> Result<Vec<Settlement>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(query::settled(&mut reader.sql(), ids).await?)
    }

    /// Waits for the end of a task, wherever it comes about; nothing if that takes too long. A large
    /// result is left out. An id that no task has is waited for too.
    pub async fn wait(&self, id: TaskId, at_most: Duration) -> Option<Settlement> {
        let ended = self.0.waiters.task(id);
        timeout(at_most, ended).await.ok()?.ok()
    }

    /// Begins a lease: what is done under it carries its fence. It lasts for as long as it is renewed
    /// more often than every `ttl`, as whoever else sweeps sees it.
    pub async fn lease(&self, ttl: Duration) -> Result<Fence, StoreError> {
        let ttl = vec![millis(ttl)];
        only(self.0.writer.write(0, Request::Lease, ttl).await?)
    }

    /// Goes on with a lease. Gives whether it was not over: others may have been late to notice, and
    /// then nothing was taken over. Not waited to be on disk.
    pub async fn renew(&self, fence: Fence) -> Result<bool, StoreError> {
        let fence = vec![fence];
        only(self.0.writer.write(0, Request::Renew, fence).await?)
    }

    /// Gives a lease back. What is held under it is taken over as if it were over.
    pub async fn release(&self, fence: Fence) -> Result<(), StoreError> {
        only(
            self.0
                .writer
                .write(0, Request::Release, vec![fence])
                .await?,
        )
    }

    /// Claims exclusive names for workers, in order. One that its holder has already is claimed again
    /// by every name server that is to keep it for that holder when others die.
    pub async fn claim_names(
        &self,
        claims: Vec<NameClaim>,
    ) -> Result<Vec<NameClaimed>, StoreError> {
        for claim in &claims {
            check_name("a name", &claim.name)?;
            check_name("the holder of a name", &claim.holder)?;
        }
        self.0.writer.write(0, Request::ClaimNames, claims).await
    }

    /// No longer stands up for the holders of names, in the name of the name server that has this
    /// lease. A name for whose holder nobody stands up is free.
    pub async fn leave_names(
        &self,
        nameserver: Fence,
        names: Vec<String>,
    ) -> Result<(), StoreError> {
        let leave = |name| Leave { nameserver, name };
        let left = names.into_iter().map(leave).collect();
        self.0.writer.write(0, Request::LeaveNames, left).await?;
        Ok(())
    }

    /// The names for whose holders a name server stands up.
    pub async fn names_of(&self, nameserver: Fence) -> Result<Vec<String>, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(exclusive_names::names_of(&mut reader.sql(), nameserver).await?)
    }
}
