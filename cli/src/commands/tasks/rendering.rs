//! Tasks as text.

use crate::{output::local, table::labelled};
use pyroxene_common::{
    clean,
    interfaces::tasks::{DEFAULT_RUN_LIMIT_MS, Task, TaskAttempt, TaskState},
    message::Progress,
};
use std::fmt::Write;

/// The headings of the table. AGE is the time since a task was submitted, TOOK the duration of its last
/// attempt so far.
pub(crate) const HEADINGS: [&str; 7] = ["ID", "STATE", "CALL", "WORKER", "AGE", "TOOK", "DETAIL"];

/// A task as a row of a table.
pub(crate) fn row(task: &Task, id: &str, now_ms: u64) -> [String; 7] {
    let last = task.attempts.last();
    let worker = last.and_then(|attempt| attempt.worker.clone());
    let took = last.map(|attempt| {
        let ended = attempt.ended_ms.unwrap_or(now_ms);
        short_duration(ended.saturating_sub(attempt.started_ms))
    });
    [
        id.to_owned(),
        task.state.to_string(),
        format!("{}.{}", task.object, task.method),
        worker.unwrap_or_default(),
        age(now_ms.saturating_sub(task.submitted_ms)),
        took.unwrap_or_default(),
        detail(task),
    ]
}

/// The beginnings of the tasks' ids, long enough to be different from each other. An id begins with the time
/// of its submission, to the millisecond, so these are also different from most other ids.
pub(crate) fn short_ids(tasks: &[Task]) -> Vec<&str> {
    /// The digits of the time and the dash between them.
    const TIME: usize = 13;
    let mut sorted: Vec<&str> = tasks.iter().map(|task| &*task.id.0).collect();
    sorted.sort_unstable();
    let common = |one: &str, other: &str| {
        one.bytes()
            .zip(other.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let shared = sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .map(|(one, next)| common(one, next));
    let length = shared.max().map_or(TIME, |shared| TIME.max(shared + 1));
    tasks
        .iter()
        .map(|task| task.id.0.get(..length).unwrap_or(&task.id.0))
        .collect()
}

/// A time span in one unit: `7s`, `12m`, `3h`, `9d`.
fn age(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
    let seconds = ms / 1000;
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    let (length, unit) = unit.unwrap_or(&(1, "s"));
    format!("{}{unit}", seconds / length)
}

/// A time span with about three digits: `12ms`, `1.24s`, `3m5s`.
fn short_duration(ms: u64) -> String {
    match ms {
        ..1000 => format!("{ms}ms"),
        1000..60_000 => {
            format!("{:.3}", ms as f64 / 1000.0)
                .chars()
                .take(4)
                .collect::<String>()
                .trim_end_matches(['0', '.'])
                .to_owned()
                + "s"
        }
        60_000..3_600_000 => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}h{}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Further details of a task in a few words.
fn detail(task: &Task) -> String {
    match (task.state, &task.progress, &task.error) {
        (TaskState::Running, Some(progress), _) => progress_text(progress),
        (TaskState::Failed, _, Some(error)) => shortened(&error.sentence, 60),
        (TaskState::Queued, ..) if task.due_ms > task.submitted_ms => {
            format!("due {}", local(task.due_ms))
        }
        _ => String::new(),
    }
}

fn progress_text(progress: &Progress) -> String {
    let percent = (progress.fraction.clamp(0.0, 1.0) * 100.0).round();
    match progress.note.as_str() {
        "" => format!("{percent}%"),
        note => format!("{percent}% {}", shortened(note, 60)),
    }
}

/// A text on one line, cleaned, and cut after `longest` characters.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    let mut line: String = clean::line(text).chars().take(longest + 1).collect();
    if line.chars().count() > longest {
        line.pop();
        line.push('…');
    }
    line
}

/// A task as text for people.
pub(crate) fn describe(task: &Task) -> String {
    /// Longer values are cut; --json and 'tasks wait' print them whole.
    const LONGEST: usize = 500;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut line = |label: &'static str, value: &str| lines.push((label, value.to_owned()));
    line("call", &format!("{}.{}", task.object, task.method));
    if let Some(arguments) = &task.arguments {
        line("args", &shortened(arguments, LONGEST));
    }
    let submitted = local(task.submitted_ms);
    match task.submitter.as_str() {
        "" => line("submitted", &submitted),
        submitter => line("submitted", &format!("{submitted} by {submitter}")),
    }
    if task.due_ms > task.submitted_ms {
        line("due", &local(task.due_ms));
    }
    if let Some(deadline) = task.deadline_ms {
        line("deadline", &local(deadline));
    }
    if task.run_limit_ms != DEFAULT_RUN_LIMIT_MS {
        let limit = std::time::Duration::from_millis(task.run_limit_ms);
        line("run limit", &humantime::format_duration(limit).to_string());
    }
    if task.priority != 0 {
        line("priority", &task.priority.to_string());
    }
    if let Some(worker) = &task.worker {
        line("only at", worker);
    }
    if let Some(progress) = task.progress.as_ref().filter(|_| !task.state.is_final()) {
        line("progress", &progress_text(progress));
    }
    if !task.attempts.is_empty() {
        line("tries", &format!("{} of {}", task.tries, task.max_attempts));
    }
    let mut before = 0;
    for attempt in &task.attempts {
        let left_out = attempt.number.saturating_sub(before + 1);
        if left_out > 0 {
            line("", &format!("({left_out} more attempts are not kept)"));
        }
        before = attempt.number;
        line(
            "attempt",
            &format!("{}: {}", attempt.number, attempt_text(attempt)),
        );
    }
    if let Some(ended) = task.ended_ms {
        line("ended", &local(ended));
    }
    if let Some(result) = &task.result {
        line("result", &shortened(result, LONGEST));
    }
    if let Some(error) = &task.error {
        line("error", &shortened(&error.sentence, LONGEST));
    }
    let title = format!("{} {}", clean::line(&task.id.0), task.state);
    format!("{title}\n{}", labelled("  ", &lines))
}

/// `w1, from 2026-01-02 03:04:05.678, after 1.2s lost: worker w1 is gone`.
fn attempt_text(attempt: &TaskAttempt) -> String {
    let worker = attempt.worker.as_deref().unwrap_or("no worker yet");
    let mut text = format!("{worker}, from {}", local(attempt.started_ms));
    let Some(outcome) = attempt.outcome else {
        return text + ", runs";
    };
    if let Some(ended) = attempt.ended_ms {
        let took = short_duration(ended.saturating_sub(attempt.started_ms));
        let _ = write!(text, ", after {took}");
    }
    let _ = write!(text, " {}", outcome.name());
    if let Some(reason) = &attempt.reason {
        let _ = write!(text, ": {}", shortened(reason, 200));
    }
    text
}
