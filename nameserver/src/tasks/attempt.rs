//! One attempt: a call to one worker, and what its end means for the task.

use super::{owned_task::OwnedTask, trace};
use crate::access::{TaskSubmitter, TicketAuthority};
use parking_lot::Mutex;
use pyroxene_client::{CallError, CallOnceOptions, Client, DelegatedCall, Proxy};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, ProgressListener},
    identity::Identity,
    interfaces::invoke::{
        Invoke, InvokeError,
        invoke::{InvokeRequest, InvokeResponse},
    },
    message::RefusalReason,
    scope::Scope,
    spans::{Span, SpanKind},
};
use pyroxene_store::{AttemptEnding, ClaimedTask};
use std::{sync::Arc, time::Duration};
use tarpc::context;
use tokio::{sync::OnceCell, time::Instant};

/// How long the first call of an object waits for an instance of it.
const RESOLVE: Duration = Duration::from_secs(2);

/// The stub of an object, made at its first call.
pub(super) type SharedStub = Arc<OnceCell<Proxy<Invoke>>>;

/// The worker to which an attempt was sent last.
#[derive(Debug, Default)]
pub(super) struct CurrentWorker(Mutex<Option<String>>);

impl CurrentWorker {
    fn set(&self, worker: &str) {
        *self.0.lock() = Some(worker.to_owned());
    }

    /// The worker that the call was sent to last.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

impl OwnedTask {
    /// When the attempt must have ended, by this process's clock.
    fn limit(&self) -> AttemptLimit {
        let millis = |time: i64| Duration::from_millis(u64::try_from(time).unwrap_or(0));
        let run_limit = millis(self.task.run_limit);
        let late = self.task.deadline.map(|deadline| {
            let left = millis(deadline.saturating_sub(self.task.started));
            self.claimed_at + left.min(LONGEST_RUN)
        });
        let overrun = self.claimed_at + run_limit.min(LONGEST_RUN);
        match late {
            Some(late) if late <= overrun => AttemptLimit::DeadlineExceeded(late),
            _ => AttemptLimit::RunLimit(overrun, run_limit),
        }
    }
}

/// The longest run limit of an attempt, whatever its task says: ten years.
const LONGEST_RUN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The limit that ends an attempt, and its time.
#[derive(Clone, Copy, Debug)]
enum AttemptLimit {
    /// The task's deadline.
    DeadlineExceeded(Instant),
    /// The attempt's run limit.
    RunLimit(Instant, Duration),
}

impl AttemptLimit {
    fn at(self) -> Instant {
        match self {
            Self::DeadlineExceeded(at) | Self::RunLimit(at, _) => at,
        }
    }

    fn ending(self) -> AttemptEnding {
        match self {
            Self::DeadlineExceeded(_) => AttemptEnding::DeadlineExceeded,
            Self::RunLimit(_, limit) => AttemptEnding::Failed {
                error: format!(
                    "it ran for longer than its run limit of {}",
                    humantime::format_duration(limit)
                ),
                value: None,
                retry: true,
            },
        }
    }
}

/// The identity with whose rights a task runs; none without authentication.
fn submitter(
    authority: Option<&TicketAuthority>,
    task: &ClaimedTask,
) -> Result<Option<Identity>, AttemptEnding> {
    let Some(authority) = authority else {
        return Ok(None);
    };
    let submitter = TaskSubmitter {
        name: &task.submitter,
        certificate_role: task.certificate_role.as_deref(),
        submitted_ms: u64::try_from(task.submitted).unwrap_or(0),
    };
    match authority.submitter(submitter, &task.object, &task.method) {
        Ok(identity) => Ok(Some(identity)),
        Err(why) => Err(failed(format!("refused: {why}"))),
    }
}

/// Calls the task's method once. Returns how the attempt ended.
pub(super) async fn call(
    client: Client,
    authority: Option<&TicketAuthority>,
    stub: SharedStub,
    taken: &mut OwnedTask,
    at: &CurrentWorker,
    listener: &ProgressListener,
) -> AttemptEnding {
    let ends = taken.limit();
    if ends.at() <= Instant::now() {
        return ends.ending();
    }
    let identity = match submitter(authority, &taken.task) {
        Ok(identity) => identity,
        Err(refused) => return refused,
    };
    let Ok(arguments) = String::from_utf8(std::mem::take(&mut taken.task.arguments)) else {
        return failed("the arguments are not text in UTF-8".to_owned());
    };
    let object = &taken.task.object;
    // Boxed, because this future is large and needed once for each object.
    let resolve =
        || Box::pin(client.proxy_with_deadline::<Invoke>(object, Instant::now() + RESOLVE));
    let proxy = match stub.get_or_try_init(resolve).await {
        Ok(proxy) => proxy,
        Err(error) => return refused(&error),
    };
    let mut context = context::current();
    context.deadline = ends.at().into_std();
    let (trace, metadata) = trace::read(taken.task.trace.as_deref());
    context.trace_context = trace;
    let mut span = attempt_span(&taken.task, &context.trace_context);
    if let Some(span) = &span {
        context.trace_context = span.context();
    }
    let request = InvokeRequest::Call {
        method: taken.task.method.clone(),
        arguments,
    };
    let once = CallOnceOptions {
        worker: taken.task.worker.as_deref(),
        sending: &|worker| at.set(worker),
        on_behalf: identity.as_ref().map(|identity| DelegatedCall {
            identity,
            method: &taken.task.method,
        }),
        listener: Some(listener),
    };
    let calling = proxy.call_once(context, &request, once);
    let outcome = match metadata {
        None => calling.await,
        Some(_) => {
            let scope = Scope {
                metadata,
                ..Scope::default()
            };
            scope.wrap(Box::pin(calling)).await
        }
    };
    let outcome = outcome.map(|answered| answered.response);
    if let Some(span) = &mut span {
        match failure_kind(&outcome) {
            None => span.done(),
            Some(kind) => span.fail(kind),
        }
    }
    match outcome {
        Ok(response) => judge_answer(response),
        Err(error) => judge_failure(&error, ends),
    }
}

/// Why an attempt has failed, in words that are always the same: sentences may quote arguments.
fn failure_kind(outcome: &Result<InvokeResponse, CallError>) -> Option<&'static str> {
    match outcome {
        Ok(InvokeResponse::Call(answer)) => answer.as_ref().err().map(InvokeError::kind),
        Ok(_) => Some("another method was answered"),
        Err(error) => Some(error.kind()),
    }
}

