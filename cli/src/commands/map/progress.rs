//! The progress bar of `map`, on standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// A progress bar, or none.
pub(super) struct MapProgressBar {
    bar: Option<ProgressBar>,
    /// Whether results go to a terminal too. Then the bar is hidden while they are written.
    shared: bool,
}

impl MapProgressBar {
    /// A bar over a file of `size` bytes, or a spinner.
    pub(super) fn new(size: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
            let template = match size {
                Some(_) => "{bar:30} {percent}% · {msg} · {elapsed} · {eta} left",
                None => "{spinner} {msg} · {elapsed}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            shared: io::stdout().is_terminal(),
        }
    }

    /// Shows that this number of lines is done, up to byte `end` of the input.
    pub(super) fn advance(&self, lines: u64, end: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(end);
            bar.set_message(format!("{lines} lines"));
        }
    }

    /// Runs `write`, which may write to the terminal, with the bar hidden.
    pub(super) fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) if self.shared => bar.suspend(write),
            _ => write(),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
