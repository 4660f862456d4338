use super::*;
use pyroxene_common::limits::LimitOverrides;
use pyroxene_store::{ClaimedTask, StoredTaskId};

pub(in crate::tasks) fn taken_of(submitter: &str, priority: i64) -> OwnedTask {
    OwnedTask {
        task: ClaimedTask {
            submitter: submitter.to_owned(),
            ..taken(priority, StoredTaskId::generate()).task
        },
        ..taken(0, StoredTaskId::generate())
    }
}

pub(in crate::tasks) fn taken(priority: i64, id: StoredTaskId) -> OwnedTask {
    OwnedTask {
        task: ClaimedTask {
            trace: None,
            id,
            object: "o".to_owned(),
            method: "m".to_owned(),
            arguments: Vec::new(),
            submitter: String::new(),
            certificate_role: None,
            worker: None,
            attempt: 1,
            priority,
            submitted: 0,
            started: 0,
            deadline: None,
            run_limit: 1000,
        },
        queue: ("o".to_owned(), None),
        claimed_at: Instant::now(),
    }
}

pub(in crate::tasks) fn limiter() -> Limiter {
    Limiter::new(LimitOverrides::default(), &LimitOverrides::default())
}

fn window(sent: usize, waiting: usize, direct: usize) -> TaskWindow {
    TaskWindow {
        sent,
        waiting,
        direct,
        ..TaskWindow::default()
    }
}

#[test]
fn greater_priority_goes_first_and_then_the_older() {
    let ids: Vec<StoredTaskId> = (0..4).map(|_| StoredTaskId::generate()).collect();
    let mut lane = TaskQueue::new(Instant::now());
    for (priority, id) in [(0, ids[0]), (0, ids[2]), (5, ids[3]), (0, ids[1])] {
        lane.push(taken(priority, id));
    }
    let (window, limiter) = (window(3, 4, 4), limiter());
    let order: Vec<StoredTaskId> =
        std::iter::from_fn(|| lane.next(window, &limiter, Instant::now()))
            .map(|taken| taken.task.id)
            .collect();
    assert_eq!(order, [ids[3], ids[0], ids[1]]);
    assert_eq!((lane.fair_queue.sent(), lane.fair_queue.waiting()), (3, 1));
}

#[test]
fn more_is_asked_for_when_half_of_what_waits_is_gone() {
    let mut lane = TaskQueue::new(Instant::now());
    let (window, limiter) = (window(4, 4, 4), limiter());
    assert_eq!(lane.claim_count(window), 8);
    for _ in 0..8 {
        lane.push(taken(0, StoredTaskId::generate()));
    }
    while lane.next(window, &limiter, Instant::now()).is_some() {}
    assert_eq!(lane.claim_count(window), 0);
    lane.ended("", None, Instant::now());
    lane.ended("", None, Instant::now());
    while lane.next(window, &limiter, Instant::now()).is_some() {}
    assert_eq!(lane.claim_count(window), 2);
    lane.backlog = Backlog::None;
    assert_eq!(lane.claim_count(window), 0);
}

#[test]
fn the_last_few_are_fetched_at_once_and_leave_room_for_new_ones() {
    let mut lane = TaskQueue::new(Instant::now());
    let window = window(4, 4, 12);
    for _ in 0..6 {
        lane.push(taken(0, StoredTaskId::generate()));
    }
    assert_eq!(lane.claim_count(window), 0);
    lane.backlog = Backlog::Few;
    assert_eq!(lane.claim_count(window), 5);
    lane.backlog.fetch(5);
    assert_eq!(lane.free_capacity(window), 5);
}

#[test]
fn a_new_task_overtakes_none_that_may_be_queued() {
    let mut lane = TaskQueue::new(Instant::now());
    let window = window(2, 1, 3);
    assert_eq!(lane.free_capacity(window), 0);
    lane.backlog = Backlog::None;
    assert_eq!(lane.free_capacity(window), 5);
    lane.push(taken(0, StoredTaskId::generate()));
    assert_eq!(lane.free_capacity(window), 4);
    // The store is being asked, and may have many.
    lane.backlog = Backlog::Unknown;
    lane.backlog.fetch(3);
    assert_eq!(lane.free_capacity(window), 0);
    // Only the tasks that were just queued are there, and they have their permits.
    lane.backlog = Backlog::Few;
    lane.backlog.fetch(3);
    assert_eq!(lane.free_capacity(window), 1);
    lane.backlog = Backlog::Few;
    assert_eq!(lane.free_capacity(window), 0);
}

#[test]
fn the_store_is_told_of_whom_how_many_are_wanted() {
    let mut lane = TaskQueue::new(Instant::now());
    let pace = TaskStatistics::default();
    let window = pace.window(8);
    for _ in 0..4 {
        lane.push(taken_of("ana", 0));
    }
    lane.had_turn(Some("ana".to_owned()));
    let key = ("o".to_owned(), None);
    let now = Instant::now();
    let claim = lane.claim(&key, 9, window, &limiter(), now);
    assert_eq!((claim.limit, &*claim.last_submitter), (9, "ana"));
    // Three quarters of eight permits; and the whole capacity for anonymous submitters.
    assert_eq!(claim.max_per_submitter, 6);
    let most_of = [("ana".to_owned(), 2), (String::new(), 20)];
    assert_eq!(claim.max_of_submitter, most_of);
    assert_eq!(lane.shares(window, now).room("ana", 75), 2);
    assert_eq!(lane.shares(window, now).room("bob", 75), 6);
    lane.held_back = true;
    lane.backlog = Backlog::None;
    assert!(lane.next(window, &limiter(), now).is_some());
    lane.ended("ana", None, now);
    assert!(lane.backlog == Backlog::Few && !lane.held_back);
}
