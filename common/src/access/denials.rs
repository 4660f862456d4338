//! The log of denials, bounded: whoever is denied a million times writes a few lines a second.

use super::Identity;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// So many lines are written in each [`WINDOW`]; the first of the next one says how many were not.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

static LOG: Mutex<Option<Window>> = Mutex::new(None);

struct Window {
    began: Instant,
    lines: u32,
    unwritten: u64,
}

/// What to do with one more line.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Write { unwritten_before: u64 },
    Count,
}

fn next(log: &mut Option<Window>, now: Instant) -> Turn {
    let window = log.get_or_insert(Window {
        began: now,
        lines: 0,
        unwritten: 0,
    });
    if now >= window.began + WINDOW {
        (window.began, window.lines) = (now, 0);
    }
    if window.lines >= LINES {
        window.unwritten += 1;
        return Turn::Count;
    }
    window.lines += 1;
    Turn::Write {
        unwritten_before: std::mem::take(&mut window.unwritten),
    }
}

/// Logs that somebody may not do something.
pub(super) fn log(identity: &Identity, what: &str) {
    let turn = next(
        &mut LOG.lock().unwrap_or_else(PoisonError::into_inner),
        Instant::now(),
    );
    let Turn::Write { unwritten_before } = turn else {
        return;
    };
    if unwritten_before > 0 {
        tracing::warn!(unwritten_before, "denials that were not logged one by one");
    }
    let Identity { name, role, .. } = identity;
    tracing::warn!(user = name, %role, what, "denied");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_in_the_next_second() {
        let (mut log, now) = (None, Instant::now());
        let write = |unwritten_before| Turn::Write { unwritten_before };
        for _ in 0..LINES {
            assert_eq!(next(&mut log, now), write(0));
        }
        assert_eq!(next(&mut log, now), Turn::Count);
        assert_eq!(next(&mut log, now), Turn::Count);
        assert_eq!(next(&mut log, now + WINDOW), write(2));
        assert_eq!(next(&mut log, now + WINDOW), write(0));
    }
}
