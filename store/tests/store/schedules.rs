//! Schedules: their steps, each with its tasks, whatever name servers do at the same time.

use crate::harness::{
    LONG, PATIENCE, Place, START, claim_one, dispatcher, eventually, finish, on_all, on_both,
    running, show, succeeded,
};
use pyroxene_store::{
    Allowance, Hint, NewStoredSchedule, NewStoredTask, Quota, ScheduleChange, ScheduleOutcome,
    ScheduleStep, Store, StoredSchedule, StoredTaskState, UnixMillis,
};

mod alone {
    use super::*;
    on_all! {
        a_schedule_is_added_shown_and_removed
        a_step_submits_its_tasks_and_moves_on
        a_step_that_would_exceed_a_quota_changes_nothing
        a_due_time_has_one_task_also_if_the_clock_comes_to_it_again
        what_waits_for_the_last_task_is_due_at_its_end
        a_paused_schedule_is_not_due_and_goes_on_from_where_it_is_told
        there_are_so_many_schedules_and_no_more
        the_last_tasks_are_known_the_latest_first
        tasks_that_are_refused_do_not_take_the_others_with_them
        a_task_by_hand_does_not_take_the_place_of_one_that_has_not_ended
    }
    use super::{
        a_due_time_has_one_task_also_if_the_clock_comes_to_it_again,
        a_paused_schedule_is_not_due_and_goes_on_from_where_it_is_told,
        a_schedule_is_added_shown_and_removed, a_step_submits_its_tasks_and_moves_on,
        a_step_that_would_exceed_a_quota_changes_nothing,
        a_task_by_hand_does_not_take_the_place_of_one_that_has_not_ended,
        tasks_that_are_refused_do_not_take_the_others_with_them,
        the_last_tasks_are_known_the_latest_first, there_are_so_many_schedules_and_no_more,
        what_waits_for_the_last_task_is_due_at_its_end,
    };
}

mod together {
    use super::*;
    on_both! {
        several_name_servers_make_each_step_once
        a_name_server_is_told_of_a_schedule_that_another_one_adds
    }
    use super::{
        a_name_server_is_told_of_a_schedule_that_another_one_adds,
        several_name_servers_make_each_step_once,
    };
}

const SECOND: UnixMillis = 1000;

/// A schedule whose first due time is a second after the start.
fn new(name: &str) -> NewStoredSchedule {
    NewStoredSchedule {
        name: name.to_owned(),
        submitter: "ana".to_owned(),
        certificate_role: Some("user".to_owned()),
        definition: "{\"cron\": \"* * * * * *\"}".to_owned(),
        from: START,
        due: START + SECOND,
        most: 10,
        most_of_all: 100,
    }
}

async fn add(store: &Store, new: NewStoredSchedule) -> ScheduleOutcome {
    let change = ScheduleChange::Add(new);
    store.change_schedule(change).await.unwrap()
}

async fn find(store: &Store, name: &str) -> StoredSchedule {
    store.schedule(name).await.unwrap().expect("it is there")
}

fn done() -> ScheduleOutcome {
    ScheduleOutcome::Done(Vec::new())
}

/// The step that submits a task for a due time, and goes on a second later.
fn step(schedule: &StoredSchedule, due: UnixMillis) -> ScheduleStep {
    let mut task = NewStoredTask::new("calc", "run", b"{}".to_vec());
    task.submitter.clone_from(&schedule.submitter);
    task.idempotency_key = Some(schedule.key_of_due(due));
    ScheduleStep {
        of: schedule.version(),
        tasks: vec![(task, due)],
        by_hand: false,
        allowance: Allowance::UNLIMITED,
        handled: due,
        due: Some(due + SECOND),
        waiting: Vec::new(),
        problem: None,
    }
}

async fn make(store: &Store, step: ScheduleStep) -> ScheduleOutcome {
    store.change_schedule(step.into()).await.unwrap()
}

