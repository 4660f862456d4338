//! A schedule for tests.

use pyroxene_store::StoredSchedule;

/// A schedule of nobody that was never due.
pub(super) fn schedule() -> StoredSchedule {
    StoredSchedule {
        name: "s".to_owned(),
        id: 7,
        submitter: String::new(),
        certificate_role: None,
        revision: 1,
        paused: false,
        created: 0,
        handled: 0,
        due: Some(0),
        waiting: Vec::new(),
        last: None,
        last_task: None,
        is_open: false,
        problem: None,
        definition: String::new(),
    }
}
