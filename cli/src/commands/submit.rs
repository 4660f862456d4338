//! `pyroxene submit`: submits a task, a call that runs later and survives this process.

mod bulk;

use crate::{
    arguments::{ArgumentSource, MethodSignature, read_untyped},
    commands::{
        call::{WrittenCall, read_source},
        tasks::{TaskWait, late_or_unavailable},
    },
    failure::{Exit, Failure},
    flags::{COMMAND_TIMEOUT, ClientArguments, YesOrNo},
    messages::note,
    nameservers::list_until,
    objects::ObjectLookup,
    output::{print, print_json, to_json},
    units::duration,
};
use pyroxene_client::{
    CallError, Client, DynamicError, DynamicObject, NewTask, TaskHandle, context_until,
};
use pyroxene_common::interfaces::{
    directory::ObjectFilter,
    tasks::{DEFAULT_MAX_ATTEMPTS, MAX_ATTEMPTS},
};
use serde_json::json;
use std::{
    io::{self, IsTerminal},
    time::Duration,
};
use tokio::time::Instant;

/// Submit a task: a call that survives this command, and whose result is kept
///
/// The task's id is printed once the task is on disk. With --wait the result is printed instead, as 'call'
/// prints it. Without --timeout the wait has no limit, and it continues while no name server answers. On a
/// terminal the id is shown at its start. Interrupting the wait does not affect the task.
///
/// The arguments are those of 'call'. If no worker hosts the object now, each argument needs a name, and
/// VALUE is JSON if it parses as JSON, and a string otherwise.
///
/// With --input a batch of tasks is submitted, one for each line of a file, and the id of the batch is printed; see 'tasks'.
/// A line is as for 'map': a JSON object (arguments by name), a JSON array (arguments in order), or, for a method with one
/// parameter, the bare value. All lines of a file are checked before the first task is submitted. Lines of standard input
/// are submitted while they are read. If the submission ends early, the message says how many tasks are on disk, and with
/// which --key the rest is submitted without doubling a task. The exit code is 1 for an interruption (Ctrl-C, SIGTERM), 2
/// for a wrong line, 3 if no name server answers, 4 for a limit, and 5 for the --timeout.
///
/// --json prints {"id": …}, and with --wait the task or the batch as 'tasks show' does.
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(override_usage = "pyroxene submit [OPTIONS] <OBJECT> <METHOD>\n       [ARG=VALUE]...")]
pub(crate) struct SubmitArguments {
    #[command(flatten)]
    call: WrittenCall,
    #[command(flatten)]
    options: SubmitOptions,
    /// Submit a task for each line of this file; - is standard input
    #[arg(long, value_name = "FILE", env = "PYROXENE_SUBMIT_INPUT")]
    input: Option<String>,
    /// Wait for the result and print it
    #[arg(long, env = "PYROXENE_SUBMIT_WAIT", value_parser = YesOrNo)]
    wait: bool,
    /// How long the submission and, with --wait, the wait for the result may take [default: without limit for
    /// the wait]
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: ObjectLookup,
}

/// A task's key and start, and how it is run.
#[derive(Debug, clap::Args)]
pub(crate) struct SubmitOptions {
    /// Two submissions of one user with the same key are one task, or one batch
    #[arg(long, env = "PYROXENE_SUBMIT_KEY")]
    pub(crate) key: Option<String>,
    /// How long to wait before the first attempt
    #[arg(long, value_name = "TIME", env = "PYROXENE_SUBMIT_DELAY", default_value = "0s", value_parser = duration)]
    pub(crate) delay: Duration,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// How a task is run.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// A user's tasks with a higher priority run first; tasks with a priority above 1000, which only admins
    /// may ask for, run before those of all other users
    #[arg(
        long,
        value_name = "N",
        env = "PYROXENE_SUBMIT_PRIORITY",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) priority: i32,
    /// How much time a task has to succeed, from its submission on [default: any]
    #[arg(long, value_name = "TIME", env = "PYROXENE_SUBMIT_DEADLINE", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,
    /// How many attempts a task has, up to 1000; an attempt that no worker accepted does not count
    #[arg(long, value_name = "N", env = "PYROXENE_SUBMIT_MAX_ATTEMPTS", default_value_t = DEFAULT_MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ATTEMPTS)))]
    pub(crate) max_attempts: u32,
    /// The pause before the second attempt, at least 100ms; each later pause is twice as long as the last, up to a
    /// minute or to TIME if that is longer
    #[arg(long, value_name = "TIME", env = "PYROXENE_SUBMIT_BACKOFF", default_value = "500ms", value_parser = duration)]
    pub(crate) backoff: Duration,
    /// The time limit of an attempt; an attempt that exceeds it is ended, and counts [default: 1h]
    #[arg(long, value_name = "TIME", env = "PYROXENE_SUBMIT_RUN_LIMIT", value_parser = run_limit)]
    pub(crate) run_limit: Option<Duration>,
    /// The only worker that may run a task [default: any]
    #[arg(long, value_name = "NAME", env = "PYROXENE_SUBMIT_WORKER")]
    pub(crate) worker: Option<String>,
}

