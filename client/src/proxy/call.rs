//! The state of a call in progress, and the judgement of its failures.

use super::Proxy;
use crate::{
    deadline::context_of_call,
    delegation::DelegatedCall,
    error::{Attempt, AttemptLog, AttemptRecorder, CallError},
    instance::ObjectInstance,
    older::encoded_for,
    retry::{Blame, Losses, RetryDecision, judge},
};
use pyroxene_common::{
    channel::{AttemptError, ProgressListener, StreamInputs},
    codec::CodecError,
    interface::Interface,
    message::EncodedRequest,
    metadata::Metadata,
    spans::Span,
};
use std::{sync::Arc, time::Duration};
use tarpc::context;
use tokio::time::Instant;

/// The instances that a call tries.
#[derive(Clone, Copy, Debug)]
pub(super) enum InstanceChoice<'a> {
    /// All instances, in repeated rounds.
    Any,
    /// Each instance once; if a worker is named, only its instances.
    EachOnce(Option<&'a str>),
}

/// A call in progress.
pub(super) struct ProxyCall<'a, I: Interface> {
    pub(super) context: context::Context,
    pub(super) deadline: Instant,
    pub(super) began: Instant,
    /// The time of the last decision.
    pub(super) now: Instant,
    pub(super) method: &'static str,
    /// Whether the call may run twice.
    pub(super) repeatable: bool,
    pub(super) request_index: usize,
    /// The version of the interface that the call needs; 0 if every version will do.
    pub(super) needs: u32,
    pub(super) encoded: EncodedRequest,
    /// The metadata that interceptors see before it is sent.
    pub(super) metadata: Option<Box<Metadata>>,
    pub(super) listener: Option<&'a ProgressListener>,
    pub(super) on_behalf: Option<DelegatedCall<'a>>,
    pub(super) choice: InstanceChoice<'a>,
    /// Called with the name of each worker before the call is sent to it.
    pub(super) sending: Option<&'a (dyn Fn(&str) + Send + Sync)>,
    /// Whether the call goes to the instance with the fewest calls of this client in flight.
    pub(super) prefers_fewest_in_flight: bool,
    /// The instances that are not tried again in this round.
    pub(super) tried: Vec<Arc<ObjectInstance<I::Response>>>,
    pub(super) attempts: AttemptRecorder,
    pub(super) losses: Losses,
    /// The streams of its parameters, if the method has streams.
    pub(super) streams: Option<Box<StreamInputs>>,
    /// What is recorded of it, if its trace is.
    pub(super) span: Option<Span>,
    /// The number of attempts that were sent. Only the deadline bounds the others: connections that failed or
    /// were refused, and calls whose last byte never left.
    sent: usize,
    pub(super) rounds: u32,
}

impl<I: Interface> ProxyCall<'_, I> {
    /// A call of the method with this index. For `outer` and `time` see [`context_of_call`].
    pub(super) fn new(
        object: &str,
        context: context::Context,
        outer: Option<&context::Context>,
        time: Option<Duration>,
        request_index: usize,
        encoded: Result<EncodedRequest, CodecError>,
    ) -> Result<Self, CallError> {
        let now = Instant::now();
        let context = context_of_call(context, outer, time, now);
        let method = I::METHODS.get(request_index);
        let encoded = encoded.map_err(|error| {
            CallError::NotSent(Box::new(AttemptLog {
                object: object.to_owned(),
                method: method.map_or("", |method| method.name).to_owned(),
                reason: Some(format!("the request cannot be encoded: {error}")),
                ..AttemptLog::default()
            }))
        })?;
        Ok(Self {
            context,
            deadline: Instant::from_std(context.deadline),
            began: now,
            now,
            method: method.map_or("", |method| method.name),
            repeatable: method.is_some_and(|method| method.repeatable),
            request_index,
            needs: 0,
            encoded,
            metadata: None,
            listener: None,
            on_behalf: None,
            choice: InstanceChoice::Any,
            sending: None,
            prefers_fewest_in_flight: false,
            tried: Vec::new(),
            attempts: AttemptRecorder::default(),
            losses: Losses::default(),
            streams: None,
            span: None,
            sent: 0,
            rounds: 0,
        })
    }

    /// The request as this older version of the interface has it.
    pub(super) fn encoded_for(&self, version: u32) -> Result<EncodedRequest, AttemptError> {
        encoded_for::<I>(version, self.request_index, self.needs, &self.encoded)
    }

    /// Makes it a call of one instance, which gets it once.
    pub(super) fn ask_once(&mut self) {
        self.choice = InstanceChoice::EachOnce(None);
        self.repeatable = false;
    }

    /// Whether the usual path is enough: any instance will do, over a connection of this client itself.
    pub(super) fn is_usual(&self) -> bool {
        matches!(self.choice, InstanceChoice::Any) && self.on_behalf.is_none()
    }
}

