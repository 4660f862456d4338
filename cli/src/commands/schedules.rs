//! `pyroxene schedules`: calls that become tasks at the times of a cron pattern.

mod rendering;

use crate::{
    commands::{
        call::{WrittenCall, read_source},
        submit::{RunOptions, read_arguments},
        tasks::late_or_unavailable,
    },
    failure::Failure,
    flags::{COMMAND_TIMEOUT, ClientArguments, one_of},
    messages::note,
    objects::ObjectLookup,
    output::{print, print_json},
    table::table,
    units::duration,
};
use clap::Subcommand;
use pyroxene_client::{NewSchedule, Schedules, TaskError};
use pyroxene_common::interfaces::schedules::{MissedPolicy, OverlapPolicy, Schedule};
use pyroxene_gateway::views::{ScheduleHistoryJson, ScheduleJson, rfc3339};
use rendering::{HEADINGS, describe, row};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Submit tasks at the times of a cron pattern
///
/// Each due time of a schedule becomes one task, whichever name servers live. The task is like one of 'pyroxene
/// submit' by the user who added the schedule.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct SchedulesCommandArguments {
    #[command(subcommand)]
    command: SchedulesCommand,
}

#[derive(Debug, Subcommand)]
enum SchedulesCommand {
    Add(Box<ScheduleAddArguments>),
    List(ScheduleListArguments),
    Show(ScheduleShowArguments),
    Pause(SchedulePauseArguments),
    Resume(ScheduleResumeArguments),
    RunNow(ScheduleRunNowArguments),
    Remove(ScheduleRemoveArguments),
}

/// Add a schedule
///
/// CRON is one argument of five fields: minute, hour, day of the month, month, day of the week. With six fields the
/// first is the second, and with seven the last is the year. Or @hourly, @daily, @weekly, @monthly, @yearly. Where the
/// clock of the time zone changes, a time that does not exist is due right after the gap, and a time that comes twice
/// is due once; a pattern that has every hour keeps its distance if
/// the clock changes by whole hours.
///
/// The arguments are those of 'submit'. The first due time is printed. --json prints the object of 'schedules list
/// --json'. The same schedule again changes nothing; another one of that name is an error.
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(
    override_usage = "pyroxene schedules add [OPTIONS] <NAME> <CRON>\n       <OBJECT> <METHOD> [ARG=VALUE]..."
)]
struct ScheduleAddArguments {
    /// The schedule's name
    name: String,
    /// The cron pattern
    cron: String,
    #[command(flatten)]
    call: WrittenCall,
    /// The time zone of the pattern, such as Europe/Berlin
    #[arg(
        long,
        value_name = "ZONE",
        env = "PYROXENE_SCHEDULES_TIME_ZONE",
        default_value = "UTC"
    )]
    time_zone: String,
    /// Start each task up to this long after its due time, at most 1day
    #[arg(long, value_name = "TIME", env = "PYROXENE_SCHEDULES_JITTER", default_value = "0s", value_parser = duration)]
    jitter: Duration,
    /// What to do about due times that passed while no name server was there: one task for all of them, none, or one for
    /// each of the first 100
    #[arg(long, value_name = "POLICY", env = "PYROXENE_SCHEDULES_MISSED", default_value_t, value_parser = one_of::<MissedPolicy>(MissedPolicy::ALL.map(MissedPolicy::name)))]
    missed: MissedPolicy,
    /// What to do about a due time while the last task has not ended: submit its task, submit none, or submit it after the
    /// end
    #[arg(long, value_name = "POLICY", env = "PYROXENE_SCHEDULES_OVERLAP", default_value_t, value_parser = one_of::<OverlapPolicy>(OverlapPolicy::ALL.map(OverlapPolicy::name)))]
    overlap: OverlapPolicy,
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: ObjectLookup,
}

/// List schedules
///
/// A user sees its own schedules; admins and observers see all.
///
/// --json prints [{"name", "cron", "time_zone", "object", "method", "args", "paused", "next", "last"}]. "next" is the
/// next due time, or null if the schedule is paused or has none; "last" is the due time of the last task. Times are RFC
/// 3339.
#[derive(Debug, clap::Args)]
struct ScheduleListArguments {
    #[command(flatten)]
    client: ClientArguments,
}

/// Show everything about a schedule
///
/// --json prints the object of 'schedules list --json' with "jitter_ms", "missed", "overlap", "submitter", "created",
/// "last_task", "waiting" (how many due times wait for the end of the last task), "problem" (why the last due time has
/// no task), and "tasks": the last ten tasks, as by 'tasks list --json'.
#[derive(Debug, clap::Args)]
struct ScheduleShowArguments {
    #[command(flatten)]
    of: ScheduleName,
}

/// Let due times pass without a task
///
/// Tasks that were submitted before are not affected. --json prints the object of 'schedules list --json'.
#[derive(Debug, clap::Args)]
struct SchedulePauseArguments {
    #[command(flatten)]
    of: ScheduleName,
}

/// Go on with the next due time, and print it
///
/// Due times that passed meanwhile get no task. --json prints the object of 'schedules list --json'.
#[derive(Debug, clap::Args)]
struct ScheduleResumeArguments {
    #[command(flatten)]
    of: ScheduleName,
}

/// Submit a task of a schedule now, and print its id
///
/// A paused schedule stays paused, and the due times stay as they are. --json prints {"id": …}.
#[derive(Debug, clap::Args)]
struct ScheduleRunNowArguments {
    #[command(flatten)]
    of: ScheduleName,
}

/// Remove a schedule; its tasks stay
///
/// --json prints {"removed": true}.
#[derive(Debug, clap::Args)]
struct ScheduleRemoveArguments {
    #[command(flatten)]
    of: ScheduleName,
}

