//! The answer to a call that waits for a task that another name server ends.

use super::*;
use crate::visitors::VisitorLog;
use crate::{limits::Limiter, tasks::TaskContext};
use pyroxene_common::{
    channel::Dispatch,
    host::ServiceDispatch,
    interfaces::tasks::{
        Tasks as Interface,
        tasks::{Tasks as _, TasksRequest},
    },
    limits::LimitOverrides,
};
use pyroxene_store::{
    AttemptEnding, AttemptKey, FinishedAttempt, NewStoredTask, Store, StoreOptions, StoreUrl,
};
use std::sync::Arc;

#[tokio::test]
async fn whoever_waits_is_told_the_result_even_if_the_time_is_up_as_the_task_ends() {
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(dir.path().join("state.db"));
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let here = Store::open(&url, options.clone()).await.unwrap();
    let elsewhere = Store::open(&url, options).await.unwrap();
    let unlimited = LimitOverrides::default();
    let limiter = Limiter::new(unlimited.clone(), &unlimited);
    let service =
        TaskContext::new(here.clone(), Arc::new(limiter), None, VisitorLog::default()).service();
    let owner = elsewhere.lease(Duration::from_secs(60)).await.unwrap();
    for _ in 0..20 {
        let task = NewStoredTask::new("echo", "echo", b"{}".to_vec());
        let task = vec![(task, Some(owner))];
        let (submitted, claimed) = here.submit_and_claim(task).await.unwrap().remove(0);
        let (id, claimed) = (submitted.id, claimed.expect("the lease holds"));
        let running = AttemptKey {
            id,
            attempt: claimed.attempt,
            owner,
        };
        let finish = FinishedAttempt {
            running,
            worker: None,
            ending: AttemptEnding::Succeeded {
                result: b"7".to_vec(),
            },
        };
        elsewhere.finish(vec![finish]).await.unwrap();
        // This name server has not heard of the end yet, and is asked for the current status.
        let context = tarpc::context::current();
        let status = service.clone().ended(context, convert::task_id(id), 0);
        let status = status.await.unwrap();
        assert_eq!(status.state, TaskState::Succeeded);
        assert_eq!(status.result.as_deref(), Some("7"), "{status:?}");
    }
}

#[tokio::test]
async fn a_call_takes_little_room_whatever_the_others_need() {
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(dir.path().join("state.db"));
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&url, options).await.unwrap();
    let unlimited = LimitOverrides::default();
    let limiter = Arc::new(Limiter::new(unlimited.clone(), &unlimited));
    let service = TaskContext::new(store, limiter, None, VisitorLog::default()).service();
    let service = Arc::new(ServiceDispatch::<Interface, _>::new(service));
    let call = service.dispatch(tarpc::context::current(), TasksRequest::Counts {});
    // Every call's future is moved several times before it runs.
    let size = size_of_val(&call);
    assert!(size <= 4096, "{size} bytes");
}