/// Parses the run limit of an attempt.
fn run_limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        limit if limit < Duration::from_millis(1) => {
            Err("every attempt would be ended at once; it is at least 1ms".to_owned())
        }
        limit => Ok(limit),
    }
}

/// How long to wait for the description of the object's parameters.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn run(arguments: SubmitArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let deadline = arguments.timeout.map(|timeout| Instant::now() + timeout);
    if let Some(input) = &arguments.input {
        return bulk::run(&client, &arguments, input, deadline).await;
    }
    let handle = submit(&client, &arguments, deadline).await?;
    let json = arguments.client.json;
    if arguments.wait {
        if io::stderr().is_terminal() {
            note(&format!("waiting for task {}", handle.id()));
        }
        let waiting = TaskWait {
            client,
            tasks: vec![handle],
            until: deadline,
            json,
        };
        return waiting.run().await;
    }
    match json {
        true => print_json(&json!({"id": handle.id()})),
        false => print(&handle.id().0),
    }
}

/// Submits the task. With a deadline every wait ends then, and the submission is repeated until then.
async fn submit(
    client: &Client,
    arguments: &SubmitArguments,
    deadline: Option<Instant>,
) -> Result<TaskHandle, Failure> {
    let WrittenCall {
        object,
        method,
        arguments: words,
    } = &arguments.call;
    let (lookup, read) = (arguments.lookup, read_source);
    let values = read_arguments(client, lookup, object, method, words, deadline, read).await;
    let values = values.map_err(|failure| failure.with_deadline(deadline))?;
    let task = arguments.options.new_task(object, method, values);
    match deadline {
        Some(deadline) => client
            .submit_with_deadline(task, deadline)
            .await
            .map_err(|error| late_or_unavailable(error, deadline)),
        None => Ok(client.submit(task).await?),
    }
}

/// Reads the arguments as a JSON object, by the method's parameters if the object can describe them.
pub(crate) async fn read_arguments(
    client: &Client,
    lookup: ObjectLookup,
    object: &str,
    method: &str,
    words: &[String],
    deadline: Option<Instant>,
    read: impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
) -> Result<String, Failure> {
    match find_described(client, lookup, object, deadline).await? {
        Some(dynamic) => {
            let signature = MethodSignature::find(dynamic.description(), object, method)?;
            to_json(&signature.read_words(words, read)?)
        }
        None => to_json(&read_untyped(object, words, read)?),
    }
}

