//! Limits for each user, and for all users together.

use crate::identity::{Identity, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{collections::BTreeMap, fmt, str::FromStr};

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
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not a limit, or not the value of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// There is no limit of that name.
    #[error("'{}' is not a limit; there are {}", .0, names())]
    Name(String),
    /// The value is not valid.
    #[error("'{value}' is not a value for the limit '{limit}': {why}")]
    Value {
        /// The limit.
        limit: Limit,
        /// The value.
        value: String,
        /// The expected form.
        why: &'static str,
    },
    /// The text is not `NAME=VALUE`.
    #[error("'{0}' is not NAME=VALUE")]
    Form(String),
}

fn names() -> String {
    Limit::ALL.map(Limit::name).join(", ")
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        Self::ALL
            .into_iter()
            .find(|limit| limit.name() == text)
            .ok_or_else(|| InvalidLimit::Name(text.chars().take(64).collect()))
    }
}

/// A change of one limit: `tasks=1000`, `task_bytes=1GiB`, `tasks=unlimited` or `tasks=default`.
///
/// ```
/// use pyroxene_common::limits::{Limit, LimitChange, UNLIMITED};
///
/// let change: LimitChange = "task_bytes=2GiB".parse()?;
/// assert_eq!((change.limit, change.value), (Limit::TaskBytes, Some(2 << 30)));
/// assert_eq!("tasks=unlimited".parse::<LimitChange>()?.value, Some(UNLIMITED));
/// assert_eq!("tasks=default".parse::<LimitChange>()?.value, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitChange {
    /// Which one.
    pub limit: Limit,
    /// The new value; `None` for the default.
    pub value: Option<u64>,
}

impl FromStr for LimitChange {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| InvalidLimit::Form(text.chars().take(64).collect()))?;
        let limit: Limit = name.trim().parse()?;
        let value = value.trim();
        if value == "default" {
            return Ok(Self { limit, value: None });
        }
        let value = limit.parse(value)?;
        Ok(Self {
            limit,
            value: Some(value),
        })
    }
}

impl fmt::Display for LimitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            None => write!(f, "{}=default", self.limit),
            Some(UNLIMITED) => write!(f, "{}=unlimited", self.limit),
            Some(value) => write!(f, "{}={value}", self.limit),
        }
    }
}

const BYTE_UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Limit {
    /// Parses a value in the form that [`display_value`](Self::display_value) writes, without its `/s`, `s` or `%`.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit::Value`].
    pub fn parse(self, value: &str) -> Result<u64, InvalidLimit> {
        let why = match self.unit() {
            LimitUnit::Bytes | LimitUnit::BytesPerSecond => {
                "it is a number of bytes, KiB, MiB, GiB or TiB, or 'unlimited'"
            }
            LimitUnit::Seconds => "it is a number of seconds, or 'unlimited'",
            LimitUnit::Percent => "it is a number of percent from 1 to 100",
            LimitUnit::Count | LimitUnit::CountPerSecond => "it is a number, or 'unlimited'",
        };
        let number = match self.unit() {
            _ if value == "unlimited" => Some(UNLIMITED),
            LimitUnit::Bytes | LimitUnit::BytesPerSecond => BYTE_UNITS
                .iter()
                .find_map(|(unit, power)| Some((value.strip_suffix(unit)?, *power)))
                .or(Some((value, 0)))
                .and_then(|(number, power)| {
                    let number: u64 = number.trim_end().parse().ok()?;
                    number.checked_mul(1 << power)
                }),
            _ => value.parse().ok(),
        };
        let in_range = |number: &u64| match self.unit() {
            LimitUnit::Percent => (1..=100).contains(number),
            // TOML has no larger integers.
            _ => *number == UNLIMITED || i64::try_from(*number).is_ok(),
        };
        number.filter(in_range).ok_or_else(|| InvalidLimit::Value {
            limit: self,
            value: value.chars().take(64).collect(),
            why,
        })
    }

    /// A value as people read it, such as `1000`, `4GiB`, `75%` or `unlimited`.
    ///
    /// ```
    /// use pyroxene_common::limits::{Limit, UNLIMITED};
    ///
    /// assert_eq!(Limit::TaskBytes.display_value(4 << 30), "4GiB");
    /// assert_eq!(Limit::ChatMessages.display_value(10), "10/s");
    /// assert_eq!(Limit::Tasks.display_value(UNLIMITED), "unlimited");
    /// ```
    pub fn display_value(self, value: u64) -> String {
        if value == UNLIMITED {
            return "unlimited".to_owned();
        }
        let bytes = || {
            let unit = BYTE_UNITS
                .iter()
                .find(|(_, power)| value >= 1 << power && value.is_multiple_of(1 << power));
            match unit {
                Some((unit, power)) => format!("{}{unit}", value >> power),
                None => value.to_string(),
            }
        };
        match self.unit() {
            LimitUnit::Count => value.to_string(),
            LimitUnit::CountPerSecond => format!("{value}/s"),
            LimitUnit::Bytes => bytes(),
            LimitUnit::BytesPerSecond => format!("{}/s", bytes()),
            LimitUnit::Seconds => format!("{value}s"),
            LimitUnit::Percent => format!("{value}%"),
        }
    }
}

