//! The progress bar of distributed work.

use crate::progress::Bar;
use pyroxene_objects::distributed::DistributedProgress;

/// A bar whose length is known once the work is divided.
pub(super) fn distributed_bar() -> Bar {
    Bar::new(None, "{bar:30} {percent}% · {msg} · {elapsed} · {eta} left")
}

/// The listener that shows the progress of the work.
pub(super) fn listener(bar: &Bar) -> impl Fn(DistributedProgress) + Send + Sync + 'static {
    let bar = (**bar).clone();
    move |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(message(progress));
    }
}

/// The finished pieces in a few words.
fn message(progress: DistributedProgress) -> String {
    match progress.repeated {
        0 => format!("{} pieces", progress.pieces),
        repeated => format!("{} pieces, {repeated} repeated", progress.pieces),
    }
}
