//! What calls about batches cost, and who may make them.

use super::{batches::Batches as _, *};
use crate::{
    limits::Limiter,
    tasks::{TaskContext, fixture::submission},
    visitors::VisitorLog,
};
use pyroxene_common::{
    identity::Patterns,
    interfaces::tasks::TaskState,
    limits::LimitOverrides,
    scope::{Caller, Scope},
};
use pyroxene_store::{
    AttemptEnding, AttemptKey, FinishedAttempt, Store, StoreOptions, StoreUrl, StoredTaskId,
};
use std::sync::Arc;
use tarpc::context::current as context;

/// The batches object of a name server with a store in memory, where a caller may hold so many polls.
async fn service(polls: u64) -> BatchesService {
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&StoreUrl::Memory, options).await.unwrap();
    let polls = format!("polls={polls}").parse().unwrap();
    let limits = LimitOverrides::from_iter([polls]);
    let limiter = Limiter::new(limits, &LimitOverrides::default());
    let context = TaskContext::new(store, Arc::new(limiter), None, VisitorLog::default());
    BatchesService::new(context.service())
}

/// What a caller of this name and role is answered.
async fn called_by<T>(name: &str, role: Role, call: impl Future<Output = T>) -> T {
    let identity = Identity {
        name: name.to_owned(),
        role,
        allow: Patterns::of_role(role),
    };
    let caller = Caller {
        identity: Some(Arc::new(identity)),
        ..Caller::default()
    };
    let scope = Scope {
        caller: caller.into(),
        ..Scope::default()
    };
    scope.wrap(Box::pin(call)).await
}

/// Submits a batch of so many tasks.
fn submit(
    service: &BatchesService,
    tasks: usize,
) -> impl Future<Output = Result<SubmittedChunk, BatchesError>> {
    let task = submission("echo", "echo");
    let chunk = BatchChunk {
        key: "nightly".to_owned(),
        number: 0,
        tasks: Submissions(vec![task; tasks]),
    };
    service.clone().submit(context(), chunk)
}

/// Ends a task of an unknown submitter with this error.
async fn fail_one(service: &BatchesService, error: &str) -> StoredTaskId {
    let store = service.store();
    let owner = store.lease(Duration::from_secs(60)).await.unwrap();
    let task = NewStoredTask::new("echo", "echo", b"{}".to_vec());
    let task = vec![(task, Some(owner))];
    let (submitted, claimed) = store.submit_and_claim(task).await.unwrap().remove(0);
    let running = AttemptKey {
        id: submitted.id,
        attempt: claimed.unwrap().attempt,
        owner,
    };
    let ending = AttemptEnding::Failed {
        error: error.to_owned(),
        value: None,
        retry: false,
    };
    let finish = FinishedAttempt {
        running,
        worker: None,
        ending,
    };
    store.finish(vec![finish]).await.unwrap();
    submitted.id
}

async fn cancel(service: &BatchesService, task: &TaskId) {
    let id = task.0.parse().unwrap();
    service.store().cancel(vec![id]).await.unwrap();
}

fn is_limited<T>(answer: &Result<T, BatchesError>) -> bool {
    matches!(answer, Err(BatchesError::Tasks(TasksError::Limited { .. })))
}

fn is_denied<T>(answer: &Result<T, BatchesError>) -> bool {
    matches!(answer, Err(BatchesError::Tasks(TasksError::Denied { .. })))
}

#[tokio::test]
async fn news_of_a_busy_batch_are_told_after_half_a_second_and_without_wish_not_at_all() {
    let service = service(1).await;
    let SubmittedChunk { batch, tasks } = submit(&service, 3).await.unwrap();
    let wait = |seen, wait_ms| {
        service
            .clone()
            .wait(context(), batch.clone(), seen, wait_ms)
    };
    let seen = wait(None, 0).await.unwrap();
    assert_eq!((seen.queued, seen.cancelled), (3, 0));
    cancel(&service, &tasks[0]).await;
    let began = Instant::now();
    let told = wait(Some(seen), 9_000).await.unwrap();
    assert!(began.elapsed() >= NEWS_INTERVAL, "{:?}", began.elapsed());
    assert_eq!((told.queued, told.cancelled), (2, 1));
    // Who waits for the end only hears of nothing else.
    let (until_end, ()) = tokio::join!(wait(None, 9_000), async {
        let open = wait(None, 300).await;
        assert!(is_limited(&open), "{open:?}");
        for task in &tasks {
            cancel(&service, task).await;
        }
    });
    assert_eq!(until_end.unwrap().cancelled, 3);
}

#[tokio::test]
async fn who_may_not_wait_is_refused_though_there_are_news() {
    let service = service(0).await;
    let SubmittedChunk { batch, tasks } = submit(&service, 2).await.unwrap();
    let wait = |seen, wait_ms| {
        service
            .clone()
            .wait(context(), batch.clone(), seen, wait_ms)
    };
    let seen = wait(None, 0).await.unwrap();
    cancel(&service, &tasks[0]).await;
    let news = wait(Some(seen), 9_000).await;
    assert!(is_limited(&news), "{news:?}");
}