impl<I: Interface> Proxy<I> {
    pub(super) fn error(
        &self,
        kind: impl FnOnce(Box<AttemptLog>) -> CallError,
        call: &mut ProxyCall<'_, I>,
        reason: Option<String>,
    ) -> CallError {
        let attempts = std::mem::take(&mut call.attempts);
        let span = call.span.as_mut();
        let error = kind(Box::new(AttemptLog {
            object: self.object.name.clone(),
            method: call.method.to_owned(),
            reason,
            attempts: attempts.listed,
            unlisted: attempts.unlisted,
            problem: None,
        }));
        let error = match error {
            // `Unavailable` promises that the call has not run.
            CallError::Unavailable(trail) if trail.may_have_run() => CallError::MaybeRan(trail),
            error => error,
        };
        if let Some(span) = span {
            span.fail(error.kind());
        }
        error
    }

    /// Decides whether another attempt follows.
    pub(super) fn after_failure(
        &self,
        call: &mut ProxyCall<'_, I>,
        instance: Arc<ObjectInstance<I::Response>>,
        error: AttemptError,
    ) -> Result<(), CallError> {
        let sent = !matches!(error, AttemptError::NotSent(_));
        call.sent += usize::from(sent);
        self.decide(call, instance, error, sent)
    }

    /// The same for a connection that failed or was refused: the call was not sent.
    pub(super) fn after_failed_connection(
        &self,
        call: &mut ProxyCall<'_, I>,
        instance: Arc<ObjectInstance<I::Response>>,
        error: AttemptError,
    ) -> Result<(), CallError> {
        self.decide(call, instance, error, false)
    }

    fn decide(
        &self,
        call: &mut ProxyCall<'_, I>,
        instance: Arc<ObjectInstance<I::Response>>,
        error: AttemptError,
        sent: bool,
    ) -> Result<(), CallError> {
        let verdict = match call.has_sent_items() {
            // What was taken from the streams cannot be sent again.
            true => judge(&error, call.repeatable).finally(),
            false => judge(&error, call.repeatable),
        };
        let now = Instant::now();
        call.now = now;
        let alone = instance.ran_one_call();
        call.losses.record(instance.name(), &error, alone, now);
        call.attempts.push(Attempt {
            worker: instance.name().to_owned(),
            endpoint: instance.key.endpoint.clone(),
            ended_after: now - call.began,
            error,
        });
        if !call.tried.iter().any(|tried| Arc::ptr_eq(tried, &instance)) {
            call.tried.push(instance);
        }
        match verdict {
            RetryDecision::Final(kind) => Err(self.error(kind, call, None)),
            RetryDecision::TryElsewhere { costs_budget, last } => {
                match call.losses.blame() {
                    // `connect_instance` waits.
                    Blame::None | Blame::Wait(_) => {}
                    Blame::Poisonous(reason) => {
                        return Err(self.error(CallError::MaybeRan, call, Some(reason)));
                    }
                }
                if now >= call.deadline {
                    return Err(self.error(CallError::DeadlineExceeded, call, None));
                }
                if sent && call.sent >= self.options.max_attempts as usize {
                    let reason = "its limit of attempts is reached";
                    return Err(self.error(last, call, Some(reason.to_owned())));
                }
                if costs_budget && sent && !self.budget.withdraw_retry(now) {
                    let reason = "the retry budget is used up";
                    return Err(self.error(last, call, Some(reason.to_owned())));
                }
                Ok(())
            }
        }
    }
}
