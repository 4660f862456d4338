//! One attempt: a call to one worker, and what its end means for the task.

use super::lane::LaneKey;
use crate::access::{Authority, Submitter};
use pyroxene_client::{CallError, Client, OnBehalf, Once, Proxy};
use pyroxene_common::{
    access::Identity,
    channel::{AttemptError, ConnectionLost, Listener},
    interfaces::invoke::{
        Invoke, InvokeError,
        invoke::{InvokeRequest, InvokeResponse},
    },
    message::RefusalReason,
};
use pyroxene_store::{Claimed, Ending};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::{sync::OnceCell, time::Instant};

/// How long the first call of an object waits for an instance of it.
const RESOLVE: Duration = Duration::from_secs(2);

/// The stub of an object, made at its first call.
pub(super) type Stub = Arc<OnceCell<Proxy<Invoke>>>;

/// The worker to which an attempt was sent last.
#[derive(Debug, Default)]
pub(super) struct At(Mutex<Option<String>>);

impl At {
    fn moves_to(&self, worker: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.to_owned());
    }

    /// The worker that the call was sent to last.
    pub(super) fn worker(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A task that this name server has claimed.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) task: Claimed,
    pub(super) lane: LaneKey,
    /// When it was claimed, by this process's clock.
    pub(super) at: Instant,
}

impl Taken {
    /// When the attempt must have ended, by this process's clock.
    fn ends(&self) -> Ends {
        let millis = |time: i64| Duration::from_millis(u64::try_from(time).unwrap_or(0));
        let run_limit = millis(self.task.run_limit);
        let late = self.task.deadline.map(|deadline| {
            let left = millis(deadline.saturating_sub(self.task.started));
            self.at + left.min(LONGEST_RUN)
        });
        let overrun = self.at + run_limit.min(LONGEST_RUN);
        match late {
            Some(late) if late <= overrun => Ends::Late(late),
            _ => Ends::Overrun(overrun, run_limit),
        }
    }
}

/// The longest run limit of an attempt, whatever its task says: ten years.
const LONGEST_RUN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The limit that ends an attempt, and its time.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The task's deadline.
    Late(Instant),
    /// The attempt's run limit.
    Overrun(Instant, Duration),
}

impl Ends {
    fn at(self) -> Instant {
        match self {
            Self::Late(at) | Self::Overrun(at, _) => at,
        }
    }

