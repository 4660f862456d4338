//! A request beyond a limit.

use super::Limit;
use std::fmt;

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
