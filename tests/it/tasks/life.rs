//! The life of a task while nothing breaks.

use super::desk::{Desk, echo, outcomes, sleep, task};
use crate::harness::{Broker, eventually, seconds, turn};
use pyroxene_common::interfaces::tasks::{AttemptResult, TaskFilter, TaskState, TasksError};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_on_a_worker_and_its_result_is_kept() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk
        .submit(task("calculator", "factorial", r#"{"n":5}"#))
        .await;
    let status = desk.ended(&id).await;
    assert_eq!(status.state, TaskState::Succeeded);
    assert_eq!(status.result.as_deref(), Some("\"120\""));
    assert_eq!((status.attempt, status.worker.as_deref()), (1, Some("w1")));
    let task = desk.show(&id).await;
    assert_eq!(task.arguments.as_deref(), Some(r#"{"n":5}"#));
    assert_eq!(outcomes(&task), [Some(AttemptResult::Succeeded)]);
    assert_eq!(task.attempts[0].worker.as_deref(), Some("w1"));
    assert!(task.ended_ms >= Some(task.submitted_ms));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_own_error_is_the_tasks_and_final() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let failing = desk
        .submit(task("echo", "fail", r#"{"message":"sold out"}"#))
        .await;
    let wrong = desk.submit(task("echo", "nothing", "{}")).await;
    let missing = desk.submit(task("echo", "sleep", "{}")).await;
    let status = desk.ended(&failing).await;
    assert_eq!((status.state, status.attempt), (TaskState::Failed, 1));
    let failure = status.error.unwrap();
    assert!(failure.sentence.contains("sold out"), "{failure:?}");
    assert!(failure.value.unwrap().contains("sold out"));
    let sentence = desk.ended(&wrong).await.error.unwrap().sentence;
    assert!(sentence.contains("unknown method 'nothing'"), "{sentence}");
    assert_eq!(desk.ended(&missing).await.state, TaskState::Failed);
    // By hand it can be tried again.
    assert_eq!(desk.retry(&failing).await, TaskState::Queued);
    assert_eq!(desk.ended(&failing).await.state, TaskState::Failed);
    assert_eq!(desk.show(&failing).await.attempts.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_called_off_while_it_is_queued_and_while_it_runs() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let queued = desk.submit(task("nobody", "method", "{}")).await;
    assert_eq!(desk.cancel(&queued).await, TaskState::Cancelled);
    assert_eq!(desk.ended(&queued).await.state, TaskState::Cancelled);

    let running = desk.submit(sleep(seconds(3600))).await;
    desk.is_at_a_worker(&running).await;
    assert_eq!(desk.cancel(&running).await, TaskState::Cancelled);
    // The work itself ends too.
    let nameserver = &*broker.nameserver(0);
    eventually("the worker is idle", || async {
        let listed = nameserver.listed().await?;
        let in_flight = listed[0].load.in_flight;
        (in_flight == 0)
            .then_some(())
            .ok_or(format!("{in_flight} in flight"))
    })
    .await;
    let task = desk.show(&running).await;
    assert_eq!(outcomes(&task), [Some(AttemptResult::Cancelled)]);
    assert_eq!(desk.cancel(&running).await, TaskState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_task_that_runs_and_one_that_waits() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let in_time = |mut task: pyroxene_common::interfaces::tasks::Submission| {
        task.deadline_ms = Some(300);
        task
    };
    let running = desk.submit(in_time(sleep(seconds(3600)))).await;
    let waiting = desk.submit(in_time(task("nobody", "method", "{}"))).await;
    for id in [&running, &waiting] {
        let status = desk.ended(id).await;
        assert_eq!(status.state, TaskState::Failed);
        let sentence = status.error.unwrap().sentence;
        assert!(sentence.contains("the deadline passed"), "{sentence}");
    }
    let task = desk.show(&running).await;
    assert_eq!(outcomes(&task), [Some(AttemptResult::Late)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_its_time_and_for_its_worker() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let mut later = echo("later");
    later.delay_ms = 400;
    let mut pinned = echo("pinned");
    pinned.worker = Some("w2".to_owned());
    let ids = desk.submit_all(vec![pinned, later, echo("now")]).await;
    assert_eq!(desk.ended(&ids[2]).await.result.as_deref(), Some("\"now\""));
    assert_eq!(desk.ended(&ids[1]).await.state, TaskState::Succeeded);
    let task = desk.show(&ids[1]).await;
    let waited = task.attempts[0].started_ms - task.submitted_ms;
    assert!((400..900).contains(&waited), "it began after {waited} ms");
    // The others went past the one whose worker is not there.
    assert_eq!(desk.show(&ids[0]).await.state, TaskState::Queued);
    broker.add_worker("w2", &[]).await;
    let status = desk.ended(&ids[0]).await;
    assert_eq!(status.worker.as_deref(), Some("w2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_the_worker_are_told_while_it_runs() {
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let heavy = task("calculator", "compute", r#"{"iterations":2000000000}"#);
    let id = desk.submit(heavy).await;
    let fraction = desk
        .becomes("it says how far it is", &id, |task| {
            let progress = task.progress.as_ref()?;
            Some(progress.fraction).filter(|fraction| *fraction > 0.0)
        })
        .await;
    assert!(fraction <= 1.0);
    assert_eq!(desk.cancel(&id).await, TaskState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let mut broker = Broker::start().await;
    let desk = Desk::at(&mut broker, 0);
    let wrong = desk.try_submit(vec![task("echo", "echo", "no JSON")]).await;
    let error = wrong.unwrap().unwrap_err();
    assert!(matches!(error, TasksError::Invalid { .. }), "{error:?}");
    let keyed = |data: &str| {
        let mut task = echo(data);
        task.key = "k1".to_owned();
        task
    };
    let first = desk.submit(keyed("a")).await;
    assert_eq!(desk.submit(keyed("a")).await, first);
    let taken = desk.try_submit(vec![echo("with"), keyed("b")]).await;
    let key = "k1".to_owned();
    assert_eq!(taken.unwrap(), Err(TasksError::KeyTaken { key }));
    // All or none.
    let queued = TaskFilter {
        states: vec![TaskState::Queued],
        ..TaskFilter::default()
    };
    let queued = desk.list(queued).await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].id, first);
    let unknown = pyroxene_common::interfaces::tasks::TaskId("x".to_owned());
    let id = "x".to_owned();
    let shown = desk.try_show(&unknown).await.unwrap();
    assert_eq!(shown, Err(TasksError::Unknown { id }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_beyond_the_limit_fails_its_task_and_says_so() {
    let limit = ["--max-message", "65536"];
    for (of_nameserver, of_worker) in [(&limit[..], &[][..]), (&[], &limit)] {
        let mut broker = Broker::start()
            .nameserver_flags(of_nameserver)
            .worker("w1", of_worker)
            .await;
        let desk = Desk::at(&mut broker, 0);
        let fits = task("calculator", "fibonacci", r#"{"n":100}"#);
        let large = task("calculator", "fibonacci", r#"{"n":2000}"#);
        let ids = desk.submit_all(vec![large, fits]).await;
        let status = desk.ended(&ids[0]).await;
        assert_eq!((status.state, status.attempt), (TaskState::Failed, 1));
        let sentence = status.error.unwrap().sentence;
        assert!(sentence.contains("65536"), "{sentence}");
        assert_eq!(desk.ended(&ids[1]).await.state, TaskState::Succeeded);
        assert_eq!(desk.show(&ids[0]).await.attempts.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_end_once_each_at_two_name_servers_over_one_file() {
    let _turn = turn().await;
    const TASKS: usize = 500;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    for name in ["l1", "l2"] {
        broker.add_ledger(name, None).await;
    }
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    let submitting = (0..TASKS / 50).map(|lot| {
        let desk = desks[lot % 2].clone();
        let lot = lot * 50..(lot + 1) * 50;
        let tasks = lot.map(|number| super::desk::entry(number, Duration::from_millis(1)));
        let tasks: Vec<_> = tasks.collect();
        async move { desk.submit_all(tasks).await }
    });
    let ids = futures::future::join_all(submitting).await.concat();
    desks[0].succeeded(TASKS, seconds(60)).await;
    for id in &ids {
        let task = desks[1].show(id).await;
        assert_eq!(
            outcomes(&task),
            [Some(AttemptResult::Succeeded)],
            "{task:?}"
        );
    }
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    assert_eq!(entries, (0..TASKS as u64).collect::<Vec<_>>());
}
