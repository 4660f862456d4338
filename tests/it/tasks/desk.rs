//! How the tests submit tasks and look at them: the tasks object of one name server.

use crate::harness::{Broker, eventually_within, seconds, within};
use pyroxene_client::DirectProxy;
use pyroxene_common::{
    endpoint::Endpoint,
    interfaces::tasks::{
        self, AttemptResult, Submission, Submissions, Task, TaskFilter, TaskId, TaskState,
        TaskStatus, Tasks, TasksError, tasks::TasksClient,
    },
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The tasks object of one name server.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Endpoint);

/// A submission with what tests seldom care about.
pub(crate) fn task(object: &str, method: &str, arguments: &str) -> Submission {
    Submission {
        object: object.to_owned(),
        method: method.to_owned(),
        arguments: arguments.to_owned(),
        key: String::new(),
        priority: 0,
        delay_ms: 0,
        deadline_ms: None,
        max_attempts: tasks::DEFAULT_MAX_ATTEMPTS,
        backoff_ms: 100,
        run_limit_ms: None,
        worker: None,
    }
}

/// A task that answers itself.
pub(crate) fn echo(data: &str) -> Submission {
    task("echo", "echo", &format!(r#"{{"data":"{data}"}}"#))
}

/// A task that takes its time.
pub(crate) fn sleep(time: Duration) -> Submission {
    let ms = time.as_millis();
    task("echo", "sleep", &format!(r#"{{"ms":{ms}}}"#))
}

/// An entry in the ledgers.
pub(crate) fn entry(entry: usize, time: Duration) -> Submission {
    let ms = time.as_millis();
    let arguments = format!(r#"{{"entry":{entry},"ms":{ms}}}"#);
    task("ledger", "enter", &arguments)
}

/// The time by the clock that the records of this machine's name servers go by.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

impl Desk {
    /// That of name server number `index`.
    pub(crate) fn at(broker: &mut Broker, index: usize) -> Self {
        Self(broker.nameserver(index).address().parse().unwrap())
    }

    async fn client(&self) -> Result<TasksClient<DirectProxy<Tasks>>, String> {
        let direct = DirectProxy::<Tasks>::connect(&self.0, tasks::OBJECT).await;
        direct
            .map(DirectProxy::client)
            .map_err(|error| format!("{error:?}"))
    }

    /// Submits, and hears what becomes of that.
    pub(crate) async fn try_submit(
        &self,
        tasks: Vec<Submission>,
    ) -> Result<Result<Vec<TaskId>, TasksError>, String> {
        let answer = self
            .client()
            .await?
            .submit(within(seconds(10)), Submissions(tasks))
            .await;
        answer.map_err(|error| format!("{error:?}"))
    }

    pub(crate) async fn submit(&self, task: Submission) -> TaskId {
        let ids = self.submit_all(vec![task]).await;
        ids.into_iter().next().unwrap()
    }

    pub(crate) async fn submit_all(&self, tasks: Vec<Submission>) -> Vec<TaskId> {
        self.try_submit(tasks).await.unwrap().unwrap()
    }

    pub(crate) async fn try_show(&self, id: &TaskId) -> Result<Result<Task, TasksError>, String> {
        let client = self.client().await?;
        let answer = client.show(within(seconds(10)), id.clone()).await;
        answer.map_err(|error| format!("{error:?}"))
    }

    pub(crate) async fn show(&self, id: &TaskId) -> Task {
        self.try_show(id).await.unwrap().unwrap()
    }

    pub(crate) async fn list(&self, filter: TaskFilter) -> Vec<Task> {
        let client = self.client().await.unwrap();
        let listed = client.list(within(seconds(10)), filter).await;
        listed.unwrap().unwrap().tasks
    }

    pub(crate) async fn cancel(&self, id: &TaskId) -> TaskState {
        let client = self.client().await.unwrap();
        let state = client.cancel(within(seconds(10)), id.clone()).await;
        state.unwrap().unwrap()
    }

    pub(crate) async fn retry(&self, id: &TaskId) -> TaskState {
        let client = self.client().await.unwrap();
        let state = client.retry(within(seconds(10)), id.clone()).await;
        state.unwrap().unwrap()
    }

    pub(crate) async fn count(&self, state: TaskState) -> Result<u64, String> {
        let client = self.client().await?;
        let counts = client.counts(within(seconds(10))).await;
        let counts = counts.map_err(|error| format!("{error:?}"))?;
        let counts = counts.map_err(|error| error.to_string())?;
        let count = counts.iter().find(|(counted, _)| *counted == state);
        Ok(count.unwrap().1)
    }

    /// The end of a task, as one hears it who waits for it.
    pub(crate) async fn ended(&self, id: &TaskId) -> TaskStatus {
        let client = self.client().await.unwrap();
        let mut seen = None;
        loop {
            let status = client.wait(within(seconds(60)), id.clone(), seen, 50_000);
            let status = status.await.unwrap().unwrap();
            if status.state.is_final() {
                return status;
            }
            assert_ne!(seen, Some(status.version), "{id} does not end: {status:?}");
            seen = Some(status.version);
        }
    }

    /// Waits until the task is at a worker, and answers which.
    pub(crate) async fn is_at_a_worker(&self, id: &TaskId) -> String {
        self.becomes("it is at a worker", id, |task| {
            let last = task.attempts.last()?;
            last.worker.clone().filter(|_| last.outcome.is_none())
        })
        .await
    }

    /// Waits until something is true of the task.
    pub(crate) async fn becomes<T>(
        &self,
        what: &str,
        id: &TaskId,
        is_so: impl Fn(&Task) -> Option<T>,
    ) -> T {
        eventually_within(seconds(30), what, || async {
            let task = self
                .try_show(id)
                .await?
                .map_err(|error| error.to_string())?;
            is_so(&task).ok_or_else(|| format!("{task:?}"))
        })
        .await
    }

    /// Waits until so many tasks have succeeded.
    pub(crate) async fn succeeded(&self, tasks: usize, time: Duration) {
        let what = format!("{tasks} tasks succeed");
        eventually_within(time, &what, || async {
            let mut counts = Vec::new();
            for state in TaskState::ALL {
                counts.push((state, self.count(state).await?));
            }
            let done = counts.contains(&(TaskState::Succeeded, tasks as u64));
            done.then_some(()).ok_or_else(|| format!("{counts:?}"))
        })
        .await;
    }
}

impl Desk {
    /// Waits until so many tasks were submitted.
    pub(crate) async fn has_at_least(&self, tasks: u64) {
        let what = format!("{tasks} tasks are submitted");
        eventually_within(seconds(30), &what, || async {
            let mut all = 0;
            for state in TaskState::ALL {
                all += self.count(state).await?;
            }
            (all >= tasks).then_some(()).ok_or(format!("{all} are"))
        })
        .await;
    }
}

/// How the attempts of a task ended.
pub(crate) fn outcomes(task: &Task) -> Vec<Option<AttemptResult>> {
    task.attempts
        .iter()
        .map(|attempt| attempt.outcome)
        .collect()
}
