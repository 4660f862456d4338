//! The progress bar of a slow call, on standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pyroxene_common::{channel::ProgressListener, clean, message::Progress};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// A call that is answered within this time shows no bar.
const BAR_DELAY: Duration = Duration::from_secs(1);

/// The length of the bar, in steps.
const BAR_STEPS: f64 = 1000.0;

/// Waits for a call, and shows the progress that its method reports.
pub(super) async fn with_progress_bar<T, F>(call: impl FnOnce(ProgressListener) -> F) -> T
where
    F: Future<Output = T>,
{
    let (listener, progress) = watch::channel(None);
    if !io::stderr().is_terminal() {
        return call(listener).await;
    }
    let bar = CallProgressBar(ProgressBar::hidden());
    tokio::select! {
        answer = call(listener) => answer,
        never = bar.follow(progress) => never,
    }
}

/// A progress bar that is removed when it is dropped.
struct CallProgressBar(ProgressBar);

impl CallProgressBar {
    /// Shows progress. Never returns.
    async fn follow<T>(&self, mut progress: watch::Receiver<Option<Progress>>) -> T {
        sleep(BAR_DELAY).await;
        let Self(bar) = self;
        bar.set_draw_target(ProgressDrawTarget::stderr());
        style(bar, "{spinner} {elapsed}");
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut is_bar = false;
        loop {
            if let Some(now) = &*progress.borrow_and_update() {
                if !is_bar {
                    is_bar = true;
                    bar.set_length(BAR_STEPS as u64);
                    style(bar, "{bar:30} {percent}% · {msg} · {elapsed}");
                }
                bar.set_position((now.fraction.clamp(0.0, 1.0) * BAR_STEPS) as u64);
                bar.set_message(clean::line(&now.note).into_owned());
            }
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for CallProgressBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
