//! The bounds of everything that is read from a peer.

/// How deeply values may be nested. Python's own parser of literals stops at about the same depth.
pub const MAX_DEPTH: usize = 128;

/// The most digits of an integer, which is Python's own limit.
pub const MAX_DIGITS: usize = 4300;

/// The most values in one message: a value of two bytes takes about twenty times as much memory.
pub const MAX_VALUES: usize = 4 << 20;

/// The most annotations of one message.
pub const MAX_ANNOTATIONS: usize = 64;

/// The most calls in one batch.
pub const MAX_BATCH: usize = 100_000;

/// Counts the values and the depth of a message while it is read.
#[derive(Debug)]
pub struct ReadBudget {
    values: usize,
    depth: usize,
}

impl Default for ReadBudget {
    fn default() -> Self {
        Self {
            values: MAX_VALUES,
            depth: MAX_DEPTH,
        }
    }
}

impl ReadBudget {
    /// Counts `count` more values.
    ///
    /// # Errors
    ///
    /// A message, when there are too many.
    pub fn take(&mut self, count: usize) -> Result<(), String> {
        match self.values.checked_sub(count) {
            Some(left) => {
                self.values = left;
                Ok(())
            }
            None => Err(format!("the message has more than {MAX_VALUES} values")),
        }
    }

    /// Enters a container.
    ///
    /// # Errors
    ///
    /// A message, when it is nested too deeply.
    pub fn enter(&mut self) -> Result<(), String> {
        match self.depth.checked_sub(1) {
            Some(left) => {
                self.depth = left;
                Ok(())
            }
            None => Err(format!("values are nested deeper than {MAX_DEPTH} levels")),
        }
    }

    /// Leaves a container.
    pub fn leave(&mut self) {
        self.depth += 1;
    }
}

/// Checks the number of digits of an integer.
///
/// # Errors
///
/// A message, when there are too many.
pub fn check_digits(digits: usize) -> Result<(), String> {
    match digits <= MAX_DIGITS {
        true => Ok(()),
        false => Err(format!(
            "an integer has {digits} digits, the limit is {MAX_DIGITS}"
        )),
    }
}
