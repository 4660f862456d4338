//! The limits of one user: the defaults of the user's class, and what differs from them.

use super::{Limit, LimitChange, LimitClass, UNLIMITED};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::collections::BTreeMap;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