/// The span of an attempt, in the trace of whoever has submitted the task.
fn attempt_span(task: &ClaimedTask, trace: &tarpc::trace::Context) -> Option<Span> {
    let name = || format!("task {}.{}", task.object, task.method);
    let mut span = Span::begin(trace, SpanKind::Consumer, name)?;
    span.set("pyroxene.task", &*task.id.to_string());
    span.set("pyroxene.attempt", task.attempt);
    Some(span)
}

fn failed(error: String) -> AttemptEnding {
    AttemptEnding::Failed {
        error,
        value: None,
        retry: false,
    }
}

/// The end of an attempt that did not run. Only a denial is final: a worker that does not know the submitter
/// yet may know it later.
fn refused(error: &CallError) -> AttemptEnding {
    let reason = failure_reason(error);
    match error.attempts().last().map(|last| &last.error) {
        Some(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::Denied => {
            AttemptEnding::Denied { reason }
        }
        _ => AttemptEnding::Refused { reason },
    }
}

/// The reason of the last failure, with the worker's name.
fn failure_reason(error: &CallError) -> String {
    let reason = error.last_reason();
    match error.attempts().last() {
        Some(attempt) => format!("worker '{}': {reason}", attempt.worker),
        None => reason,
    }
}

fn judge_answer(response: InvokeResponse) -> AttemptEnding {
    match response {
        InvokeResponse::Call(Ok(result)) => AttemptEnding::Succeeded {
            result: result.into_bytes(),
        },
        InvokeResponse::Call(Err(InvokeError::Failed { sentence, error })) => {
            AttemptEnding::Failed {
                error: sentence,
                value: Some(error.into_bytes()),
                retry: false,
            }
        }
        InvokeResponse::Call(Err(error)) => failed(error.to_string()),
        InvokeResponse::CallRepeatable(_)
        | InvokeResponse::Stream(_)
        | InvokeResponse::Describe(_) => failed("the worker answered another method".to_owned()),
    }
}

fn judge_failure(error: &CallError, ends: AttemptLimit) -> AttemptEnding {
    match error {
        CallError::DeadlineExceeded(_) => ends.ending(),
        CallError::MaybeRan(_) => {
            let reason = failure_reason(error);
            match error.attempts().last().map(|last| &last.error) {
                Some(AttemptError::MaybeRan(ConnectionLost::Silent(_))) => {
                    AttemptEnding::Silent { reason }
                }
                _ => AttemptEnding::Lost { reason },
            }
        }
        // A task belongs to no session, and has no callback.
        CallError::Unavailable(_)
        | CallError::SessionLost(_)
        | CallError::Gone(_)
        | CallError::Refused(_) => refused(error),
        // The request or the answer is too large, or the method panicked: a second attempt would end in the
        // same way.
        CallError::NotSent(_) | CallError::Failed(_) => failed(failure_reason(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_client::{Attempt, AttemptLog};
    use pyroxene_common::message::Refusal;

    use crate::tasks::queue::tests::taken_of;

    const HOUR: Duration = Duration::from_secs(3600);

    fn late() -> AttemptLimit {
        AttemptLimit::DeadlineExceeded(Instant::now())
    }

    fn trail(reason: &str) -> Box<AttemptLog> {
        Box::new(AttemptLog {
            reason: Some(reason.to_owned()),
            ..AttemptLog::default()
        })
    }

    #[test]
    fn what_may_have_run_is_lost_and_what_did_not_is_refused() {
        let gone = CallError::MaybeRan(trail("gone"));
        assert!(
            matches!(judge_failure(&gone, late()), AttemptEnding::Lost { reason } if reason == "gone")
        );
        let nobody = CallError::Unavailable(trail("nobody"));
        assert!(matches!(
            judge_failure(&nobody, late()),
            AttemptEnding::Refused { .. }
        ));
        let unknown = CallError::Refused(after_refusal(RefusalReason::Unauthenticated));
        let ending = judge_failure(&unknown, late());
        assert!(
            matches!(ending, AttemptEnding::Refused { .. }),
            "{ending:?}"
        );
    }

    #[test]
    fn a_worker_that_hangs_is_told_from_one_that_is_killed_or_told_to_stop() {
        let ending = |lost| {
            let error = CallError::MaybeRan(after(AttemptError::MaybeRan(lost)));
            judge_failure(&error, late())
        };
        let silent = ending(ConnectionLost::Silent(HOUR));
        assert!(
            matches!(&silent, AttemptEnding::Silent { reason } if reason.contains("was silent for")),
            "{silent:?}"
        );
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for lost in [
            ConnectionLost::Closed,
            ConnectionLost::from(reset),
            ConnectionLost::GoneAway,
        ] {
            let ending = ending(lost);
            assert!(matches!(ending, AttemptEnding::Lost { .. }), "{ending:?}");
        }
    }

    fn after_refusal(reason: RefusalReason) -> Box<AttemptLog> {
        after(AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            message: "no".to_owned(),
        }))
    }

    fn after(error: AttemptError) -> Box<AttemptLog> {
        let attempt = Attempt {
            worker: "w1".to_owned(),
            endpoint: String::new(),
            ended_after: Duration::ZERO,
            error,
        };
        Box::new(AttemptLog {
            attempts: vec![attempt],
            ..AttemptLog::default()
        })
    }

    #[test]
    fn what_is_denied_is_denied_for_good() {
        let denied = CallError::Refused(after_refusal(RefusalReason::Denied));
        let ending = judge_failure(&denied, late());
        assert!(matches!(ending, AttemptEnding::Denied { reason } if reason == "worker 'w1': no"));
    }

    #[test]
    fn what_fails_again_in_any_case_is_not_tried_again() {
        let panicked = CallError::Failed(trail("it panicked"));
        let ending = judge_failure(&panicked, late());
        assert!(
            matches!(ending, AttemptEnding::Failed { error, retry: false, .. } if error == "it panicked")
        );
    }

    #[test]
    fn what_ends_an_attempt_is_the_deadline_or_the_run_limit_whichever_comes_first() {
        let mut taken = taken_of("ana", 0);
        taken.task.run_limit = 3_600_000;
        assert!(
            matches!(taken.limit(), AttemptLimit::RunLimit(at, _) if at == taken.claimed_at + HOUR)
        );
        taken.task.deadline = Some(taken.task.started + 7_200_000);
        assert!(matches!(taken.limit(), AttemptLimit::RunLimit(..)));
        taken.task.deadline = Some(taken.task.started + 3_600_000);
        assert!(
            matches!(taken.limit(), AttemptLimit::DeadlineExceeded(at) if at == taken.claimed_at + HOUR)
        );
        let error = CallError::DeadlineExceeded(trail("late"));
        assert_eq!(
            judge_failure(&error, late()),
            AttemptEnding::DeadlineExceeded
        );
        let ending = judge_failure(&error, AttemptLimit::RunLimit(Instant::now(), HOUR));
        let AttemptEnding::Failed { error, retry, .. } = ending else {
            panic!("{ending:?}");
        };
        assert_eq!(error, "it ran for longer than its run limit of 1h");
        assert!(retry);
    }

    #[test]
    fn the_objects_error_is_kept_as_it_gave_it() {
        let error = InvokeError::Failed {
            sentence: "sold out".to_owned(),
            error: r#"{"left":0}"#.to_owned(),
        };
        let expected = AttemptEnding::Failed {
            error: "sold out".to_owned(),
            value: Some(br#"{"left":0}"#.to_vec()),
            retry: false,
        };
        assert_eq!(judge_answer(InvokeResponse::Call(Err(error))), expected);
    }
}
