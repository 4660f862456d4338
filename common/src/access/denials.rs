//! The log of denials, with a rate limit: a user who is denied a million times causes only a few short lines
//! per second, and one that counts the others.

use crate::{clean, identity::Identity};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

/// How many lines are written in each [`WINDOW`], and how many of them about one user. The first line of the
/// next window says how many lines were suppressed; if there is none for a while, a line of its own does.
const MAX_LINES: u32 = 50;
const MAX_LINES_PER_USER: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// The longest time until the number of suppressed lines is told.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// The greatest number of characters of an untrusted name in a log or in an error.
const MAX_SHOWN_CHARACTERS: usize = 120;

static LOG: Mutex<Option<DenialWindow>> = Mutex::new(None);

struct DenialWindow {
    began: Instant,
    lines: u32,
    /// Lines of each user in this window. It has at most as many entries as there were lines.
    by_user: HashMap<String, u32>,
    unwritten: u64,
}

/// Whether one more line is written or only counted.
#[derive(Debug, PartialEq, Eq)]
enum LogDecision {
    Write {
        unwritten_before: u64,
    },
    /// `is_first` of those that are counted and not told yet.
    Count {
        is_first: bool,
    },
}

fn decide(log: &mut Option<DenialWindow>, user: &str, now: Instant) -> LogDecision {
    let window = log.get_or_insert_with(|| DenialWindow {
        began: now,
        lines: 0,
        by_user: HashMap::new(),
        unwritten: 0,
    });
    if now >= window.began + WINDOW {
        (window.began, window.lines) = (now, 0);
        window.by_user.clear();
    }
    let of_user = window.by_user.get(user).copied().unwrap_or(0);
    if window.lines >= MAX_LINES || of_user >= MAX_LINES_PER_USER {
        window.unwritten += 1;
        let is_first = window.unwritten == 1;
        return LogDecision::Count { is_first };
    }
    window.lines += 1;
    window.by_user.insert(user.to_owned(), of_user + 1);
    LogDecision::Write {
        unwritten_before: std::mem::take(&mut window.unwritten),
    }
}

/// Whether a denial of this user is logged now: at most 5 lines per second for each user, and 50 for all
/// users. The others are counted.
pub fn may_log(user: &str) -> bool {
    // Nothing is written while the lock is held: a standard error that blocks would block every denial.
    let decision = decide(&mut window(), user, Instant::now());
    match decision {
        LogDecision::Write { unwritten_before } => {
            tell(unwritten_before);
            true
        }
        LogDecision::Count { is_first } => {
            // Outside of a runtime, the next line tells.
            if is_first && let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async {
                    sleep(TOLD_AFTER).await;
                    let unwritten = window()
                        .as_mut()
                        .map(|log| std::mem::take(&mut log.unwritten));
                    tell(unwritten.unwrap_or(0));
                });
            }
            false
        }
    }
}

fn window() -> MutexGuard<'static, Option<DenialWindow>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(unwritten_before: u64) {
    if unwritten_before > 0 {
        tracing::warn!(unwritten_before, "denials that were not logged one by one");
    }
}

/// Logs that a user may not do something.
pub fn log(identity: &Identity, what: &str) {
    let Identity { name, role, .. } = identity;
    if may_log(name) {
        let what = shortened(what);
        tracing::warn!(user = name, %role, what, "denied");
    }
}

/// Logs a denied call, and returns its error message.
pub fn denied(identity: &Identity, what: &str) -> String {
    let Identity { name, role, .. } = identity;
    log(identity, what);
    let what = shortened(what);
    format!("'{name}' ({role}) may not call {what}")
}

/// An untrusted text for a log or an error: on one line, and cut after 120 characters. A cut text ends with
/// `…`.
pub fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN_CHARACTERS).collect();
    if text.chars().nth(MAX_SHOWN_CHARACTERS).is_some() {
        short.pop();
        short.push('…');
    }
    clean::line(&short).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_in_the_next_second() {
        let (mut log, now) = (None, Instant::now());
        let write = |unwritten_before| LogDecision::Write { unwritten_before };
        for line in 0..MAX_LINES {
            let user = format!("user {}", line / MAX_LINES_PER_USER);
            assert_eq!(decide(&mut log, &user, now), write(0));
        }
        let count = |is_first| LogDecision::Count { is_first };
        assert_eq!(decide(&mut log, "ana", now), count(true));
        assert_eq!(decide(&mut log, "ana", now), count(false));
        assert_eq!(decide(&mut log, "ana", now + WINDOW), write(2));
        assert_eq!(decide(&mut log, "ana", now + WINDOW), write(0));
    }

    #[test]
    fn one_user_does_not_hide_what_others_are_denied() {
        let (mut log, now) = (None, Instant::now());
        for _ in 0..1000 {
            decide(&mut log, "ana", now);
        }
        let unwritten_before = 1000 - u64::from(MAX_LINES_PER_USER);
        let turn = decide(&mut log, "bob", now);
        assert_eq!(turn, LogDecision::Write { unwritten_before });
    }

    #[test]
    fn what_others_made_up_is_short_and_on_one_line() {
        assert_eq!(shortened("echo.sleep"), "echo.sleep");
        assert!(clean::is_line(&shortened("a\n\u{1b}[2J")));
        let long = shortened(&"ä".repeat(10_000_000));
        assert_eq!(long.chars().count(), MAX_SHOWN_CHARACTERS);
        assert!(long.ends_with('…'));
        assert_eq!(
            shortened(&"x".repeat(MAX_SHOWN_CHARACTERS)),
            "x".repeat(MAX_SHOWN_CHARACTERS)
        );
    }
}
