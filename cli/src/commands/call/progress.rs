//! The progress bar of a slow call.

use crate::progress::Bar;
use pyroxene_common::{channel::ProgressListener, clean, message::Progress};
use std::{
    future::pending,
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
    tokio::select! {
        answer = call(listener) => answer,
        never = follow(progress) => never,
    }
}

/// Shows progress. Never returns.
async fn follow<T>(mut progress: watch::Receiver<Option<Progress>>) -> T {
    let bar = Bar::hidden(None);
    sleep(BAR_DELAY).await;
    bar.show("{spinner} {elapsed}");
    loop {
        if let Some(now) = &*progress.borrow_and_update() {
            if bar.length().is_none() {
                bar.set_length(BAR_STEPS as u64);
                bar.show("{bar:30} {percent}% · {msg} · {elapsed}");
            }
            bar.set_position((now.fraction.clamp(0.0, 1.0) * BAR_STEPS) as u64);
            bar.set_message(clean::line(&now.note).into_owned());
        }
        if progress.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}
