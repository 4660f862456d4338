//! Limits for each user, and for all users together: the list of them, with their defaults.

mod exceeded;
mod overrides;
mod value;

pub use exceeded::{LimitExceeded, LimitOwner};
pub use overrides::{LimitOverrides, Limits};
pub use value::{InvalidLimit, LimitChange};

use crate::identity::{Identity, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The unit of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    /// A number of items.
    Count,
    /// Bytes.
    Bytes,
    /// Items per second; a burst may have ten times as many.
    CountPerSecond,
    /// Bytes per second; a burst may have ten times as many.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// Percent.
    Percent,
}

/// The class of users that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitClass {
    /// One user or observer.
    User,
    /// One admin or worker.
    Trusted,
    /// All callers, where authentication is off.
    Anonymous,
    /// All users of one store, or of one name server, together.
    Total,
}

impl LimitClass {
    /// The class of a caller; `None` where authentication is off.
    pub fn of(caller: Option<&Identity>) -> Self {
        match caller.map(|identity| identity.role) {
            None => Self::Anonymous,
            Some(Role::Admin | Role::Worker) => Self::Trusted,
            Some(Role::User | Role::Observer) => Self::User,
        }
    }
}

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

macro_rules! limits {
    ($($(#[doc = $about:literal])* $variant:ident $name:literal $unit:ident: $user:expr, $trusted:expr, $anonymous:expr, $total:expr;)*) => {
        /// A limit. The names are the same in the users file, in flags and in JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Limit {
            $(
                $(#[doc = $about])*
                #[serde(rename = $name)]
                $variant,
            )*
        }

        impl Limit {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A short description.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),*).trim_ascii(),)* }
            }

            /// The unit of its value.
            pub fn unit(self) -> LimitUnit {
                match self { $(Self::$variant => LimitUnit::$unit,)* }
            }

            /// The default value.
            pub fn default_for(self, class: LimitClass) -> u64 {
                let [user, trusted, anonymous, total] = match self {
                    $(Self::$variant => [$user, $trusted, $anonymous, $total],)*
                };
                match class {
                    LimitClass::User => user,
                    LimitClass::Trusted => trusted,
                    LimitClass::Anonymous => anonymous,
                    LimitClass::Total => total,
                }
            }
        }
    };
}

const GIB: u64 = 1 << 30;
const DAY: u64 = 24 * 60 * 60;

// The defaults: for a user, for an admin or worker, for all callers without authentication, and for all
// together.
limits! {
    /// tasks that wait or run
    Tasks "tasks" Count: 100_000, 1_000_000, 10_000_000, 10_000_000;
    /// tasks in one submission
    TasksPerCall "tasks_per_call" Count: 1_000, 10_000, 10_000, UNLIMITED;
    /// bytes of arguments and results that are kept, and 300 for each task
    TaskBytes "task_bytes" Bytes: 4 * GIB, 64 * GIB, 256 * GIB, 256 * GIB;
    /// the greatest priority of a task; tasks above 1000 run before the tasks of all other users
    Priority "priority" Count: 1_000, UNLIMITED, UNLIMITED, UNLIMITED;
    /// how long an attempt at a task may be allowed to run
    RunTime "run_time" Seconds: DAY, 365 * DAY, 365 * DAY, UNLIMITED;
    /// the share of an object's capacity that the tasks of one user may use
    Share "share" Percent: 75, 75, 100, 100;
    /// connections to a name server
    Connections "connections" Count: 1_000, 10_000, UNLIMITED, UNLIMITED;
    /// calls that wait for changes of tasks, topics and revocations
    Polls "polls" Count: 10_000, 50_000, 100_000, 200_000;
    /// calls that wait for changes of the directory
    Watches "watches" Count: 10_000, 50_000, 90_000, 100_000;
    /// entries that are added to topics
    TopicEntries "topic_entries" CountPerSecond: 1_000, 20_000, UNLIMITED, UNLIMITED;
    /// bytes that are added to topics
    TopicBytes "topic_bytes" BytesPerSecond: 1 << 20, 64 << 20, UNLIMITED, UNLIMITED;
    /// messages that are said in chats
    ChatMessages "chat_messages" CountPerSecond: 10, 1_000, 10_000, UNLIMITED;
    /// bytes of messages that are said in chats
    ChatBytes "chat_bytes" BytesPerSecond: 16 << 10, 1 << 20, 64 << 20, UNLIMITED;
    /// schedules
    Schedules "schedules" Count: 100, 1_000, 10_000, 10_000;
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