/// A user's limits that differ from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides(BTreeMap<Limit, u64>);

impl LimitOverrides {
    /// Whether all limits have their defaults.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies a change.
    pub fn change(&mut self, change: LimitChange) {
        match change.value {
            Some(value) => self.0.insert(change.limit, value),
            None => self.0.remove(&change.limit),
        };
    }

    /// All overridden limits.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        self.0.iter().map(|(limit, value)| (*limit, *value))
    }

    /// The overridden value of one limit.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).copied()
    }
}

impl FromIterator<LimitChange> for LimitOverrides {
    fn from_iter<I: IntoIterator<Item = LimitChange>>(changes: I) -> Self {
        let mut overrides = Self::default();
        changes
            .into_iter()
            .for_each(|change| overrides.change(change));
        overrides
    }
}

/// A number, or `"unlimited"`, for which TOML has no number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LimitValue {
    Number(u64),
    Text(String),
}

impl Serialize for LimitOverrides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(limit, value)| {
            let written = match value {
                UNLIMITED => LimitValue::Text(limit.display_value(value)),
                value => LimitValue::Number(value),
            };
            (limit, written)
        }))
    }
}

impl<'de> Deserialize<'de> for LimitOverrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<Limit, LimitValue>::deserialize(deserializer)?;
        let read = |(limit, written): (Limit, LimitValue)| {
            let text = match written {
                LimitValue::Number(number) => number.to_string(),
                LimitValue::Text(text) => text,
            };
            let value = limit.parse(&text).map_err(D::Error::custom)?;
            Ok((limit, value))
        };
        let read: Result<_, D::Error> = written.into_iter().map(read).collect();
        Ok(Self(read?))
    }
}

/// A user's limits: one value for each limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

impl Limits {
    /// The defaults for a class of users.
    pub fn of(class: LimitClass) -> Self {
        Self(Limit::ALL.map(|limit| limit.default_for(class)))
    }

    /// These limits, with the overrides applied.
    ///
    /// ```
    /// use pyroxene_common::limits::{LimitClass, Limit, LimitChange, LimitOverrides, Limits};
    ///
    /// let overrides: LimitOverrides = ["tasks=500".parse::<LimitChange>()?].into_iter().collect();
    /// let defaults = Limits::of(LimitClass::User);
    /// let limits = defaults.with(&overrides);
    /// assert_eq!(limits.get(Limit::Tasks), 500);
    /// assert_eq!(limits.get(Limit::Share), defaults.get(Limit::Share));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with(self, overrides: &LimitOverrides) -> Self {
        Self(Limit::ALL.map(|limit| overrides.get(limit).unwrap_or(self.get(limit))))
    }

    /// The value of one.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or(UNLIMITED)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(self.0)
    }
}

