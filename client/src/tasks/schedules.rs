//! Schedules: calls that the name servers submit as tasks at the times of a cron pattern.

use super::{NewTask, TaskError, TaskHandle, new::milliseconds};
use crate::{
    client::Client,
    error::CallError,
    nameserver::{NameServerClient, NameServerService},
};
use pyroxene_common::interfaces::schedules::{
    self as interface, MissedPolicy, OverlapPolicy, Schedule, ScheduleHistory, SchedulesError,
    schedules::SchedulesClient,
};
use std::time::Duration;
use tarpc::context::Context;
use uuid::Uuid;

/// A schedule to add: a name, a cron pattern, and the task of each due time.
///
/// ```
/// use pyroxene_client::{NewSchedule, NewTask};
/// use pyroxene_common::interfaces::schedules::MissedPolicy;
/// use std::time::Duration;
///
/// // At half past two in the night, with five attempts.
/// let report = NewTask::new("report", "write").argument("kind", "daily").max_attempts(5);
/// let schedule = NewSchedule::new("nightly", "30 2 * * *", report)
///     .time_zone("Europe/Berlin")
///     .jitter(Duration::from_secs(60))
///     .missed(MissedPolicy::RunOnce);
/// ```
#[derive(Clone, Debug)]
pub struct NewSchedule {
    name: String,
    cron: String,
    time_zone: String,
    jitter_ms: u64,
    missed: MissedPolicy,
    overlap: OverlapPolicy,
    task: NewTask,
}

impl NewSchedule {
    /// A schedule in UTC, without jitter. Missed due times together get one task, and a due time gets its task also while
    /// the last one runs.
    ///
    /// The fields of the pattern are minute, hour, day of the month, month and day of the week. With six fields the first
    /// is the second, and with seven the last is the year. The task has neither a delay nor a key.
    pub fn new(name: impl Into<String>, cron: impl Into<String>, task: NewTask) -> Self {
        Self {
            name: name.into(),
            cron: cron.into(),
            time_zone: "UTC".to_owned(),
            jitter_ms: 0,
            missed: MissedPolicy::default(),
            overlap: OverlapPolicy::default(),
            task,
        }
    }

    /// The time zone of the pattern, such as `Europe/Berlin`. If the pattern names hours, a time that the clock skips is due
    /// right after the gap, and a time that comes twice is due the first time.
    #[must_use]
    pub fn time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = time_zone.into();
        self
    }

    /// Each task starts up to this long after its due time, a day at most. How long is different from one due time to the
    /// next.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter_ms = milliseconds(jitter);
        self
    }

    /// What becomes of due times that passed while no name server was there. The default is
    /// [`RunOnce`](MissedPolicy::RunOnce).
    #[must_use]
    pub fn missed(mut self, missed: MissedPolicy) -> Self {
        self.missed = missed;
        self
    }

    /// What becomes of a due time while the last task has not ended. The default is [`Allow`](OverlapPolicy::Allow).
    #[must_use]
    pub fn overlap(mut self, overlap: OverlapPolicy) -> Self {
        self.overlap = overlap;
        self
    }

    fn into_interface(self) -> Result<interface::NewSchedule, TaskError> {
        Ok(interface::NewSchedule {
            name: self.name,
            cron: self.cron,
            time_zone: self.time_zone,
            jitter_ms: self.jitter_ms,
            missed: self.missed,
            overlap: self.overlap,
            task: self.task.into_submission()?,
        })
    }
}

/// The schedules of the name servers. Each request goes to any name server that answers.
#[derive(Clone, Debug)]
pub struct Schedules(Client);

impl Client {
    /// The schedules.
    ///
    /// ```no_run
    /// use pyroxene_client::{NewSchedule, NewTask};
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = NewTask::new("calculator", "sum").argument("values", [1, 2, 3]);
    /// let schedule = NewSchedule::new("hourly-sum", "@hourly", task);
    /// client.schedules().add(schedule).await?;
    /// for schedule in client.schedules().list().await? {
    ///     println!("{}: next at {:?}", schedule.definition.name, schedule.next_ms);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedules(&self) -> Schedules {
        Schedules(self.clone())
    }
}

impl Schedules {
    async fn ask<T, F>(
        &self,
        question: impl Fn(SchedulesClient<NameServerService<interface::Schedules>>, Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, SchedulesError>, CallError>>,
    {
        let question =
            |nameserver: &NameServerClient, context| question(nameserver.schedules(), context);
        self.0.ask_object(self.0.quick(), question).await
    }

    /// Adds a schedule. When this returns, it is on disk. The same schedule again changes nothing.
    ///
    /// # Errors
    ///
    /// [`Invalid`](TaskError::Invalid) for a pattern or a time zone that does not exist, and if there is another schedule
    /// of this name.
    pub async fn add(&self, schedule: NewSchedule) -> Result<Schedule, TaskError> {
        let schedule = Box::new(schedule.into_interface()?);
        self.ask(|schedules, context| {
            let schedule = schedule.clone();
            async move { schedules.add(context, schedule).await }
        })
        .await
    }

    /// All schedules that the caller may see, in the order of their names: a user's own, and to admins and observers all.
    pub async fn list(&self) -> Result<Vec<Schedule>, TaskError> {
        let mut all: Vec<Schedule> = Vec::new();
        loop {
            let last = all.last().map(|last| last.definition.name.as_str());
            let page = self.ask(|schedules, context| {
                let last = last.unwrap_or_default().to_owned();
                async move { schedules.list(context, last).await }
            });
            let mut page = page.await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.append(&mut page);
        }
    }

    /// A schedule, with its last tasks.
    pub async fn show(&self, name: &str) -> Result<ScheduleHistory, TaskError> {
        self.ask(|schedules, context| {
            let name = name.to_owned();
            async move { schedules.show(context, name).await }
        })
        .await
    }

    /// Lets the due times of a schedule pass without a task, until it is resumed.
    pub async fn pause(&self, name: &str) -> Result<Schedule, TaskError> {
        self.ask(|schedules, context| {
            let name = name.to_owned();
            async move { schedules.pause(context, name).await }
        })
        .await
    }

    /// Goes on with the next due time.
    pub async fn resume(&self, name: &str) -> Result<Schedule, TaskError> {
        self.ask(|schedules, context| {
            let name = name.to_owned();
            async move { schedules.resume(context, name).await }
        })
        .await
    }

    /// Submits a task of a schedule now, also while it is paused.
    ///
    /// ```no_run
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = client.schedules().run_now("nightly").await?;
    /// println!("{}", task.wait().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_now(&self, name: &str) -> Result<TaskHandle, TaskError> {
        // A repeated request is the same task.
        let key = Uuid::now_v7().simple().to_string();
        let id = self.ask(|schedules, context| {
            let (name, key) = (name.to_owned(), key.clone());
            async move { schedules.run_now(context, name, key).await }
        });
        Ok(self.0.task_handle(id.await?))
    }

    /// Removes a schedule. Its tasks stay.
    pub async fn remove(&self, name: &str) -> Result<(), TaskError> {
        self.ask(|schedules, context| {
            let name = name.to_owned();
            async move { schedules.remove(context, name).await }
        })
        .await
    }
}
