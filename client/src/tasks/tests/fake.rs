//! Fake name servers that share a fake store.

use crate::{Client, ClientConfig};
use pyroxene_common::{
    host::{Host, HostConfig, HostedObject},
    interfaces::tasks::{
        self, AttemptResult, Submission, Submissions, Task, TaskAttempt, TaskFailure, TaskFilter,
        TaskId, TaskPage, TaskState, TaskStatus, Tasks, TasksError,
    },
    message::Progress,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tarpc::context::Context;
use tokio::{sync::watch, time::timeout};

/// Waits for a future, with a timeout that no successful test reaches.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it waits for something that never happens")
}

/// The store that all name servers share.
#[derive(Clone)]
pub(super) struct Store(Arc<Shared>);

struct Shared {
    content: Mutex<Content>,
    /// Notifies of every change.
    changes: watch::Sender<u64>,
    /// The name servers that were long polled, in order.
    polls: watch::Sender<Vec<usize>>,
    /// The name server that withheld an answer.
    lost: watch::Sender<Option<usize>>,
}

#[derive(Default)]
struct Content {
    entries: Vec<Entry>,
    by_key: HashMap<String, usize>,
    submits: usize,
    lose_next: bool,
    unavailable: usize,
    seen: Vec<Option<u64>>,
}

#[derive(Clone)]
struct Entry {
    submission: Submission,
    status: TaskStatus,
    outcome: Option<AttemptResult>,
}

/// Fake name servers.
pub(super) struct Fake {
    hosts: Vec<Option<Host>>,
    addresses: Vec<String>,
    pub(super) store: Store,
}

impl Fake {
    pub(super) async fn start(count: usize) -> Self {
        let store = Store::new();
        let mut fake = Self {
            hosts: Vec::new(),
            addresses: Vec::new(),
            store: store.clone(),
        };
        for index in 0..count {
            let desk = Desk {
                index,
                store: store.clone(),
            };
            let object = HostedObject::from_service::<Tasks, _>(desk);
            fake.host(HashMap::from([(tasks::OBJECT.to_owned(), object)]))
                .await;
        }
        fake
    }

    pub(super) async fn without_tasks() -> Self {
        let mut fake = Self::start(0).await;
        fake.host(HashMap::new()).await;
        fake
    }

    pub(super) async fn host(&mut self, objects: HashMap<String, HostedObject>) {
        let config = HostConfig::new("127.0.0.1:0".parse().unwrap(), "fake");
        let host = Host::bind(config, objects).await.unwrap();
        self.addresses.push(host.local_addr().to_string());
        self.hosts.push(Some(host));
    }

    pub(super) fn address(&self, index: usize) -> &str {
        &self.addresses[index]
    }

    pub(super) fn client(&self) -> Client {
        Client::new(ClientConfig::new(&self.addresses.join(",")).unwrap())
    }

    /// Ends a name server and its connections at once.
    pub(super) fn kill(&mut self, index: usize) {
        self.hosts[index] = None;
    }
}

