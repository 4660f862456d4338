//! The progress bar over an input of lines.

use crate::progress::Bar;
use std::io::{self, IsTerminal};

pub(in crate::commands) struct InputProgressBar {
    bar: Bar,
    /// Whether results go to a terminal too. Then the bar is hidden while they are written.
    shared: bool,
}

impl InputProgressBar {
    /// A bar over a file of `size` bytes, or a spinner.
    pub(in crate::commands) fn new(size: Option<u64>) -> Self {
        let template = match size {
            Some(_) => "{bar:30} {percent}% · {msg} · {elapsed} · {eta} left",
            None => "{spinner} {msg} · {elapsed}",
        };
        Self {
            bar: Bar::new(size, template),
            shared: io::stdout().is_terminal(),
        }
    }

    /// Shows what is done, up to byte `end` of the input.
    pub(in crate::commands) fn advance(&self, done: &str, end: u64) {
        self.bar.set_position(end);
        self.bar.set_message(done.to_owned());
    }

    /// Runs `write`, which may write to the terminal, with the bar hidden.
    pub(in crate::commands) fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.shared {
            true => self.bar.suspend(write),
            false => write(),
        }
    }
}
