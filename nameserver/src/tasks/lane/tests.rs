use super::*;
use pyroxene_common::access::LimitOverrides;
use pyroxene_store::{Claimed, TaskId};

pub(in crate::tasks) fn taken_of(submitter: &str, priority: i64) -> Taken {
    Taken {
        task: Claimed {
            submitter: submitter.to_owned(),
            ..taken(priority, TaskId::generate()).task
        },
        ..taken(0, TaskId::generate())
    }
}

fn taken(priority: i64, id: TaskId) -> Taken {
    Taken {
        task: Claimed {
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
        lane: ("o".to_owned(), None),
        at: Instant::now(),
    }
}

fn limiter() -> Limiter {
    Limiter::new(LimitOverrides::default(), &LimitOverrides::default())
}

fn window(sent: usize, waiting: usize, direct: usize) -> Window {
    Window {
        sent,
        waiting,
        direct,
        ..Window::default()
    }
}

#[test]
fn greater_priority_goes_first_and_then_the_older() {
    let ids: Vec<TaskId> = (0..4).map(|_| TaskId::generate()).collect();
    let mut lane = Lane::new(Instant::now());
    for (priority, id) in [(0, ids[0]), (0, ids[2]), (5, ids[3]), (0, ids[1])] {
        lane.take(taken(priority, id));
    }
    let (window, limiter) = (window(3, 4, 4), limiter());
    let order: Vec<TaskId> = std::iter::from_fn(|| lane.next(window, &limiter, Instant::now()))
        .map(|taken| taken.task.id)
        .collect();
    assert_eq!(order, [ids[3], ids[0], ids[1]]);
    assert_eq!((lane.turns.sent(), lane.turns.waiting()), (3, 1));
}

#[test]
fn more_is_asked_for_when_half_of_what_waits_is_gone() {
    let mut lane = Lane::new(Instant::now());
    let (window, limiter) = (window(4, 4, 4), limiter());
    assert_eq!(lane.wants(window), 8);
    for _ in 0..8 {
        lane.take(taken(0, TaskId::generate()));
    }
    while lane.next(window, &limiter, Instant::now()).is_some() {}
    assert_eq!(lane.wants(window), 0);
    lane.ended("", None, Instant::now());
    lane.ended("", None, Instant::now());
    while lane.next(window, &limiter, Instant::now()).is_some() {}
    assert_eq!(lane.wants(window), 2);
    lane.more = false;
    assert_eq!(lane.wants(window), 0);
}

#[test]
fn the_last_few_are_fetched_at_once_and_leave_room_for_new_ones() {
    let mut lane = Lane::new(Instant::now());
    let window = window(4, 4, 12);
    for _ in 0..6 {
        lane.take(taken(0, TaskId::generate()));
    }
    assert_eq!(lane.wants(window), 0);
    lane.emptied = true;
    assert_eq!(lane.wants(window), 5);
    lane.asked = 5;
    assert_eq!(lane.free(window), 5);
}

#[test]
fn a_new_task_overtakes_none_that_may_be_queued() {
    let mut lane = Lane::new(Instant::now());
    let window = window(2, 1, 3);
    assert_eq!(lane.free(window), 0);
    lane.more = false;
    assert_eq!(lane.free(window), 5);
    lane.take(taken(0, TaskId::generate()));
    assert_eq!(lane.free(window), 4);
    // The store is being asked, and may have many.
    lane.asked = 3;
    assert_eq!(lane.free(window), 0);
    // Only the tasks that were just queued are there, and they have their permits.
    (lane.emptied, lane.more) = (true, true);
    assert_eq!(lane.free(window), 1);
    lane.asked = 0;
    assert_eq!(lane.free(window), 0);
}

#[test]
fn the_store_is_told_of_whom_how_many_are_wanted() {
    let mut lane = Lane::new(Instant::now());
    let pace = Pace::default();
    let window = pace.window(8);
    for _ in 0..4 {
        lane.take(taken_of("ana", 0));
    }
    lane.had_turn(Some("ana".to_owned()));
    let key = ("o".to_owned(), None);
    let now = Instant::now();
    let claim = lane.claim(&key, 9, window, &limiter(), now);
    assert_eq!((claim.limit, &*claim.after), (9, "ana"));
    // Three quarters of eight permits; and the whole capacity for anonymous submitters.
    assert_eq!(claim.most, 6);
    let most_of = [("ana".to_owned(), 2), (String::new(), 20)];
    assert_eq!(claim.most_of, most_of);
    assert_eq!(lane.crowd(window, now).room("ana", 75), 2);
    assert_eq!(lane.crowd(window, now).room("bob", 75), 6);
    lane.held_back = true;
    lane.more = false;
    assert!(lane.next(window, &limiter(), now).is_some());
    lane.ended("ana", None, now);
    assert!(lane.more && !lane.held_back);
}
