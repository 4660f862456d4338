//! Requests about tasks, batches and schedules: what an answer of a name server means, and what is told if none answers.

use super::error::TaskError;
use crate::{
    client::Client,
    error::CallError,
    failover::{Next, NoAnswer, RequestTimes, Unanswered},
    nameserver::{NameServerClient, NameServerService},
    nameservers::next_of,
    problem::Problem,
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    endpoint::Endpoint,
    interfaces::{
        batches::BatchesError,
        schedules::SchedulesError,
        tasks::{Tasks, TasksError, tasks::TasksClient},
    },
};
use std::{
    cmp::Reverse,
    fmt::Display,
    sync::atomic::{AtomicBool, Ordering},
};
use tarpc::context::Context;

/// Why a name server did not answer a request.
#[derive(Debug)]
struct Failure {
    error: TaskError,
    /// Whether the error comes from the tasks object itself.
    answered: bool,
}

/// An error that the tasks object returns, or the schedules object.
pub(super) trait ObjectError: Into<TaskError> + Display {
    /// What it means for the request. `limited` is what a limit means.
    fn next(&self, limited: Next) -> Next;
}

impl ObjectError for TasksError {
    fn next(&self, limited: Next) -> Next {
        match self {
            Self::Unavailable { .. } => Next::Later,
            Self::Broken { .. } => Next::Unable,
            // Each name server reads its own users file. Another one may be carrying out the request meanwhile.
            Self::Unknown { .. } | Self::Denied { .. } => Next::Elsewhere,
            Self::KeyTaken { .. } | Self::Invalid { .. } => Next::End,
            Self::Limited { .. } => limited,
        }
    }
}

impl ObjectError for BatchesError {
    fn next(&self, limited: Next) -> Next {
        match self {
            Self::Unknown { .. } => Next::Elsewhere,
            Self::Differs { .. } => Next::End,
            Self::Tasks(error) => error.next(limited),
        }
    }
}

impl ObjectError for SchedulesError {
    fn next(&self, limited: Next) -> Next {
        match self {
            Self::Unknown { .. } => Next::Elsewhere,
            Self::Exists { .. } => Next::End,
            Self::Tasks(error) => error.next(limited),
        }
    }
}