/// A request would exceed a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: the limit '{limit}' of {user} is {} ({})", limit.display_value(*value), limit.about())]
pub struct LimitExceeded {
    /// Which one.
    pub limit: Limit,
    /// The value of the limit.
    pub value: u64,
    /// The owner of the limit.
    pub user: LimitOwner,
}

/// The owner of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOwner {
    /// A user's.
    User(String),
    /// That of all callers, where authentication is off.
    Anonymous,
    /// That of all users together.
    Everybody,
}

impl fmt::Display for LimitOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user '{name}'"),
            Self::Anonymous => f.write_str("users without a name"),
            Self::Everybody => f.write_str("all users together"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_shown() {
        for limit in Limit::ALL {
            assert_eq!(limit.name().parse(), Ok(limit));
            for class in [
                LimitClass::User,
                LimitClass::Trusted,
                LimitClass::Anonymous,
                LimitClass::Total,
            ] {
                let value = limit.default_for(class);
                let shown = limit.display_value(value);
                let plain = shown.trim_end_matches("/s").trim_end_matches(['%', 's']);
                assert_eq!(limit.parse(plain), Ok(value), "{limit} {shown}");
            }
        }
        assert_eq!(Limit::TaskBytes.display_value(4 << 30), "4GiB");
        assert_eq!(Limit::TaskBytes.display_value((1 << 30) + 1), "1073741825");
        assert_eq!(Limit::ChatBytes.display_value(16 << 10), "16KiB/s");
    }

    #[test]
    fn what_is_no_limit_says_what_there_is() {
        let error = "task=1".parse::<LimitChange>().unwrap_err().to_string();
        assert!(error.contains("tasks, tasks_per_call"), "{error}");
        for wrong in [
            "tasks",
            "tasks=",
            "tasks=-1",
            "tasks=1KiB",
            "share=0",
            "share=101",
        ] {
            assert!(wrong.parse::<LimitChange>().is_err(), "{wrong}");
        }
        let error = "task_bytes=9999999TiB".parse::<LimitChange>().unwrap_err();
        assert!(error.to_string().contains("a number of bytes"), "{error}");
    }

    #[test]
    fn changes_make_overrides_which_are_written_and_read() {
        let changes = ["tasks=5", "task_bytes=1GiB", "polls=unlimited", "tasks=7"];
        let changes = changes.map(|text| text.parse::<LimitChange>().unwrap());
        for change in changes {
            assert_eq!(change.to_string().parse(), Ok(change));
        }
        let mut overrides: LimitOverrides = changes.into_iter().collect();
        let json = serde_json::to_string(&overrides).unwrap();
        let expected = r#"{"tasks":7,"task_bytes":1073741824,"polls":"unlimited"}"#;
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_str::<LimitOverrides>(&json).unwrap(),
            overrides
        );
        let limits = Limits::of(LimitClass::User).with(&overrides);
        assert_eq!(limits.get(Limit::Tasks), 7);
        assert_eq!(limits.get(Limit::Polls), UNLIMITED);
        assert_eq!(limits.get(Limit::Share), 75);
        overrides.change("tasks=default".parse().unwrap());
        assert_eq!(overrides.get(Limit::Tasks), None);
        assert!(serde_json::from_str::<LimitOverrides>(r#"{"task":1}"#).is_err());
        assert!(serde_json::from_str::<LimitOverrides>(r#"{"share":0}"#).is_err());
    }

    #[test]
    fn what_goes_beyond_a_limit_names_it_its_value_and_the_user() {
        let exceeded = LimitExceeded {
            limit: Limit::Tasks,
            value: 100_000,
            user: LimitOwner::User("ana".to_owned()),
        };
        assert_eq!(
            exceeded.to_string(),
            "refused: the limit 'tasks' of user 'ana' is 100000 (tasks that wait or run)"
        );
    }
}