#[tokio::test]
async fn a_call_that_waits_for_many_tasks_counts_as_several_before_it_looks_for_one() {
    let service = service(3).await;
    let ended = |ids| service.clone().ended(context(), ids, 100);
    // If they were looked for, they would be unknown.
    let nowhere = |count| vec![TaskId("0198f3c2".to_owned()); count];
    let refused = ended(nowhere(31)).await;
    assert!(is_limited(&refused), "{refused:?}");
    let unknown = ended(nowhere(30)).await;
    let is_unknown = matches!(
        unknown,
        Err(BatchesError::Tasks(TasksError::Unknown { .. }))
    );
    assert!(is_unknown, "{unknown:?}");
}

#[tokio::test]
async fn an_answer_has_a_bound_however_often_a_task_is_asked_for() {
    let service = service(10_000).await;
    let id = fail_one(&service, &"x".repeat(4000)).await;
    let ids = vec![convert::task_id(id); MAX_WAITED];
    let ended = service.clone().ended(context(), ids, 9_000).await.unwrap();
    assert_eq!(ended.len(), MAX_ANSWER / (STATUS_BYTES + 4000));
    let places: Vec<u32> = ended.iter().map(|(place, _)| *place).collect();
    assert!(
        places
            .into_iter()
            .eq(0..u32::try_from(ended.len()).unwrap())
    );
    assert!(ended.iter().all(|(_, one)| one.state == TaskState::Failed));
}

#[tokio::test]
async fn a_batch_and_its_tasks_are_for_their_submitter_admins_and_observers() {
    let service = service(10).await;
    let submitted = called_by("ana", Role::User, submit(&service, 2)).await;
    let SubmittedChunk { batch, tasks } = submitted.unwrap();
    let wait = || service.clone().wait(context(), batch.clone(), None, 0);
    let list = || {
        let filter = TaskFilter::default();
        service.clone().list(context(), batch.clone(), filter)
    };
    let ended = || service.clone().ended(context(), tasks.clone(), 0);
    let cancel = || service.clone().cancel(context(), batch.clone(), 1_000);
    let bob = Role::User;
    assert!(is_denied(&called_by("bob", bob, wait()).await));
    assert!(is_denied(&called_by("bob", bob, list()).await));
    assert!(is_denied(&called_by("bob", bob, ended()).await));
    for role in [Role::User, Role::Observer] {
        assert!(is_denied(&called_by("bob", role, cancel()).await));
    }
    for (name, role) in [
        ("ana", Role::User),
        ("root", Role::Admin),
        ("eve", Role::Observer),
    ] {
        assert_eq!(called_by(name, role, wait()).await.unwrap().queued, 2);
        let listed = called_by(name, role, list()).await.unwrap();
        assert_eq!(listed.tasks.len(), 2, "{name}");
        called_by(name, role, ended()).await.unwrap();
    }
    let cancelled = called_by("ana", Role::User, cancel()).await;
    assert_eq!(cancelled.unwrap().cancelled, 2);
}

#[test]
fn the_id_of_a_batch_follows_from_its_submitter_and_its_key() {
    // As Python's hashlib and uuid compute it.
    assert_eq!(
        batch_id("ana", "nightly").to_string(),
        "batch-faedd8c0-8192-8514-9e92-033f2ed3160d"
    );
    assert_ne!(batch_id("ana", "nightly"), batch_id("bob", "nightly"));
    assert_ne!(batch_id("a", "bc"), batch_id("ab", "c"));
}

#[test]
fn chunks_with_other_calls_have_other_fingerprints() {
    let task = |arguments: &str| NewStoredTask::new("o", "m", arguments.as_bytes().to_vec());
    let two = [task("{}"), task(r#"{"a":1}"#)];
    assert_eq!(fingerprint(&two), fingerprint(&two.clone()));
    let mut others = vec![vec![task(r#"{"a":1}"#), task("{}")], vec![task("{}")]];
    let mut pinned = two.to_vec();
    pinned[0].worker = Some("w1".to_owned());
    others.push(pinned);
    for other in others {
        assert_ne!(fingerprint(&other), fingerprint(&two));
    }
}

#[test]
fn who_waits_long_or_beside_many_others_looks_more_rarely() {
    let [second, minute] = [1, 60].map(Duration::from_secs);
    let millis = Duration::from_millis;
    assert_eq!(poll_interval(Duration::ZERO, 1), millis(20));
    assert_eq!(poll_interval(second, 1), millis(125));
    assert_eq!(poll_interval(minute, 100), millis(500));
    assert_eq!(poll_interval(second, 1000), millis(2000));
}

#[test]
fn observers_only_look() {
    assert!(may_call(Role::Observer, "wait") && !may_call(Role::Observer, "cancel"));
    assert!(may_call(Role::User, "submit") && !may_call(Role::Worker, "submit"));
}
