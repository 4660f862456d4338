//! One call of every live instance.

use super::{FoundObject, raw_json, result_text};
use crate::{
    arguments::ArgumentValues,
    failure::{Exit, Failure},
    output::{Output, print, to_json},
};
use futures::{StreamExt, stream};
use pyroxene_client::DynamicObject;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

/// How many instances are called at the same time.
const CALLED_AT_ONCE: usize = 256;

/// The answer of an instance.
#[derive(Serialize)]
#[serde(untagged)]
enum AnswerJson<'a> {
    Result {
        worker: &'a str,
        result: &'a RawValue,
    },
    Error {
        worker: &'a str,
        error: String,
    },
}

/// What an instance has answered.
struct Answer {
    worker: String,
    answer: Result<String, Failure>,
}

impl Answer {
    fn to_json(&self) -> Result<AnswerJson<'_>, Failure> {
        let worker = &self.worker;
        Ok(match &self.answer {
            Ok(result) => AnswerJson::Result {
                worker,
                result: raw_json(result)?,
            },
            Err(failure) => AnswerJson::Error {
                worker,
                error: failure.message.clone().unwrap_or_default(),
            },
        })
    }

    /// A line for people.
    fn line(&self) -> String {
        match &self.answer {
            Ok(result) => {
                let result = result_text(result);
                format!("{}: {}", self.worker, result.replace('\n', " "))
            }
            Err(failure) => {
                let reason = failure.message.as_deref().unwrap_or_default();
                format!("{}: error: {}", self.worker, reason.replace('\n', " "))
            }
        }
    }
}

/// Calls the method at every live instance, and prints what each answers.
pub(super) async fn run(
    found: &FoundObject,
    method: &str,
    values: ArgumentValues,
    json: bool,
) -> Result<(), Failure> {
    let described = found.dynamic.description().method(method);
    if described.is_some_and(|method| method.streams()) {
        let sentence =
            format!("{method} takes or answers a stream; --all calls other methods only");
        return Err(Failure::usage(sentence));
    }
    let arguments = to_json(&values)?;
    let call = |(worker, one): (String, DynamicObject)| {
        let arguments = arguments.clone();
        async move {
            let called = one.call_with_progress(found.context, method, arguments, None);
            let answer = called.await.map(|answered| answered.response);
            Answer {
                worker,
                answer: answer.map_err(Failure::from),
            }
        }
    };
    let deadline = Instant::from_std(found.context.deadline);
    found.dynamic.settled(deadline).await;
    let instances = found.dynamic.live_instances();
    let calls = stream::iter(instances.into_iter().map(call));
    let answers: Vec<Answer> = calls.buffered(CALLED_AT_ONCE).collect().await;
    match json {
        true => {
            let answers: Result<Vec<_>, Failure> = answers.iter().map(Answer::to_json).collect();
            print(&to_json(&answers?)?)?;
        }
        false => {
            let mut output = Output::new();
            for answer in &answers {
                output.result(&answer.line())?;
            }
            output.flush()?;
        }
    }
    let failed = answers.iter().filter(|one| one.answer.is_err()).count();
    let count = answers.len();
    match (failed, found.dynamic.knows_all_instances()) {
        (0, _) if count == 0 => Err(Failure::new(
            Exit::Unavailable,
            "no live instance was called",
        )),
        (0, true) => Ok(()),
        (0, false) => Err(Failure::new(
            Exit::Unavailable,
            "there may be other live instances: no name server in contact knows all workers",
        )),
        (failed, _) => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {count} live instances did not answer"),
        )),
    }
}
