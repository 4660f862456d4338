//! Schedules.

use super::{Store, check_name, clean_message};
use crate::{
    batch::Request,
    error::StoreError,
    model::{
        ScheduleAgenda, ScheduleChange, ScheduleOutcome, StoredSchedule, StoredTask, UnixMillis,
    },
    schedules,
};

impl StoredSchedule {
    /// The idempotency key of the task of a due time. It is the same at every name server, so that there is one task for
    /// the due time, also if the clock is set back and comes to it again.
    pub fn key_of_due(&self, due: UnixMillis) -> String {
        schedules::key_of_due(self, due)
    }

    /// The idempotency key of a task that was asked for by hand: two requests with the same `key` are one task.
    pub fn key_by_hand(&self, key: &str) -> String {
        schedules::key_by_hand(self, key)
    }
}

impl Store {
    /// Makes a change of a schedule. When this returns, it is on disk, with the tasks that it submits.
    ///
    /// ```
    /// # use pyroxene_store::{Store, StoreOptions, StoreUrl};
    /// use pyroxene_store::{
    ///     Allowance, NewStoredSchedule, NewStoredTask, ScheduleChange, ScheduleOutcome, ScheduleStep,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let options = StoreOptions { create: true, ..StoreOptions::default() };
    /// # let store = Store::open(&StoreUrl::Memory, options).await?;
    /// let now = store.now().await?;
    /// let new = NewStoredSchedule {
    ///     name: "nightly".to_owned(),
    ///     submitter: "ana".to_owned(),
    ///     certificate_role: None,
    ///     definition: "every minute".to_owned(),
    ///     from: now - 1,
    ///     due: now,
    ///     most: 10,
    ///     most_of_all: 100,
    /// };
    /// store.change_schedule(ScheduleChange::Add(new)).await?;
    /// let schedule = store.schedule("nightly").await?.ok_or("it was added")?;
    /// let mut task = NewStoredTask::new("report", "write", b"{}".to_vec());
    /// task.idempotency_key = Some(schedule.key_of_due(now));
    /// let step = ScheduleStep {
    ///     of: schedule.version(),
    ///     tasks: vec![(task, now)],
    ///     by_hand: false,
    ///     allowance: Allowance::UNLIMITED,
    ///     handled: now,
    ///     due: Some(now + 60_000),
    ///     waiting: Vec::new(),
    ///     problem: None,
    /// };
    /// let step = ScheduleChange::Step(Box::new(step));
    /// let done = store.change_schedule(step.clone()).await?;
    /// assert!(matches!(done, ScheduleOutcome::Done(tasks) if tasks.len() == 1));
    /// assert_eq!(store.change_schedule(step).await?, ScheduleOutcome::Changed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies above the limits; then nothing is changed.
    pub async fn change_schedule(
        &self,
        change: ScheduleChange,
    ) -> Result<ScheduleOutcome, StoreError> {
        let outcomes = self.change_schedules(vec![change]).await?;
        let missing = || StoreError::Corrupt("a write was not answered".to_owned());
        outcomes.into_iter().next().ok_or_else(missing)
    }

    /// As [`change_schedule`](Self::change_schedule), for several in one transaction.
    ///
    /// # Errors
    ///
    /// As [`change_schedule`](Self::change_schedule).
    pub async fn change_schedules(
        &self,
        mut changes: Vec<ScheduleChange>,
    ) -> Result<Vec<ScheduleOutcome>, StoreError> {
        let mut bytes = 0;
        for change in &mut changes {
            bytes += self.check_schedule(change)?;
        }
        self.0
            .writer
            .write(bytes, Request::Schedules, changes)
            .await
    }

    /// Checks a change. Returns about how many bytes it has.
    fn check_schedule(&self, change: &mut ScheduleChange) -> Result<usize, StoreError> {
        match change {
            ScheduleChange::Add(new) => {
                check_name("the name of a schedule", &new.name)?;
                self.check_submitter(&new.submitter)?;
                self.check_body("a schedule", new.definition.as_bytes())?;
                Ok(new.definition.len() + 200)
            }
            ScheduleChange::Step(step) => {
                step.problem.as_mut().map(clean_message);
                let tasks = step.tasks.iter().map(|(task, _)| self.check_task(task));
                tasks.sum()
            }
            ScheduleChange::Pause(_)
            | ScheduleChange::Resume { .. }
            | ScheduleChange::Remove(_) => Ok(200),
        }
    }

    /// What is due now, and what comes next. The schedules with the ids of `left_out` are not among those that are due.
    pub async fn schedule_agenda(&self, left_out: &[i64]) -> Result<ScheduleAgenda, StoreError> {
        let now = self.now().await?;
        read!(self, schedules::agenda, now, left_out)
    }

    /// The schedule of this name.
    pub async fn schedule(&self, name: &str) -> Result<Option<StoredSchedule>, StoreError> {
        read!(self, schedules::find, name)
    }

    /// Up to 100 schedules after the name `after`, in the order of names: of one submitter, or of all.
    pub async fn schedules(
        &self,
        after: &str,
        submitter: Option<&str>,
    ) -> Result<Vec<StoredSchedule>, StoreError> {
        read!(self, schedules::list, after, submitter)
    }

    /// The last ten tasks of a schedule, the latest first, without arguments and results.
    pub async fn tasks_of_schedule(
        &self,
        schedule: &StoredSchedule,
    ) -> Result<Vec<StoredTask>, StoreError> {
        read!(self, schedules::last_tasks, schedule)
    }

    /// How many schedules a submitter has, and all submitters together.
    pub async fn schedule_counts(&self, submitter: &str) -> Result<(i64, i64), StoreError> {
        read!(self, schedules::count, submitter)
    }
}