impl Client {
    /// Sends a request about tasks to any name server that answers.
    pub(super) async fn ask_about_tasks<T, F>(
        &self,
        times: RequestTimes,
        question: impl Fn(TasksClient<NameServerService<Tasks>>, Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, CallError>>,
    {
        let question =
            |nameserver: &NameServerClient, context| question(nameserver.tasks(), context);
        self.ask_object(times, question).await
    }

    /// Sends a request about tasks, batches or schedules to any name server that answers.
    pub(super) async fn ask_object<T, E: ObjectError, F>(
        &self,
        times: RequestTimes,
        question: impl Fn(&NameServerClient, Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, E>, CallError>>,
    {
        let sent = AtomicBool::new(false);
        let limited = if_limited(&times);
        let asked = self.nameserver_set().ask_any(times, |nameserver, context| {
            let (answer, sent) = (question(&nameserver, context), &sent);
            async move {
                let endpoint = nameserver.endpoint();
                let failure = match answer.await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => from_object(endpoint, error, limited),
                    Err(error) => from_call(endpoint, &error),
                };
                if matches!(
                    failure.error.error,
                    TaskError::Unavailable { sent: true, .. }
                ) {
                    sent.store(true, Ordering::Relaxed);
                }
                Err(failure)
            }
        });
        let answer = asked.await;
        answer.map_err(|unanswered| task_error(unanswered, sent.into_inner()))
    }
}

/// What it means for a request that it would exceed a limit.
fn if_limited(times: &RequestTimes) -> Next {
    match times.wait.is_zero() {
        // The store counts the tasks of a user.
        true => Next::End,
        // Each name server counts the long polls of a user, and another one may be polling already.
        false => Next::Unable,
    }
}

/// The meaning of an error that the object returned. `limited` is what a limit means.
fn from_object(endpoint: &Endpoint, error: impl ObjectError, limited: Next) -> NoAnswer<Failure> {
    let next = error.next(limited);
    let error = match next {
        Next::Later => TaskError::Unavailable {
            sentence: format!("{endpoint}: {error}"),
            sent: true,
            problem: None,
        },
        _ => error.into(),
    };
    let answered = true;
    NoAnswer::new(next, Failure { error, answered }).answered()
}

/// The meaning of an error of the call itself.
fn from_call(endpoint: &Endpoint, error: &CallError) -> NoAnswer<Failure> {
    let sentence = error.last_reason();
    let problem = error.problem();
    let unavailable = |sentence, sent| TaskError::Unavailable {
        sentence,
        sent,
        problem,
    };
    let last = error.attempts().last().map(|last| &last.error);
    let (next, error) = match (error, last) {
        (CallError::Refused(_), _) => (Next::Elsewhere, TaskError::Refused { sentence, problem }),
        (CallError::NotSent(_), _) => (Next::End, TaskError::Invalid { sentence }),
        (
            _,
            Some(AttemptError::NotSent(
                ConnectionLost::Rejected(why)
                | ConnectionLost::WrongInterface(why)
                | ConnectionLost::TlsRequired(why)
                | ConnectionLost::WrongServer(why),
            )),
        ) => {
            let sentence = format!("name server {endpoint} takes no tasks: {why}");
            (Next::Unable, unavailable(sentence, false))
        }
        (_, last) => {
            let sent = last.is_some_and(|last| {
                matches!(
                    last,
                    AttemptError::MaybeRan(_)
                        | AttemptError::Failed(_)
                        | AttemptError::DeadlineExceeded { sent: true }
                )
            });
            let sentence = format!("{endpoint}: {sentence}");
            let next = match next_of(error) {
                Next::Absent => Next::Absent,
                _ => Next::Later,
            };
            (next, unavailable(sentence, sent))
        }
    };
    let answered = false;
    NoAnswer::new(next, Failure { error, answered })
}

/// The error of a request that no name server answered. `sent` says whether any attempt may have reached one.
fn task_error(Unanswered(failures): Unanswered<Failure>, sent: bool) -> TaskError {
    let lasting = failures.iter().filter(|failure| !failure.next.may_change());
    let lasting = lasting.max_by_key(|failure| {
        // A name server that names a limit knows the user, and would answer later.
        let is_limit = failure.error.error.problem() == Some(Problem::LimitReached);
        (is_limit, Reverse(failure.next), failure.at)
    });
    match lasting.map(|failure| failure.error.error.clone()) {
        Some(TaskError::Unavailable {
            sentence, problem, ..
        }) => TaskError::Unavailable {
            sentence,
            sent,
            problem,
        },
        Some(error) => error,
        None => {
            let reasons: Vec<String> = failures
                .iter()
                .map(|failure| failure.error.error.to_string())
                .collect();
            let reasons = reasons.join("; ");
            let known = failures.iter().find_map(|one| one.error.error.problem());
            let is_answered = failures.iter().any(|failure| failure.error.answered);
            let (sentence, problem) = match is_answered {
                _ if failures.is_empty() => ("there is no name server to ask".to_owned(), known),
                true => (format!("no name server can answer now: {reasons}"), known),
                false => (
                    format!("no name server answers: {reasons}"),
                    known.or(Some(Problem::NoNameServer)),
                ),
            };
            TaskError::Unavailable {
                sentence,
                sent,
                problem,
            }
        }
    }
}

/// The error for an answer that does not match its request.
pub(super) fn wrong_answer_count() -> TaskError {
    TaskError::Unavailable {
        sentence: "the name server returned a wrong number of answers".to_owned(),
        sent: true,
        problem: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::Repeat;
    use std::time::Duration;

    fn lost(endpoint: &str, sent: bool) -> NoAnswer<Failure> {
        let sentence = format!("{endpoint}: lost");
        let error = TaskError::Unavailable {
            sentence,
            sent,
            problem: None,
        };
        let answered = false;
        NoAnswer::new(Next::Later, Failure { error, answered })
    }

    fn at(error: TasksError) -> NoAnswer<Failure> {
        from_object(&"a:1".parse().unwrap(), error, Next::Unable)
    }

    #[test]
    fn every_name_server_that_does_not_answer_is_named() {
        let silent = || vec![lost("a:1", false), lost("b:1", true)];
        let told = |failures| task_error(Unanswered(failures), true);
        let expected = TaskError::Unavailable {
            sentence: "no name server answers: a:1: lost; b:1: lost".to_owned(),
            sent: true,
            problem: Some(Problem::NoNameServer),
        };
        assert_eq!(told(silent()), expected);
        let away = TasksError::Unavailable {
            sentence: "gone".to_owned(),
        };
        let mut failures = silent();
        failures.push(at(away));
        let said = told(failures).to_string();
        assert!(
            said.starts_with("no name server can answer now: "),
            "{said}"
        );
    }

    #[test]
    fn what_one_name_server_denies_another_may_be_carrying_out() {
        let sentence = "no".to_owned();
        let denied = at(TasksError::Denied {
            sentence: sentence.clone(),
        });
        assert_eq!(denied.next, Next::Elsewhere);
        assert_eq!(at(TasksError::Invalid { sentence }).next, Next::End);
    }

    #[test]
    fn a_definite_answer_is_told_rather_than_the_silence_of_others() {
        let id = "7".to_owned();
        let unknown = at(TasksError::Unknown { id: id.clone() });
        let broken = at(TasksError::Broken {
            sentence: "full".to_owned(),
        });
        let failures = vec![unknown, broken, lost("b:1", false)];
        let told = task_error(Unanswered(failures), false);
        assert_eq!(told, TaskError::Unknown { id });
    }

    #[test]
    fn a_limit_ends_no_long_poll_at_other_name_servers_and_is_told_if_none_answers() {
        let quick = RequestTimes::quick(Repeat::Never);
        let wait = Duration::from_secs(20);
        assert_eq!(if_limited(&quick), Next::End);
        assert_eq!(if_limited(&RequestTimes { wait, ..quick }), Next::Unable);
        let sentence = "the limit 'polls' is 20".to_owned();
        let limited = at(TasksError::Limited {
            sentence: sentence.clone(),
        });
        let broken = at(TasksError::Broken {
            sentence: "full".to_owned(),
        });
        let unknown = at(TasksError::Unknown { id: "7".to_owned() });
        let failures = vec![limited, broken, unknown, lost("b:1", true)];
        let told = task_error(Unanswered(failures), true);
        let problem = Some(Problem::LimitReached);
        assert_eq!(told, TaskError::Refused { sentence, problem });
    }
}
