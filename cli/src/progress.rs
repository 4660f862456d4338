//! Progress bars, on standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    ops::Deref,
    time::Duration,
};

/// A progress bar that is removed when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of this length, or of an unknown one.
    pub(crate) fn new(length: Option<u64>, template: &str) -> Self {
        let bar = Self::hidden(length);
        bar.show(template);
        bar
    }

    /// A bar that is not shown yet. Its time begins.
    pub(crate) fn hidden(length: Option<u64>) -> Self {
        let hidden = ProgressDrawTarget::hidden();
        Self(ProgressBar::with_draw_target(length, hidden))
    }

    /// Shows the bar, if standard error is a terminal.
    pub(crate) fn show(&self, template: &str) {
        if !io::stderr().is_terminal() {
            return;
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.set_style(style);
        }
        if self.is_hidden() {
            self.set_draw_target(ProgressDrawTarget::stderr());
            self.enable_steady_tick(Duration::from_millis(100));
        }
    }
}

impl Deref for Bar {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish_and_clear();
    }
}