impl Store {
    fn new() -> Self {
        Self(Arc::new(Shared {
            content: Mutex::default(),
            changes: watch::Sender::new(0),
            polls: watch::Sender::new(Vec::new()),
            lost: watch::Sender::new(None),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.content.lock().unwrap()
    }

    fn entry(&self, id: &TaskId) -> Result<Entry, TasksError> {
        let content = self.lock();
        let found = content.entries.iter().find(|entry| entry.status.id == *id);
        found
            .cloned()
            .ok_or_else(|| TasksError::Unknown { id: id.0.clone() })
    }

    fn change(&self, id: &TaskId, change: impl FnOnce(&mut Entry)) {
        let mut content = self.lock();
        let found = content.entries.iter_mut().find(|e| e.status.id == *id);
        let entry = found.expect("a known task");
        entry.status.version += 1;
        change(entry);
        drop(content);
        self.0.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn submission(&self, id: &TaskId) -> Submission {
        self.entry(id).unwrap().submission
    }

    pub(super) fn ids(&self) -> Vec<TaskId> {
        let content = self.lock();
        content
            .entries
            .iter()
            .map(|e| e.status.id.clone())
            .collect()
    }

    /// The number of submissions.
    pub(super) fn submits(&self) -> usize {
        self.lock().submits
    }

    /// The versions that the waiting requests named.
    pub(super) fn seen(&self) -> Vec<Option<u64>> {
        self.lock().seen.clone()
    }

    /// The next submission is accepted, but not answered.
    pub(super) fn lose_next_answer(&self) {
        self.lock().lose_next = true;
    }

    /// The next `times` submissions find the store unavailable.
    pub(super) fn be_unavailable(&self, times: usize) {
        self.lock().unavailable = times;
    }

    /// Waits until an answer was withheld, and returns the index of that name server.
    pub(super) async fn lost(&self) -> usize {
        let mut lost = self.0.lost.subscribe();
        lost.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// Waits for long poll number `times`, and returns the index of its name server.
    pub(super) async fn polled(&self, times: usize) -> usize {
        let mut polls = self.0.polls.subscribe();
        let polls = polls.wait_for(|polls| polls.len() >= times).await.unwrap();
        polls[times - 1]
    }

    pub(super) fn run(&self, id: &TaskId, worker: &str) {
        self.change(id, |entry| {
            entry.status.state = TaskState::Running;
            entry.status.attempt += 1;
            entry.status.worker = Some(worker.to_owned());
        });
    }

    pub(super) fn progress(&self, id: &TaskId, fraction: f64) {
        let note = String::new();
        self.change(id, |entry| {
            entry.status.progress = Some(Progress { fraction, note });
        });
    }

    pub(super) fn succeed(&self, id: &TaskId, result: &str) {
        self.change(id, |entry| {
            entry.status.state = TaskState::Succeeded;
            entry.status.result = Some(result.to_owned());
        });
    }

    pub(super) fn fail(&self, id: &TaskId, failure: TaskFailure, outcome: AttemptResult) {
        self.change(id, |entry| {
            entry.status.state = TaskState::Failed;
            entry.status.error = Some(failure);
            entry.outcome = Some(outcome);
        });
    }

    fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<TaskId>, TasksError> {
        let mut content = self.lock();
        content.submits += 1;
        if content.unavailable > 0 {
            content.unavailable -= 1;
            let sentence = "it is locked".to_owned();
            return Err(TasksError::Unavailable { sentence });
        }
        let mut ids = Vec::new();
        for submission in submissions {
            let known = content.by_key.get(&submission.key).copied();
            let entry = known.map(|index| &content.entries[index]);
            if let Some(entry) = entry {
                if entry.submission.method != submission.method {
                    let key = submission.key;
                    return Err(TasksError::KeyTaken { key });
                }
                ids.push(entry.status.id.clone());
                continue;
            }
            let index = content.entries.len();
            content.by_key.insert(submission.key.clone(), index);
            let id = TaskId(format!("task-{index}"));
            ids.push(id.clone());
            let status = TaskStatus {
                id,
                version: 0,
                state: TaskState::Queued,
                attempt: 0,
                worker: None,
                progress: None,
                result: None,
                error: None,
            };
            content.entries.push(Entry {
                submission,
                status,
                outcome: None,
            });
        }
        Ok(ids)
    }
}

impl Entry {
    fn task(&self) -> Task {
        let attempt = |outcome| TaskAttempt {
            number: 1,
            worker: None,
            started_ms: 0,
            ended_ms: None,
            outcome: Some(outcome),
            reason: None,
        };
        Task {
            id: self.status.id.clone(),
            object: self.submission.object.clone(),
            method: self.submission.method.clone(),
            arguments: Some(self.submission.arguments.clone()),
            submitter: String::new(),
            worker: self.submission.worker.clone(),
            state: self.status.state,
            priority: self.submission.priority,
            submitted_ms: 0,
            due_ms: 0,
            deadline_ms: self.submission.deadline_ms,
            ended_ms: None,
            max_attempts: self.submission.max_attempts,
            tries: 1,
            run_limit_ms: 0,
            attempts: self.outcome.map(attempt).into_iter().collect(),
            progress: None,
            result: self.status.result.clone(),
            error: self.status.error.clone(),
        }
    }
}

/// One name server's tasks object.
#[derive(Clone)]
struct Desk {
    index: usize,
    store: Store,
}

impl tasks::tasks::Tasks for Desk {
    async fn submit(
        self,
        _: Context,
        Submissions(tasks): Submissions,
    ) -> Result<Vec<TaskId>, TasksError> {
        let ids = self.store.submit(tasks)?;
        let lose = std::mem::take(&mut self.store.lock().lose_next);
        if lose {
            self.store.0.lost.send_replace(Some(self.index));
            std::future::pending::<()>().await;
        }
        Ok(ids)
    }

    async fn wait(
        self,
        _: Context,
        id: TaskId,
        seen: Option<u64>,
        wait_ms: u64,
    ) -> Result<TaskStatus, TasksError> {
        self.store.lock().seen.push(seen);
        if wait_ms > 0 {
            self.store
                .0
                .polls
                .send_modify(|polls| polls.push(self.index));
        }
        let mut changes = self.store.0.changes.subscribe();
        let changed = async {
            loop {
                let entry = self.store.entry(&id)?;
                if seen != Some(entry.status.version) || entry.status.state.is_final() {
                    return Ok(entry.status);
                }
                changes.changed().await.unwrap();
            }
        };
        match timeout(Duration::from_millis(wait_ms), changed).await {
            Ok(status) => status,
            Err(_) => Ok(self.store.entry(&id)?.status),
        }
    }

    async fn ended(self, _: Context, id: TaskId, wait_ms: u64) -> Result<TaskStatus, TasksError> {
        self.store
            .0
            .polls
            .send_modify(|polls| polls.push(self.index));
        let mut changes = self.store.0.changes.subscribe();
        let ended = async {
            loop {
                let entry = self.store.entry(&id)?;
                if entry.status.state.is_final() {
                    return Ok(entry.status);
                }
                changes.changed().await.unwrap();
            }
        };
        match timeout(Duration::from_millis(wait_ms), ended).await {
            Ok(status) => status,
            Err(_) => Ok(self.store.entry(&id)?.status),
        }
    }

    async fn show(self, _: Context, id: TaskId) -> Result<Task, TasksError> {
        Ok(self.store.entry(&id)?.task())
    }

    async fn list(self, _: Context, filter: TaskFilter) -> Result<TaskPage, TasksError> {
        let content = self.store.lock();
        let passed = |entry: &&Entry| filter.states.contains(&entry.status.state);
        let passed = content.entries.iter().filter(passed);
        Ok(TaskPage {
            tasks: passed.map(Entry::task).collect(),
            next: None,
        })
    }

    async fn cancel(self, _: Context, id: TaskId) -> Result<TaskState, TasksError> {
        if !self.store.entry(&id)?.status.state.is_final() {
            let cancel = |entry: &mut Entry| entry.status.state = TaskState::Cancelled;
            self.store.change(&id, cancel);
        }
        Ok(self.store.entry(&id)?.status.state)
    }

    async fn retry(self, _: Context, id: TaskId) -> Result<TaskState, TasksError> {
        self.store
            .change(&id, |entry| entry.status.state = TaskState::Queued);
        Ok(self.store.entry(&id)?.status.state)
    }

    async fn counts(self, _: Context) -> Result<Vec<(TaskState, u64)>, TasksError> {
        let content = self.store.lock();
        let count = |state| {
            let in_state = content.entries.iter().filter(|e| e.status.state == state);
            (state, in_state.count() as u64)
        };
        Ok(TaskState::ALL.map(count).to_vec())
    }
}
