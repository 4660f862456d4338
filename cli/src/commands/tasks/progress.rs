//! The progress bar of a wait, on standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pyroxene_common::{
    clean,
    interfaces::tasks::{TaskState, TaskStatus},
};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// The length of the bar, in steps.
const BAR_STEPS: u32 = 1000;

/// A bar for all tasks of a wait, or none.
pub(super) struct TaskProgressBar {
    bar: Option<ProgressBar>,
    /// The progress of each task, from 0 to 1.
    fractions: Vec<f64>,
}

impl TaskProgressBar {
    /// A bar for this number of tasks.
    pub(super) fn new(tasks: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let length = Some(u64::from(BAR_STEPS));
            let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
            let template = "{bar:30} {percent}% · {msg} · {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            fractions: vec![0.0; tasks],
        }
    }

    /// Updates the bar with the status of a task.
    pub(super) fn advance(&mut self, index: usize, status: &TaskStatus) {
        if let Some(fraction) = self.fractions.get_mut(index) {
            *fraction = fraction_of(status);
        }
        if let Some(bar) = &self.bar {
            let whole: f64 = self.fractions.iter().sum::<f64>() / self.fractions.len() as f64;
            bar.set_position((whole * f64::from(BAR_STEPS)) as u64);
            bar.set_message(clean::line(&message(status)).into_owned());
        }
    }

    /// Runs `write`, which may write to the terminal, with the bar hidden.
    pub(super) fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for TaskProgressBar {
    /// Removes the bar.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn fraction_of(status: &TaskStatus) -> f64 {
    match (status.state.is_final(), &status.progress) {
        (true, _) => 1.0,
        (false, Some(progress)) => progress.fraction.clamp(0.0, 1.0),
        (false, None) => 0.0,
    }
}

/// The status in a few words.
fn message(status: &TaskStatus) -> String {
    let note = status.progress.as_ref().map(|progress| &progress.note);
    let note = note.filter(|note| !note.is_empty());
    match (status.state, &status.worker, note) {
        (TaskState::Running, Some(worker), Some(note)) => format!("{worker}: {note}"),
        (TaskState::Running, Some(worker), None) => format!("running on {worker}"),
        (state, _, _) => state.to_string(),
    }
}
