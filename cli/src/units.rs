//! Values of flags with a unit: durations and sizes.

use pyroxene_common::wire::GREATEST_MAX_MESSAGE;
use std::{fmt, time::Duration};

/// Parses a duration such as `10s` or `250ms`. The longest is a year, so that it can be added to a time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST {
        return Err("it is longer than a year".to_owned());
    }
    Ok(duration)
}

/// How long a daemon retries at its start after a temporary problem; `None` means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartTimeout(pub(crate) Option<Duration>);

impl fmt::Display for StartTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => humantime::format_duration(time).fmt(f),
            None => f.write_str("forever"),
        }
    }
}

/// Parses a duration, or `forever`.
pub(crate) fn start_timeout(text: &str) -> Result<StartTimeout, String> {
    match text {
        "forever" => Ok(StartTimeout(None)),
        _ => duration(text).map(|time| StartTimeout(Some(time))),
    }
}

/// Parses a number of bytes such as `4096`, `64KiB` or `1GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];
    let unit = UNITS.iter().find_map(|(unit, power)| {
        let number = text.strip_suffix(unit)?;
        Some((number.trim_end(), power))
    });
    let (number, power) = unit.unwrap_or((text, &0));
    let number: u64 = number
        .parse()
        .map_err(|error| format!("it is not a number of bytes, KiB, MiB, GiB or TiB: {error}"))?;
    let bytes = number.checked_mul(1 << power);
    bytes.ok_or_else(|| "it is too large".to_owned())
}

/// Parses the largest size of a message, like [`size`].
pub(crate) fn message_size(text: &str) -> Result<usize, String> {
    /// Hellos and heartbeats must fit.
    const LEAST: usize = 16 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    if (LEAST..=GREATEST_MAX_MESSAGE).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "it is not between {LEAST} and {GREATEST_MAX_MESSAGE} bytes"
    ))
}

/// Parses the amount of memory for messages.
pub(crate) fn message_memory(text: &str) -> Result<usize, String> {
    /// With less memory hardly two large messages would fit at once.
    const LEAST: usize = 1024 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match bytes >= LEAST {
        true => Ok(bytes),
        false => Err("it is less than 1 MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nothing_could_hold_are_refused() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("1000000y").is_err());
        assert!(duration("10").is_err());
        assert_eq!(start_timeout("forever"), Ok(StartTimeout(None)));
        assert_eq!(start_timeout("0s"), Ok(StartTimeout(Some(Duration::ZERO))));
        assert!(start_timeout("ever").is_err());
        assert_eq!(message_size("1048576"), Ok(1_048_576));
        assert_eq!(message_size("2GiB"), Ok(2 << 30));
        for text in ["1", "99999999999999", "4GiB", "-1", "64M"] {
            assert!(message_size(text).is_err(), "{text}");
        }
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1 GiB"), Ok(1 << 30));
        for text in ["", "GiB", "-1", "1.5GiB", "1GB", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
