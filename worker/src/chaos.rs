//! Simulated faults, for demonstrations and tests.

use std::{str::FromStr, time::Duration};

/// The simulated faults of a worker.
///
/// ```
/// use pyroxene_worker::Chaos;
/// use std::time::Duration;
///
/// let chaos = Chaos {
///     delay: Duration::from_millis(10),
///     crash_after: Some(100),
///     ..Chaos::default()
/// };
/// assert_eq!("delay=10ms,crash-after=100".parse(), Ok(chaos));
/// assert!("fail=2".parse::<Chaos>().is_err(), "the share lies between 0 and 1");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chaos {
    /// Every call takes this much longer.
    pub delay: Duration,
    /// The share of calls that fail, from 0 to 1.
    pub fail: f64,
    /// The process aborts at the call with this number.
    pub crash_after: Option<u64>,
}

/// A text that is not a valid list of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{part}' is not a fault: {why}; expected delay=10ms, fail=0.1 or crash-after=100")]
pub struct InvalidChaos {
    part: String,
    why: String,
}

impl FromStr for Chaos {
    type Err = InvalidChaos;

    /// Reads faults separated by commas, such as `delay=10ms,fail=0.1`.
    fn from_str(text: &str) -> Result<Self, InvalidChaos> {
        let mut chaos = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let invalid = |why: &dyn std::fmt::Display| InvalidChaos {
                part: part.to_owned(),
                why: why.to_string(),
            };
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| invalid(&"there is no '='"))?;
            match name {
                "delay" => {
                    chaos.delay = humantime::parse_duration(value).map_err(|e| invalid(&e))?;
                }
                "fail" => {
                    chaos.fail = value.parse().map_err(|e| invalid(&e))?;
                    if !(0.0..=1.0).contains(&chaos.fail) {
                        return Err(invalid(&"the share lies between 0 and 1"));
                    }
                }
                "crash-after" => {
                    chaos.crash_after = Some(value.parse().map_err(|e| invalid(&e))?);
                }
                _ => return Err(invalid(&"there is no such fault")),
            }
        }
        Ok(chaos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_in_any_order() {
        assert_eq!(
            "crash-after=7, delay=10ms,fail=0.25".parse(),
            Ok(Chaos {
                delay: Duration::from_millis(10),
                fail: 0.25,
                crash_after: Some(7),
            })
        );
        assert_eq!("".parse(), Ok(Chaos::default()));
    }

    #[test]
    fn what_is_no_fault_is_named() {
        for text in [
            "delay",
            "delay=soon",
            "fail=2",
            "explode=1",
            "crash-after=-1",
        ] {
            let error = text.parse::<Chaos>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
