//! The progress bar of `map`.

use crate::progress::Bar;
use std::io::{self, IsTerminal};

pub(super) struct MapProgressBar {
    bar: Bar,
    /// Whether results go to a terminal too. Then the bar is hidden while they are written.
    shared: bool,
}

impl MapProgressBar {
    /// A bar over a file of `size` bytes, or a spinner.
    pub(super) fn new(size: Option<u64>) -> Self {
        let template = match size {
            Some(_) => "{bar:30} {percent}% · {msg} · {elapsed} · {eta} left",
            None => "{spinner} {msg} · {elapsed}",
        };
        Self {
            bar: Bar::new(size, template),
            shared: io::stdout().is_terminal(),
        }
    }

    /// Shows that this number of lines is done, up to byte `end` of the input.
    pub(super) fn advance(&self, lines: u64, end: u64) {
        self.bar.set_position(end);
        self.bar.set_message(format!("{lines} lines"));
    }

    /// Runs `write`, which may write to the terminal, with the bar hidden.
    pub(super) fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.shared {
            true => self.bar.suspend(write),
            false => write(),
        }
    }
}