#[derive(Debug, clap::Args)]
struct ScheduleName {
    /// The schedule's name
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: SchedulesCommandArguments) -> Result<(), Failure> {
    match arguments.command {
        SchedulesCommand::Add(add) => add.run().await,
        SchedulesCommand::List(list) => list.run().await,
        SchedulesCommand::Show(show) => show.run().await,
        SchedulesCommand::Pause(SchedulePauseArguments { of }) => {
            let paused = of.ask(async |all, name| all.pause(name).await).await?;
            match of.client.json {
                true => print_json(&ScheduleJson::new(&paused)),
                false => Ok(()),
            }
        }
        SchedulesCommand::Resume(ScheduleResumeArguments { of }) => {
            let resumed = of.ask(async |all, name| all.resume(name).await).await?;
            print_next(&resumed, of.client.json)
        }
        SchedulesCommand::RunNow(ScheduleRunNowArguments { of }) => {
            let task = of.ask(async |all, name| all.run_now(name).await).await?;
            match of.client.json {
                true => print_json(&json!({"id": task.id()})),
                false => print(&task.id().0),
            }
        }
        SchedulesCommand::Remove(ScheduleRemoveArguments { of }) => {
            of.ask(async |all, name| all.remove(name).await).await?;
            match of.client.json {
                true => print_json(&json!({"removed": true})),
                false => Ok(()),
            }
        }
    }
}

/// Prints the next due time, or the schedule as JSON.
fn print_next(schedule: &Schedule, json: bool) -> Result<(), Failure> {
    match (json, schedule.next_ms) {
        (true, _) => print_json(&ScheduleJson::new(schedule)),
        (false, Some(next)) => print(&rfc3339(next)),
        (false, None) => Ok(()),
    }
}

impl ScheduleAddArguments {
    async fn run(self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let WrittenCall {
            object,
            method,
            arguments,
        } = &self.call;
        let values = read_arguments(
            &client,
            self.lookup,
            object,
            method,
            arguments,
            None,
            read_source,
        );
        let task = self.run.new_task(object, method, values.await?);
        let schedule = NewSchedule::new(&self.name, &self.cron, task)
            .time_zone(&self.time_zone)
            .jitter(self.jitter)
            .missed(self.missed)
            .overlap(self.overlap);
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let added = client.schedules().add(schedule).await;
        let added = added.map_err(|error| late_or_unavailable(error, deadline))?;
        print_next(&added, self.client.json)
    }
}

impl ScheduleListArguments {
    async fn run(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let listed = self.client.client()?.schedules().list().await;
        let listed = listed.map_err(|error| late_or_unavailable(error, deadline))?;
        if self.client.json {
            let listed: Vec<_> = listed.iter().map(ScheduleJson::new).collect();
            return print_json(&listed);
        }
        if listed.is_empty() {
            note("there are no schedules");
            return Ok(());
        }
        let rows: Vec<_> = listed.iter().map(row).collect();
        print(&table(HEADINGS, &rows))
    }
}

impl ScheduleShowArguments {
    async fn run(&self) -> Result<(), Failure> {
        let shown = self.of.ask(async |all, name| all.show(name).await).await?;
        match self.of.client.json {
            true => print_json(&ScheduleHistoryJson::new(&shown)),
            false => print(&describe(&shown)),
        }
    }
}

impl ScheduleName {
    /// Sends a request about the schedule.
    async fn ask<T>(
        &self,
        question: impl AsyncFn(Schedules, &str) -> Result<T, TaskError>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let schedules = self.client.client()?.schedules();
        let answer = question(schedules, &self.name).await;
        answer.map_err(|error| late_or_unavailable(error, deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parsed(words: &[&str]) -> Result<SchedulesCommand, clap::Error> {
        let words = [&["pyroxene", "schedules"], words].concat();
        match Cli::try_parse_from(words)?.command {
            Command::Schedules(arguments) => Ok(arguments.command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_schedule_is_a_name_a_pattern_and_a_call() {
        let words = [
            "add",
            "nightly",
            "30 2 * * *",
            "text",
            "reverse",
            "text=abc",
            "--time-zone",
            "Europe/Berlin",
            "--jitter",
            "30s",
            "--missed",
            "catch-up",
            "--overlap",
            "queue",
            "--priority",
            "5",
        ];
        let SchedulesCommand::Add(add) = parsed(&words).unwrap() else {
            panic!("another command");
        };
        assert_eq!((&*add.name, &*add.cron), ("nightly", "30 2 * * *"));
        assert_eq!((&*add.call.object, &*add.call.method), ("text", "reverse"));
        assert_eq!(add.call.arguments, ["text=abc"]);
        assert_eq!(add.time_zone, "Europe/Berlin");
        assert_eq!(add.jitter, Duration::from_secs(30));
        assert_eq!(
            (add.missed, add.overlap),
            (MissedPolicy::CatchUp, OverlapPolicy::Queue)
        );
        assert_eq!(add.run.priority, 5);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let words = ["add", "s", "@daily", "echo", "whoami"];
        let SchedulesCommand::Add(add) = parsed(&words).unwrap() else {
            panic!("another command");
        };
        assert_eq!(add.time_zone, "UTC");
        assert_eq!(
            (add.missed, add.overlap),
            (MissedPolicy::default(), OverlapPolicy::default())
        );
        assert!(parsed(&["add", "s", "@daily", "echo", "whoami", "--missed", "never"]).is_err());
        assert!(matches!(
            parsed(&["run-now", "s"]),
            Ok(SchedulesCommand::RunNow(_))
        ));
    }
}
