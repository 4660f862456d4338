//! How calls are spread over instances: the choice of the user. The balancer carries it out.

use std::{fmt, str::FromStr};

/// How calls are spread over instances.
///
/// ```
/// use pyroxene_client::Policy;
///
/// assert_eq!(Policy::default(), Policy::LeastLoaded);
/// assert_eq!("round-robin".parse(), Ok(Policy::RoundRobin));
/// let error = "fastest".parse::<Policy>().unwrap_err();
/// assert_eq!(error.to_string(), "'fastest' is not a policy; expected round-robin or least-loaded");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each instance in turn.
    RoundRobin,
    /// The instance with the lowest cost: its average latency times its calls in flight, and more if it
    /// returns errors. Among many instances, the better of two random ones.
    #[default]
    LeastLoaded,
}

/// A text that is not the name of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a policy; expected round-robin or least-loaded")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "round-robin" => Ok(Self::RoundRobin),
            "least-loaded" => Ok(Self::LeastLoaded),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
        })
    }
}
