//! The progress bar of distributed work, on standard error if that is a terminal.

use crate::failure::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pyroxene_objects::distributed::DistributedProgress;
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// A progress bar, or none.
pub(super) struct DistributedProgressBar(Option<ProgressBar>);

impl DistributedProgressBar {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{bar:30} {percent}% · {msg} · {elapsed} · {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self(bar)
    }

    /// The listener that shows the progress of the work.
    pub(super) fn listener(&self) -> impl Fn(DistributedProgress) + Send + Sync + 'static {
        let bar = self.0.clone();
        move |progress| {
            if let Some(bar) = &bar {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(message(progress));
            }
        }
    }

    /// Writes a note above the bar.
    pub(super) fn note(&self, sentence: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| note(sentence)),
            None => note(sentence),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for DistributedProgressBar {
    fn drop(&mut self) {
        self.end();
    }
}

/// The finished pieces in a few words.
fn message(progress: DistributedProgress) -> String {
    match progress.repeated {
        0 => format!("{} pieces", progress.pieces),
        repeated => format!("{} pieces, {repeated} repeated", progress.pieces),
    }
}