    fn ending(self) -> Ending {
        match self {
            Self::Late(_) => Ending::DeadlineExceeded,
            Self::Overrun(_, limit) => Ending::Failed {
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
fn submitter(authority: Option<&Authority>, task: &Claimed) -> Result<Option<Identity>, Ending> {
    let Some(authority) = authority else {
        return Ok(None);
    };
    let submitter = Submitter {
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
    authority: Option<&Authority>,
    stub: Stub,
    taken: &mut Taken,
    at: &At,
    listener: &Listener,
) -> Ending {
    let ends = taken.ends();
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
    let resolve = || Box::pin(client.proxy_before::<Invoke>(object, Instant::now() + RESOLVE));
    let proxy = match stub.get_or_try_init(resolve).await {
        Ok(proxy) => proxy,
        Err(error) => return refused(&error),
    };
    let mut context = context::current();
    context.deadline = ends.at().into_std();
    let request = InvokeRequest::Call {
        method: taken.task.method.clone(),
        arguments,
    };
    let once = Once {
        worker: taken.task.worker.as_deref(),
        sending: &|worker| at.moves_to(worker),
        on_behalf: identity.as_ref().map(|identity| OnBehalf {
            identity,
            method: &taken.task.method,
        }),
        listener: Some(listener),
    };
    match proxy.call_once(context, &request, once).await {
        Ok(answered) => judge_answer(answered.response),
        Err(error) => judge_failure(&error, ends),
    }
}

fn failed(error: String) -> Ending {
    Ending::Failed {
        error,
        value: None,
        retry: false,
    }
}

/// The end of an attempt that did not run. Only a denial is final: a worker that does not know the submitter
/// yet may know it later.
fn refused(error: &CallError) -> Ending {
    let reason = why(error);
    match error.attempts().last().map(|last| &last.error) {
        Some(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::Denied => {
            Ending::Denied { reason }
        }
        _ => Ending::Refused { reason },
    }
}

/// The reason of the last failure, with the worker's name.
fn why(error: &CallError) -> String {
    let reason = error.last_reason();
    match error.attempts().last() {
        Some(attempt) => format!("worker '{}': {reason}", attempt.worker),
        None => reason,
    }
}

fn judge_answer(response: InvokeResponse) -> Ending {
    match response {
        InvokeResponse::Call(Ok(result)) => Ending::Succeeded {
            result: result.into_bytes(),
        },
        InvokeResponse::Call(Err(InvokeError::Failed { sentence, error })) => Ending::Failed {
            error: sentence,
            value: Some(error.into_bytes()),
            retry: false,
        },
        InvokeResponse::Call(Err(error)) => failed(error.to_string()),
        InvokeResponse::CallRepeatable(_) | InvokeResponse::Describe(_) => {
            failed("the worker answered another method".to_owned())
        }
    }
}

fn judge_failure(error: &CallError, ends: Ends) -> Ending {
    match error {
        CallError::DeadlineExceeded(_) => ends.ending(),
        CallError::MaybeRan(_) => {
            let reason = why(error);
            match error.attempts().last().map(|last| &last.error) {
                Some(AttemptError::MaybeRan(ConnectionLost::Silent(_))) => {
                    Ending::Silent { reason }
                }
                _ => Ending::Lost { reason },
            }
        }
        CallError::Unavailable(_) | CallError::Refused(_) => refused(error),
        // The request or the answer is too large, or the method panicked: a second attempt would end in the
        // same way.
        CallError::NotSent(_) | CallError::Failed(_) => failed(why(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_client::{Attempt, Trail};
    use pyroxene_common::message::Refusal;

    use crate::tasks::lane::tests::taken_of;

    const HOUR: Duration = Duration::from_secs(3600);

    fn late() -> Ends {
        Ends::Late(Instant::now())
    }

    fn trail(reason: &str) -> Box<Trail> {
        Box::new(Trail {
            reason: Some(reason.to_owned()),
            ..Trail::default()
        })
    }

    #[test]
    fn what_may_have_run_is_lost_and_what_did_not_is_refused() {
        let gone = CallError::MaybeRan(trail("gone"));
        assert!(
            matches!(judge_failure(&gone, late()), Ending::Lost { reason } if reason == "gone")
        );
        let nobody = CallError::Unavailable(trail("nobody"));
        assert!(matches!(
            judge_failure(&nobody, late()),
            Ending::Refused { .. }
        ));
        let unknown = CallError::Refused(after_refusal(RefusalReason::Unauthenticated));
        let ending = judge_failure(&unknown, late());
        assert!(matches!(ending, Ending::Refused { .. }), "{ending:?}");
    }

    #[test]
    fn a_worker_that_hangs_is_told_from_one_that_is_killed_or_told_to_stop() {
        let ending = |lost| {
            let error = CallError::MaybeRan(after(AttemptError::MaybeRan(lost)));
            judge_failure(&error, late())
        };
        let silent = ending(ConnectionLost::Silent(HOUR));
        assert!(
            matches!(&silent, Ending::Silent { reason } if reason.contains("was silent for")),
            "{silent:?}"
        );
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for lost in [
            ConnectionLost::Closed,
            ConnectionLost::from(reset),
            ConnectionLost::GoneAway,
        ] {
            let ending = ending(lost);
            assert!(matches!(ending, Ending::Lost { .. }), "{ending:?}");
        }
    }

    fn after_refusal(reason: RefusalReason) -> Box<Trail> {
        after(AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            sentence: "no".to_owned(),
        }))
    }

    fn after(error: AttemptError) -> Box<Trail> {
        let attempt = Attempt {
            worker: "w1".to_owned(),
            endpoint: String::new(),
            ended: Duration::ZERO,
            error,
        };
        Box::new(Trail {
            attempts: vec![attempt],
            ..Trail::default()
        })
    }

    #[test]
    fn what_is_denied_is_denied_for_good() {
        let denied = CallError::Refused(after_refusal(RefusalReason::Denied));
        let ending = judge_failure(&denied, late());
        assert!(matches!(ending, Ending::Denied { reason } if reason == "worker 'w1': no"));
    }

    #[test]
    fn what_fails_again_in_any_case_is_not_tried_again() {
        let panicked = CallError::Failed(trail("it panicked"));
        let ending = judge_failure(&panicked, late());
        assert!(
            matches!(ending, Ending::Failed { error, retry: false, .. } if error == "it panicked")
        );
    }

    #[test]
    fn what_ends_an_attempt_is_the_deadline_or_the_run_limit_whichever_comes_first() {
        let mut taken = taken_of("ana", 0);
        taken.task.run_limit = 3_600_000;
        assert!(matches!(taken.ends(), Ends::Overrun(at, _) if at == taken.at + HOUR));
        taken.task.deadline = Some(taken.task.started + 7_200_000);
        assert!(matches!(taken.ends(), Ends::Overrun(..)));
        taken.task.deadline = Some(taken.task.started + 3_600_000);
        assert!(matches!(taken.ends(), Ends::Late(at) if at == taken.at + HOUR));
        let error = CallError::DeadlineExceeded(trail("late"));
        assert_eq!(judge_failure(&error, late()), Ending::DeadlineExceeded);
        let ending = judge_failure(&error, Ends::Overrun(Instant::now(), HOUR));
        let Ending::Failed { error, retry, .. } = ending else {
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
        let expected = Ending::Failed {
            error: "sold out".to_owned(),
            value: Some(br#"{"left":0}"#.to_vec()),
            retry: false,
        };
        assert_eq!(judge_answer(InvokeResponse::Call(Err(error))), expected);
    }
}
