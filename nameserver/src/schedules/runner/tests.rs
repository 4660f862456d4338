//! What one look does at most, and what it leaves out.

use super::{super::fixture::schedule, *};

/// How many of 100 steps are made in one look, if each has so many tasks with so many bytes.
fn made(tasks: usize, bytes: usize) -> usize {
    let mut step = unchanged(&schedule());
    let task = NewStoredTask::new("o", "m", vec![b' '; bytes]);
    step.tasks = vec![(task, 0); tasks];
    let planned = std::iter::repeat_with(|| (step.clone(), None)).take(100);
    within_budget(planned).len()
}

#[test]
fn a_look_submits_a_bounded_number_of_tasks_and_bytes() {
    assert_eq!(made(1, 0), 100);
    assert_eq!(made(100, 2), 10);
    // 100 tasks of 64 KiB are 6.5 MB.
    assert_eq!(made(100, 64 << 10), 3);
    assert_eq!(made(0, 0), 100);
}

#[test]
fn what_cannot_be_read_is_left_out_until_the_next_try() {
    let mut unreadable = Unreadable::default();
    let begun = Instant::now();
    unreadable.add(&schedule(), "no such zone", begun);
    assert_eq!(unreadable.left_out(begun), [7]);
    assert_eq!(unreadable.left_out(begun + UNREADABLE_PAUSE), [0; 0]);
    // It is known, so that it is not logged again, and forgotten if it is not found again.
    assert_eq!(unreadable.0.len(), 1);
    unreadable.left_out(begun + 2 * UNREADABLE_PAUSE);
    assert_eq!(unreadable.0.len(), 0);
}
