//! The value of a limit as text, and a change of it.

use super::{Limit, LimitUnit, UNLIMITED};
use std::{fmt, str::FromStr};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitClass;

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
}
