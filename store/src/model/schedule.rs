//! Schedules as the store takes and returns them.

use super::{Allowance, NewStoredTask, Quota, StoredTaskId, UnixMillis};
use serde::{Deserialize, Serialize};

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSchedule {
    /// Its name.
    pub name: String,
    /// Differs from those of all other schedules, also of earlier ones with this name.
    pub id: i64,
    /// The user whose tasks it makes.
    pub submitter: String,
    /// The role that the submitter's certificate names, if no users file lists the submitter.
    pub certificate_role: Option<String>,
    /// Grows with every change.
    pub revision: i64,
    /// Whether its due times pass without a task.
    pub paused: bool,
    /// When it was added.
    pub created: UnixMillis,
    /// The last due time that was dealt with, or the moment up to which there was none.
    pub handled: UnixMillis,
    /// The next due time; `None` if there is no further one.
    pub due: Option<UnixMillis>,
    /// Due times whose tasks wait for the end of the last task.
    pub waiting: Vec<UnixMillis>,
    /// The due time of its last task.
    pub last: Option<UnixMillis>,
    /// Its last task.
    pub last_task: Option<StoredTaskId>,
    /// Whether the last task has not ended. It is not exported.
    #[serde(skip)]
    pub is_open: bool,
    /// Why the last due time has no task.
    pub problem: Option<String>,
    /// What was asked for, as the name servers write it.
    pub definition: String,
}

/// A schedule to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStoredSchedule {
    /// Its name.
    pub name: String,
    /// The user whose tasks it makes.
    pub submitter: String,
    /// The role that the submitter's certificate names, if no users file lists the submitter.
    pub certificate_role: Option<String>,
    /// What was asked for.
    pub definition: String,
    /// The moment from which on it has due times.
    pub from: UnixMillis,
    /// The first due time.
    pub due: UnixMillis,
    /// How many schedules the submitter may have with this one.
    pub most: i64,
    /// How many schedules all submitters together may have with this one.
    pub most_of_all: i64,
}

/// Which state of a schedule a change is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleVersion {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: i64,
    /// Its revision; `None` if the change is meant for any.
    pub revision: Option<i64>,
}

impl StoredSchedule {
    /// The schedule in its present state.
    pub fn version(&self) -> ScheduleVersion {
        ScheduleVersion {
            revision: Some(self.revision),
            ..self.any_version()
        }
    }

    /// The schedule in any state.
    pub fn any_version(&self) -> ScheduleVersion {
        ScheduleVersion {
            name: self.name.clone(),
            id: self.id,
            revision: None,
        }
    }
}

/// A step of a schedule: tasks that it submits, and its next due time, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleStep {
    /// Which schedule. The step is not made if the schedule has changed since.
    pub of: ScheduleVersion,
    /// The tasks, each with the due time that it is for. If some are refused, the step is made with the others; if all
    /// are, it is not made.
    pub tasks: Vec<(NewStoredTask, UnixMillis)>,
    /// Whether somebody asked for the tasks. Then they do not count as the last task while that one has not ended, so that
    /// due times go on waiting for it.
    pub by_hand: bool,
    /// What the submitter may have with these tasks.
    pub allowance: Allowance,
    /// The last due time that is dealt with.
    pub handled: UnixMillis,
    /// The next due time.
    pub due: Option<UnixMillis>,
    /// Due times whose tasks wait.
    pub waiting: Vec<UnixMillis>,
    /// Why the last due time has no task.
    pub problem: Option<String>,
}

impl From<ScheduleStep> for ScheduleChange {
    fn from(step: ScheduleStep) -> Self {
        Self::Step(Box::new(step))
    }
}

/// A change of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleChange {
    /// Adds it.
    Add(NewStoredSchedule),
    /// Submits tasks.
    Step(Box<ScheduleStep>),
    /// Lets due times pass.
    Pause(ScheduleVersion),
    /// Goes on: due times up to a moment have passed.
    Resume {
        /// Which schedule.
        of: ScheduleVersion,
        /// The moment.
        handled: UnixMillis,
        /// The first due time after it.
        due: Option<UnixMillis>,
    },
    /// Removes it. Its tasks stay.
    Remove(ScheduleVersion),
}

/// The result of a change of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleOutcome {
    /// It was made, with these tasks: new ones, and those that had the same key and call before.
    Done(Vec<StoredTaskId>),
    /// There is no such schedule, or it has changed.
    Changed,
    /// There is a schedule of this name.
    Exists,
    /// The submitter, or all submitters together, would have too many schedules.
    TooMany {
        /// Whether it is the number of all submitters.
        of_all: bool,
    },
    /// Each of the tasks would exceed this quota.
    TooMuch(Quota),
    /// The submitter has used the key of each task for another call.
    KeyTaken,
}

/// What schedules wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleAgenda {
    /// The time of the store's clock.
    pub now: UnixMillis,
    /// Some of those that have something to do now: as many as one answer has, or all.
    pub due: Vec<StoredSchedule>,
    /// The next due time of the others.
    pub next: Option<UnixMillis>,
    /// Tasks for whose end a schedule waits.
    pub awaited: Vec<StoredTaskId>,
}