/// Finds the object with the description of its methods; `None` if no worker hosts it now.
async fn find_described(
    client: &Client,
    lookup: ObjectLookup,
    object: &str,
    deadline: Option<Instant>,
) -> Result<Option<DynamicObject>, Failure> {
    let deadline = deadline.unwrap_or_else(|| Instant::now() + COMMAND_TIMEOUT);
    let find = async || {
        // A name server that has just started answers late, and a task may be submitted before a worker is there.
        let now = Instant::now();
        let wait = (deadline.saturating_duration_since(now) / 2).min(DESCRIBE_TIMEOUT);
        let context = context_until(now + wait);
        lookup.find(client, object, context).await
    };
    // It is an error if no name server answers, but not if no worker hosts the object now.
    let any_answer = async || {
        let listed = list_until(client, &ObjectFilter::default(), deadline).await;
        match listed {
            // A user who may submit tasks is not always allowed to list objects.
            Err(failure) if failure.exit != Exit::Refused => Err(failure),
            _ => Ok(()),
        }
    };
    let mut found = find().await;
    if let Err(DynamicError::Call(error @ CallError::DeadlineExceeded(_))) = &found
        && error.attempts().is_empty()
    {
        // No name server has answered yet, so nothing is known about the object.
        any_answer().await?;
        found = find().await;
    }
    match found {
        Ok(dynamic) => Ok(Some(dynamic)),
        Err(DynamicError::Call(error @ CallError::Refused(_))) => Err(error.into()),
        Err(_) => {
            any_answer().await?;
            Ok(None)
        }
    }
}

impl SubmitOptions {
    /// Makes a task with these options.
    pub(crate) fn new_task(&self, object: &str, method: &str, values: String) -> NewTask {
        let task = self.new_task_without_key(object, method, values);
        match &self.key {
            Some(key) => task.key(key),
            None => task,
        }
    }

    /// Makes a task of a batch with these options: the key is that of the batch.
    fn new_task_without_key(&self, object: &str, method: &str, values: String) -> NewTask {
        self.run.new_task(object, method, values).delay(self.delay)
    }
}

impl RunOptions {
    /// Makes a task with these options.
    pub(crate) fn new_task(&self, object: &str, method: &str, values: String) -> NewTask {
        let mut task = NewTask::new(object, method)
            .arguments(values)
            .priority(self.priority)
            .max_attempts(self.max_attempts)
            .backoff(self.backoff);
        if let Some(deadline) = self.deadline {
            task = task.deadline(deadline);
        }
        if let Some(limit) = self.run_limit {
            task = task.run_limit(limit);
        }
        if let Some(worker) = &self.worker {
            task = task.worker(worker);
        }
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parsed(words: &[&str]) -> Result<SubmitArguments, clap::Error> {
        let words = [&["pyroxene", "submit", "calculator", "factorial"], words].concat();
        match Cli::try_parse_from(words)?.command {
            Command::Submit(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    fn new_task(arguments: &SubmitArguments, values: &str) -> NewTask {
        let (object, method) = (&arguments.call.object, &arguments.call.method);
        arguments
            .options
            .new_task(object, method, values.to_owned())
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let arguments = parsed(&["n=30"]).unwrap();
        let task = new_task(&arguments, "{}");
        let expected = NewTask::new("calculator", "factorial").arguments("{}");
        assert_eq!(format!("{task:?}"), format!("{expected:?}"));
        assert!(!arguments.wait && arguments.timeout.is_none());
    }

    #[test]
    fn what_is_given_reaches_the_task() {
        let words = "-5 --key k --priority -3 --delay 5s --deadline 1h --max-attempts 7 \
                     --backoff 250ms --run-limit 2h --worker w2 --wait --timeout 1m";
        let words: Vec<&str> = words.split_whitespace().collect();
        let arguments = parsed(&words).unwrap();
        assert_eq!(arguments.call.arguments, ["-5"]);
        assert_eq!(arguments.timeout, Some(Duration::from_secs(60)));
        let task = new_task(&arguments, r#"{"n":-5}"#);
        let expected = NewTask::new("calculator", "factorial")
            .arguments(r#"{"n":-5}"#)
            .key("k")
            .priority(-3)
            .delay(Duration::from_secs(5))
            .deadline(Duration::from_secs(3600))
            .max_attempts(7)
            .backoff(Duration::from_millis(250))
            .run_limit(Duration::from_secs(7200))
            .worker("w2");
        assert_eq!(format!("{task:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_task_is_attempted_at_least_once() {
        assert!(parsed(&["--max-attempts", "0"]).is_err());
        assert!(parsed(&["--delay", "soon"]).is_err());
        let error = parsed(&["--run-limit", "0s"]).unwrap_err().to_string();
        assert!(
            error.contains("every attempt would be ended at once"),
            "{error}"
        );
    }
}
