//! Schedules as text.

use crate::{
    commands::tasks,
    output::{local, now_ms},
    table::{labelled, table},
};
use pyroxene_common::{
    clean,
    interfaces::schedules::{Schedule, ScheduleHistory},
};
use std::time::Duration;

/// The headings of the table.
pub(super) const HEADINGS: [&str; 6] = ["NAME", "CRON", "TIME ZONE", "CALL", "NEXT", "LAST"];

/// A schedule as a row of a table.
pub(super) fn row(schedule: &Schedule) -> [String; 6] {
    let definition = &schedule.definition;
    [
        definition.name.clone(),
        definition.cron.clone(),
        definition.time_zone.clone(),
        call(schedule),
        next(schedule),
        schedule.last_ms.map(local).unwrap_or_default(),
    ]
}

fn call(schedule: &Schedule) -> String {
    let task = &schedule.definition.task;
    format!("{}.{}", task.object, task.method)
}

fn next(schedule: &Schedule) -> String {
    match (schedule.paused, schedule.next_ms) {
        (true, _) => "paused".to_owned(),
        (false, Some(next)) => local(next),
        (false, None) => "never".to_owned(),
    }
}

/// Everything about a schedule, and its last tasks.
pub(super) fn describe(history: &ScheduleHistory) -> String {
    /// Longer arguments are cut; --json prints them whole.
    const LONGEST: usize = 500;
    let schedule = &history.schedule;
    let definition = &schedule.definition;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut line = |label: &'static str, value: String| lines.push((label, value));
    line(
        "cron",
        format!("{} in {}", definition.cron, definition.time_zone),
    );
    line("call", call(schedule));
    if !definition.task.arguments.is_empty() {
        line(
            "args",
            tasks::shortened(&definition.task.arguments, LONGEST),
        );
    }
    let added = local(schedule.created_ms);
    match schedule.submitter.as_str() {
        "" => line("added", added),
        submitter => line("added", format!("{added} by {submitter}")),
    }
    if definition.jitter_ms > 0 {
        let jitter = Duration::from_millis(definition.jitter_ms);
        line("jitter", humantime::format_duration(jitter).to_string());
    }
    line("missed", definition.missed.to_string());
    line("overlap", definition.overlap.to_string());
    line("next", next(schedule));
    if let Some(last) = schedule.last_ms {
        line("last", local(last));
    }
    if schedule.waiting > 0 {
        line(
            "waiting",
            format!("{} due times, for the last task", schedule.waiting),
        );
    }
    if let Some(problem) = &schedule.problem {
        line("problem", problem.clone());
    }
    let title = clean::line(&definition.name).into_owned();
    let described = format!("{title}\n{}", labelled("  ", &lines));
    if history.tasks.is_empty() {
        return described;
    }
    let now_ms = now_ms();
    let ids = tasks::short_ids(&history.tasks).into_iter();
    let rows: Vec<_> = history
        .tasks
        .iter()
        .zip(ids)
        .map(|(task, id)| tasks::row(task, id, now_ms))
        .collect();
    format!("{described}\n{}", table(tasks::HEADINGS, &rows))
}
