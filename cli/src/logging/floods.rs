//! Limits floods of one log line: the line is written a few times, then only counted.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Filter};

/// How many lines of one kind are written within [`WINDOW`]. Lines are of one kind if they come from
/// the same place in the program.
const MAX_LINES_PER_WINDOW: u64 = 20;

/// The length of a window. After it lines of the kind are written again.
const WINDOW: Duration = Duration::from_secs(10);

/// The lines of each kind in the current window.
static LINE_COUNTS: Mutex<Option<HashMap<Identifier, LineCount>>> = Mutex::new(None);

/// Lines of one kind.
#[derive(Debug)]
struct LineCount {
    since: Instant,
    lines: u64,
    /// The message of the last one, without its fields.
    message: String,
}

impl LineCount {
    fn suppressed(&self) -> u64 {
        self.lines.saturating_sub(MAX_LINES_PER_WINDOW)
    }
}

/// Lets through the first lines of each kind.
#[derive(Debug, Default)]
pub(super) struct FloodFilter;

impl<S: Subscriber> Filter<S> for FloodFilter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        // Not `always`: the thread keeps the answer of `event_enabled` about one line until `enabled` is
        // called for the next line, and `enabled` is called only after `sometimes`.
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // Reports about floods are never limited, and neither are debug and trace lines.
        let metadata = event.metadata();
        if metadata.target() == module_path!() || *metadata.level() > Level::INFO {
            return true;
        }
        let mut message = MessageVisitor::default();
        event.record(&mut message);
        let mut kinds = lock();
        let kinds = kinds.get_or_insert_default();
        count_line(kinds, metadata.callsite(), message.0, Instant::now())
    }
}

/// Whether one more line of a kind is written.
fn count_line(
    kinds: &mut HashMap<Identifier, LineCount>,
    kind: Identifier,
    message: String,
    now: Instant,
) -> bool {
    let kind = kinds.entry(kind).or_insert_with(|| LineCount {
        since: now,
        lines: 0,
        message: String::new(),
    });
    // A kind with unwritten lines stays until their number has been reported.
    if kind.suppressed() == 0 && now.saturating_duration_since(kind.since) >= WINDOW {
        (kind.since, kind.lines) = (now, 0);
    }
    kind.lines += 1;
    kind.message = message;
    kind.lines <= MAX_LINES_PER_WINDOW
}

/// Removes the kinds whose windows are over. Returns how many lines of each were not written, and their
/// message.
fn take_suppressed(kinds: &mut HashMap<Identifier, LineCount>, now: Instant) -> Vec<(u64, String)> {
    let is_over = |kind: &LineCount| now.saturating_duration_since(kind.since) >= WINDOW;
    let over = kinds.extract_if(|_, kind| is_over(kind));
    let over = over.filter(|(_, kind)| kind.suppressed() > 0);
    over.map(|(_, kind)| (kind.suppressed(), kind.message))
        .collect()
}

/// Starts to report regularly how many lines were not written, until the process ends.
pub(super) fn report_suppressed_lines() {
    thread::spawn(|| {
        loop {
            // Nothing unparks this thread, so it always sleeps for the whole time.
            thread::park_timeout(WINDOW);
            let told = lock()
                .as_mut()
                .map(|kinds| take_suppressed(kinds, Instant::now()));
            for (lines, message) in told.unwrap_or_default() {
                tracing::warn!(lines, "left out more lines like this one: {message}");
            }
        }
    });
}

fn lock() -> MutexGuard<'static, Option<HashMap<Identifier, LineCount>>> {
    LINE_COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The message of an event.
#[derive(Default)]
struct MessageVisitor(String);

impl Visit for MessageVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite;

    struct Place(u8);

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("{} is asked for none", self.0)
        }
    }

    static ONE: Place = Place(1);
    static OTHER: Place = Place(2);

    #[test]
    fn a_flood_of_one_line_is_counted_and_told_once() {
        let (one, other) = (Identifier(&ONE), Identifier(&OTHER));
        let (mut kinds, now) = (HashMap::new(), Instant::now());
        let mut written = 0;
        for _ in 0..1000 {
            written += u64::from(count_line(&mut kinds, one.clone(), "lost".to_owned(), now));
        }
        assert_eq!(written, MAX_LINES_PER_WINDOW);
        assert!(count_line(&mut kinds, other, "found".to_owned(), now));
        assert!(take_suppressed(&mut kinds, now).is_empty());
        let later = now + WINDOW;
        let told = take_suppressed(&mut kinds, later);
        assert_eq!(told, [(1000 - MAX_LINES_PER_WINDOW, "lost".to_owned())]);
        assert!(take_suppressed(&mut kinds, later).is_empty());
        assert!(count_line(&mut kinds, one, "lost".to_owned(), later));
    }
}