async fn a_schedule_is_added_shown_and_removed(place: Place) {
    let store = place.open().await;
    assert_eq!(add(&store, new("b")).await, done());
    assert_eq!(add(&store, new("b")).await, ScheduleOutcome::Exists);
    assert_eq!(add(&store, new("a")).await, done());
    let mut other = new("c");
    other.submitter = "ben".to_owned();
    assert_eq!(add(&store, other).await, done());

    let found = find(&store, "b").await;
    assert_eq!((found.due, found.paused), (Some(START + SECOND), false));
    assert_eq!(found.certificate_role.as_deref(), Some("user"));
    assert_eq!(found.definition, new("b").definition);
    let names = async |after: &str, submitter| {
        let listed = store.schedules(after, submitter).await.unwrap();
        let names = listed.into_iter().map(|one| one.name);
        names.collect::<Vec<String>>()
    };
    assert_eq!(names("", None).await, ["a", "b", "c"]);
    assert_eq!(names("a", Some("ana")).await, ["b"]);
    assert_eq!(store.schedule_counts("ana").await.unwrap(), (2, 3));

    // A change that is meant for an earlier schedule of the name does not touch the one that is there.
    let remove = || ScheduleChange::Remove(found.any_version());
    assert_eq!(store.change_schedule(remove()).await.unwrap(), done());
    assert_eq!(store.schedule("b").await.unwrap(), None);
    add(&store, new("b")).await;
    let again = store.change_schedule(remove()).await.unwrap();
    assert_eq!(again, ScheduleOutcome::Changed);
    assert!(find(&store, "b").await.id > found.id);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_step_submits_its_tasks_and_moves_on(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!(
        (agenda.now, agenda.due, agenda.next),
        (START, vec![], Some(START + SECOND))
    );
    place.advance(1000);
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!(agenda.due.len(), 1);
    let seen = &agenda.due[0];
    let without = store
        .schedule_agenda(&[seen.id + 1, seen.id])
        .await
        .unwrap();
    assert_eq!(without.due, []);

    let mut hints = store.hints();
    let ScheduleOutcome::Done(tasks) = make(&store, step(seen, START + SECOND)).await else {
        panic!("the step was not made");
    };
    let task = show(&store, tasks[0]).await;
    assert_eq!(
        (task.state, &*task.submitter),
        (StoredTaskState::Queued, "ana")
    );
    assert_eq!(
        hints.next().await,
        Some(Hint::Queued(["calc".to_owned()].into()))
    );
    let after = find(&store, "s").await;
    assert_eq!(after.due, Some(START + 2 * SECOND));
    assert_eq!(
        (after.last, after.last_task),
        (Some(START + SECOND), Some(tasks[0]))
    );
    assert!(after.is_open);

    // The same step again is another name server's, which was slower.
    assert_eq!(
        make(&store, step(seen, START + SECOND)).await,
        ScheduleOutcome::Changed
    );
    assert_eq!(store.usage("ana").await.unwrap().0.tasks, 1);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_step_that_would_exceed_a_quota_changes_nothing(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    let before = find(&store, "s").await;
    let mut first = step(&before, START + SECOND);
    first.allowance.tasks = 0;
    assert_eq!(
        make(&store, first.clone()).await,
        ScheduleOutcome::TooMuch(Quota::Tasks)
    );
    assert_eq!(find(&store, "s").await, before);
    first.tasks.clear();
    first.problem = Some("too much".to_owned());
    assert_eq!(make(&store, first).await, done());
    let after = find(&store, "s").await;
    assert_eq!(
        (after.problem.as_deref(), after.last),
        (Some("too much"), None)
    );
    assert_eq!(after.due, Some(START + 2 * SECOND));
}

async fn a_due_time_has_one_task_also_if_the_clock_comes_to_it_again(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    place.advance(1000);
    let due = START + SECOND;
    let first = make(&store, step(&find(&store, "s").await, due)).await;
    // The clock is set back by an hour: the schedule is looked at, because it was dealt with in the future.
    place.set_clock(-3_600_000);
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!(agenda.due.len(), 1, "{agenda:?}");
    let mut back = step(&agenda.due[0], due);
    (back.tasks, back.handled, back.due) = (Vec::new(), agenda.now, Some(due));
    assert_eq!(make(&store, back).await, done());
    place.advance(3_600_000);
    let again = make(&store, step(&find(&store, "s").await, due)).await;
    assert_eq!(first, again);
    assert_eq!(store.usage("ana").await.unwrap().0.tasks, 1);
}

async fn what_waits_for_the_last_task_is_due_at_its_end(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    add(&store, new("s")).await;
    place.advance(1000);
    make(&store, step(&find(&store, "s").await, START + SECOND)).await;
    let claimed = claim_one(&store, owner, "calc").await;
    place.advance(1000);
    let seen = find(&store, "s").await;
    let waiting = ScheduleStep {
        tasks: Vec::new(),
        waiting: vec![START + 2 * SECOND],
        ..step(&seen, START + 2 * SECOND)
    };
    assert_eq!(make(&store, waiting).await, done());
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!((agenda.due, agenda.awaited), (vec![], vec![claimed.id]));
    finish(&store, running(&claimed, owner), succeeded(b"1")).await;
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!(agenda.due.len(), 1);
    assert_eq!(agenda.due[0].waiting, [START + 2 * SECOND]);
    assert!(!agenda.due[0].is_open);
}

async fn a_paused_schedule_is_not_due_and_goes_on_from_where_it_is_told(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    let of = find(&store, "s").await.any_version();
    for _ in 0..2 {
        let paused = store.change_schedule(ScheduleChange::Pause(of.clone()));
        assert_eq!(paused.await.unwrap(), done());
    }
    place.advance(5000);
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!((agenda.due, agenda.next), (vec![], None));
    // A step that another name server planned before the pause is not made.
    let resume = |due| ScheduleChange::Resume {
        of: of.clone(),
        handled: START + 5 * SECOND,
        due: Some(due),
    };
    store
        .change_schedule(resume(START + 6 * SECOND))
        .await
        .unwrap();
    let agenda = store.schedule_agenda(&[]).await.unwrap();
    assert_eq!(
        (agenda.due, agenda.next),
        (vec![], Some(START + 6 * SECOND))
    );
    // One that was not paused goes on as it did.
    store
        .change_schedule(resume(START + 9 * SECOND))
        .await
        .unwrap();
    assert_eq!(find(&store, "s").await.due, Some(START + 6 * SECOND));
}

async fn tasks_that_are_refused_do_not_take_the_others_with_them(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    let schedule = find(&store, "s").await;
    let dues = [START + SECOND, START + 2 * SECOND, START + 3 * SECOND];
    let both = |dues: &[UnixMillis]| {
        let mut both = step(&schedule, START + 3 * SECOND);
        let of = |due: &UnixMillis| step(&schedule, *due).tasks.remove(0);
        both.tasks = dues.iter().map(of).collect();
        both
    };
    // Somebody has used the key of the first due time for another call.
    let mut other = step(&schedule, dues[0]).tasks.remove(0).0;
    other.method = "other".to_owned();
    let other = store.submit(vec![other]).await.unwrap();
    assert_eq!(
        make(&store, both(&dues[..1])).await,
        ScheduleOutcome::KeyTaken
    );
    assert_eq!(find(&store, "s").await, schedule);

    // With it there is room for two tasks.
    let mut all = both(&dues);
    all.allowance.tasks = 2;
    let ScheduleOutcome::Done(tasks) = make(&store, all).await else {
        panic!("the step was not made");
    };
    assert_eq!(tasks.len(), 1);
    assert_ne!(tasks[0], other[0].id);
    let after = find(&store, "s").await;
    assert_eq!(
        (after.last, after.last_task),
        (Some(dues[1]), Some(tasks[0]))
    );
    let problem = after.problem.expect("some have no task");
    assert!(problem.starts_with("2 of 3 tasks"), "{problem}");
    assert_eq!(store.usage("ana").await.unwrap().0.tasks, 2);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_task_by_hand_does_not_take_the_place_of_one_that_has_not_ended(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    add(&store, new("s")).await;
    let by_hand = async |key: &str| {
        let schedule = find(&store, "s").await;
        let mut step = step(&schedule, schedule.handled);
        step.by_hand = true;
        step.tasks[0].0.idempotency_key = Some(schedule.key_by_hand(key));
        match make(&store, step).await {
            ScheduleOutcome::Done(tasks) => tasks[0],
            other => panic!("{other:?}"),
        }
    };
    let due = make(&store, step(&find(&store, "s").await, START + SECOND)).await;
    let claimed = claim_one(&store, owner, "calc").await;
    assert_eq!(due, ScheduleOutcome::Done(vec![claimed.id]));
    let first = by_hand("k").await;
    assert_ne!(first, claimed.id);
    assert_eq!(find(&store, "s").await.last_task, Some(claimed.id));

    // After its end the next one by hand is the last one, but a repeated request is not.
    finish(&store, running(&claimed, owner), succeeded(b"1")).await;
    assert_eq!(by_hand("k").await, first);
    assert_eq!(find(&store, "s").await.last_task, Some(claimed.id));
    let second = by_hand("l").await;
    assert_eq!(find(&store, "s").await.last_task, Some(second));
}

async fn there_are_so_many_schedules_and_no_more(place: Place) {
    let store = place.open().await;
    let mut few = new("a");
    few.most = 1;
    assert_eq!(add(&store, few.clone()).await, done());
    few.name = "b".to_owned();
    assert_eq!(
        add(&store, few).await,
        ScheduleOutcome::TooMany { of_all: false }
    );
    let mut few = new("c");
    (few.submitter, few.most_of_all) = ("ben".to_owned(), 1);
    assert_eq!(
        add(&store, few).await,
        ScheduleOutcome::TooMany { of_all: true }
    );
}

async fn the_last_tasks_are_known_the_latest_first(place: Place) {
    let store = place.open().await;
    add(&store, new("s")).await;
    add(&store, new("s:1")).await;
    for number in 1..=12 {
        place.advance(1000);
        make(
            &store,
            step(&find(&store, "s").await, START + number * SECOND),
        )
        .await;
    }
    let schedule = find(&store, "s").await;
    let mut by_hand = step(&schedule, START + 12 * SECOND);
    by_hand.tasks[0].0.idempotency_key = Some(schedule.key_by_hand("k"));
    let ScheduleOutcome::Done(last) = make(&store, by_hand).await else {
        panic!("the step was not made");
    };
    let tasks = store.tasks_of_schedule(&schedule).await.unwrap();
    assert_eq!(tasks.len(), 10);
    assert_eq!(tasks[0].id, last[0]);
    let times: Vec<_> = tasks.iter().skip(1).map(|task| task.submitted).collect();
    let expected = (4..=12).rev().map(|number| START + number * SECOND);
    assert_eq!(times, expected.collect::<Vec<_>>());
    let other = find(&store, "s:1").await;
    assert_eq!(store.tasks_of_schedule(&other).await.unwrap(), []);
}

async fn several_name_servers_make_each_step_once(place: Place) {
    const STEPS: i64 = 60;
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let stores = [place.open().await, place.open().await, place.open().await];
    for name in NAMES {
        add(&stores[0], new(name)).await;
    }
    place.advance(1000 * STEPS as u64);
    // Each of them makes every step that it sees.
    let steppers = stores.iter().map(|store| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut made = 0;
            loop {
                let agenda = store.schedule_agenda(&[]).await.unwrap();
                if agenda.due.is_empty() {
                    return made;
                }
                let due = agenda.due.iter();
                let steps = due.map(|one| step(one, one.due.unwrap()).into());
                let outcomes = store.change_schedules(steps.collect()).await.unwrap();
                let outcomes = outcomes.iter();
                made += outcomes
                    .filter(|one| matches!(one, ScheduleOutcome::Done(_)))
                    .count();
            }
        })
    });
    let mut made = 0;
    for stepper in steppers.collect::<Vec<_>>() {
        made += stepper.await.unwrap();
    }
    assert_eq!(made, NAMES.len() * STEPS as usize);
    let tasks = stores[1].usage("ana").await.unwrap().0.tasks;
    assert_eq!(tasks, NAMES.len() as i64 * STEPS);
    assert_eq!(stores[2].check().await.unwrap(), [""; 0]);
}

async fn a_name_server_is_told_of_a_schedule_that_another_one_adds(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut hints = other.hints();
    add(&one, new("s")).await;
    // Over a file there is no more than a hint that something has changed.
    let mut told = async || loop {
        match hints.next().await {
            Some(Hint::Schedules | Hint::Anything) => return true,
            Some(_) => {}
            None => return false,
        }
    };
    assert!(tokio::time::timeout(PATIENCE, told()).await.unwrap());
    let found = async || other.schedule("s").await.unwrap();
    eventually(found, |found| found.is_some()).await;
}
