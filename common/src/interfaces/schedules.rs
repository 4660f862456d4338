//! Schedules: calls that become tasks at the times of a cron pattern. Every name server with a store hosts this object
//! under the name [`OBJECT`].

use super::tasks::{Submission, Task, TaskId, TasksError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The name of the schedules object on a name server.
pub const OBJECT: &str = "schedules";

/// The most bytes of a schedule's name.
pub const MAX_NAME: usize = 200;

/// The most bytes of a cron pattern, and of the name of a time zone.
pub const MAX_CRON: usize = 200;

/// The most bytes of a schedule's arguments.
pub const MAX_ARGUMENTS: usize = 64 << 10;

/// The greatest jitter, in milliseconds: a day.
pub const MAX_JITTER_MS: u64 = 24 * 60 * 60 * 1000;

/// If the oldest due time that has no task passed longer than this before the name server that finds it began to look at the
/// schedules, the name servers were away: the due times before that are missed ones. A longer gap between two looks is a new
/// beginning. In milliseconds.
pub const MISSED_AFTER_MS: u64 = 5000;

/// How many missed due times get tasks with [`MissedPolicy::CatchUp`], and how many due times wait with
/// [`OverlapPolicy::Queue`]. Further ones pass.
pub const MAX_CATCH_UP: usize = 100;

crate::interface! {
    /// Schedules.
    #[name = "pyroxene.Schedules"]
    #[version = 1]
    pub trait Schedules in schedules {
        /// Adds a schedule. It is on disk then. The same one again changes nothing; another one of the same name is an error.
        #[idempotent]
        async fn add(schedule: Box<NewSchedule>) -> Result<Schedule, SchedulesError>;
        /// Up to 100 schedules that the caller may see, after the name `after`, in the order of names.
        #[idempotent]
        async fn list(after: String) -> Result<Vec<Schedule>, SchedulesError>;
        /// A schedule, with its last tasks.
        #[idempotent]
        async fn show(name: String) -> Result<ScheduleHistory, SchedulesError>;
        /// Lets due times pass without a task. Tasks that were submitted before are not affected.
        #[idempotent]
        async fn pause(name: String) -> Result<Schedule, SchedulesError>;
        /// Goes on with the next due time. Those that passed meanwhile count as neither missed nor late.
        #[idempotent]
        async fn resume(name: String) -> Result<Schedule, SchedulesError>;
        /// Submits a task now, whether or not the schedule is paused or its last task has ended. Two requests with the same
        /// key are one task.
        #[idempotent]
        async fn run_now(name: String, key: String) -> Result<TaskId, SchedulesError>;
        /// Removes a schedule. Its tasks stay.
        #[idempotent]
        async fn remove(name: String) -> Result<(), SchedulesError>;
    }
}

/// Declares a policy: its values with their names in flags and in JSON.
macro_rules! policy {
    ($(#[$about:meta])* $policy:ident: $($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $policy {
            $($(#[$doc])* $variant,)*
        }

        impl $policy {
            /// All of them, the default first.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in flags and JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $policy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $policy {
            type Err = UnknownPolicy;

            fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
                let found = Self::ALL.into_iter().find(|policy| policy.name() == text);
                found.ok_or_else(|| UnknownPolicy {
                    text: text.chars().take(64).collect(),
                    known: [$($name),*].join(", "),
                })
            }
        }
    };
}

/// A text that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not one of {known}")]
pub struct UnknownPolicy {
    text: String,
    known: String,
}

policy! {
    /// What becomes of due times that passed while no name server was there: see [`MISSED_AFTER_MS`].
    MissedPolicy:
    /// All of them together get one task.
    #[default]
    RunOnce "run-once",
    /// None of them gets a task.
    Skip "skip",
    /// Each of them gets a task: the first [`MAX_CATCH_UP`].
    CatchUp "catch-up",
}

policy! {
    /// What becomes of a due time while the schedule's last task has not ended.
    OverlapPolicy:
    /// It gets its task.
    #[default]
    Allow "allow",
    /// It gets no task.
    Skip "skip",
    /// It gets its task once the last one has ended. Up to [`MAX_CATCH_UP`] due times wait.
    Queue "queue",
}

/// A schedule to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewSchedule {
    /// Its name, of 1 to 200 bytes. No other schedule of the store has it.
    pub name: String,
    /// The cron pattern: minute, hour, day of the month, month, day of the week; with six fields the first is the second,
    /// and with seven the last is the year. Or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    pub cron: String,
    /// The time zone of the pattern, such as `UTC` or `Europe/Berlin`.
    pub time_zone: String,
    /// Each task starts up to this long after its due time, in milliseconds.
    pub jitter_ms: u64,
    /// What becomes of due times that passed while no name server was there.
    pub missed: MissedPolicy,
    /// What becomes of a due time while the last task has not ended.
    pub overlap: OverlapPolicy,
    /// The call, and how it runs. It has neither a delay nor a key.
    pub task: Submission,
}

/// A schedule. Times are milliseconds since 1970, by the store's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// What was asked for. An observer sees the arguments only if the users file allows it the object; to others they are
    /// empty.
    pub definition: NewSchedule,
    /// The user whose tasks it makes; empty where authentication is off.
    pub submitter: String,
    /// When it was added.
    pub created_ms: u64,
    /// Whether its due times pass without a task.
    pub paused: bool,
    /// Its next due time; `None` while it is paused, or if there is no further one.
    pub next_ms: Option<u64>,
    /// The due time of its last task, or the time when that was asked for by hand.
    pub last_ms: Option<u64>,
    /// Its last task.
    pub last_task: Option<TaskId>,
    /// How many due times wait for the end of the last task.
    pub waiting: u32,
    /// Why the last due time has no task.
    pub problem: Option<String>,
}

/// A schedule and its last tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleHistory {
    /// The schedule.
    pub schedule: Schedule,
    /// Its last ten tasks, the latest first, without arguments and results.
    pub tasks: Vec<Task>,
}

/// Why the schedules object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum SchedulesError {
    /// There is no such schedule.
    #[error("there is no schedule '{name}'")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There is another schedule of this name.
    #[error("there is another schedule '{name}'; remove it first, or choose another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// As for tasks.
    #[error(transparent)]
    Tasks(#[from] TasksError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_named() {
        for policy in MissedPolicy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
            let json = serde_json::to_string(&policy).unwrap();
            assert_eq!(json, format!("\"{policy}\""));
        }
        for policy in OverlapPolicy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        let error = "never".parse::<MissedPolicy>().unwrap_err().to_string();
        assert_eq!(error, "'never' is not one of run-once, skip, catch-up");
        assert_eq!(MissedPolicy::ALL[0], MissedPolicy::default());
        assert_eq!(OverlapPolicy::ALL[0], OverlapPolicy::default());
    }
}
