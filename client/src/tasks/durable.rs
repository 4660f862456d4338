//! A stub that submits its calls as tasks.

use super::{error::TaskError, new::NewTask};
use crate::{
    client::Client,
    deadline::chosen_deadline,
    error::{AttemptLog, CallError},
};
use pyroxene_common::{
    interface::{CallStub, Interface, Method},
    json::{self, JsonAnswer},
};
use std::{fmt, marker::PhantomData, sync::Arc};
use tarpc::context;
use tokio::time::{Instant, timeout_at};

/// A stub for an object of the interface `I` that submits its calls as tasks and waits for their
/// results. The object need not be hosted yet, and workers and name servers may start and stop meanwhile.
///
/// The deadline in a call's context is the deadline of the task. A context as `context::current()` makes it has
/// none: the call waits for as long as the task takes. If a call's future is dropped, its task continues. Errors
/// of the object are returned as the method's own errors. If the task failed for another reason or was
/// cancelled, the result is a [`CallError`].
pub struct Durable<I> {
    client: Client,
    object: Arc<str>,
    shape: Arc<dyn Fn(NewTask) -> NewTask + Send + Sync>,
    /// Whether each method can return an error of its own, in the order of the interface.
    fallible: Arc<[bool]>,
    interface: PhantomData<fn() -> I>,
}

impl<I> Clone for Durable<I> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            object: Arc::clone(&self.object),
            shape: Arc::clone(&self.shape),
            fallible: Arc::clone(&self.fallible),
            interface: PhantomData,
        }
    }
}

impl<I: Interface> fmt::Debug for Durable<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({}: {})", self.object, I::NAME)
    }
}

impl<I: Interface> Durable<I> {
    pub(super) fn new(client: Client, object: &str) -> Self {
        let methods = I::describe().methods;
        Self {
            client,
            object: object.into(),
            shape: Arc::new(|task| task),
            fallible: methods.iter().map(|method| method.fallible).collect(),
            interface: PhantomData,
        }
    }

    /// Sets the options of the tasks, for example `|task| task.priority(5).max_attempts(10)`.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::hash::Hash;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let hash = client
    ///     .durable_stub::<Hash>("hash")
    ///     .with(|task| task.priority(5).max_attempts(10))
    ///     .client();
    /// let digits = hash.sha256(context::current(), "abc".to_owned()).await?;
    /// assert_eq!(digits.len(), 64);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with(mut self, shape: impl Fn(NewTask) -> NewTask + Send + Sync + 'static) -> Self {
        self.shape = Arc::new(shape);
        self
    }

    /// The interface's client over this stub.
    pub fn client(self) -> I::Client<Self> {
        self.into()
    }

    /// Submits a call as a task and waits for its result.
    async fn run(
        &self,
        deadline: Option<Instant>,
        method: &Method,
        request: &I::Request,
    ) -> Result<String, TaskError> {
        let invalid = |sentence: String| TaskError::Invalid { sentence };
        let arguments =
            json::arguments::<I>(request).map_err(|error| invalid(error.to_string()))?;
        let task = NewTask::new(&*self.object, method.name).arguments(arguments);
        let Some(deadline) = deadline else {
            let handle = self.client.submit((self.shape)(task)).await?;
            return handle.wait_text().await;
        };
        let time = deadline.saturating_duration_since(Instant::now());
        let task = (self.shape)(task.deadline(time));
        let finished = async {
            let handle = self.client.submit_with_deadline(task, deadline).await?;
            handle.wait_text().await
        };
        match timeout_at(deadline, finished).await {
            // The submission was repeated until the deadline.
            Ok(Err(TaskError::Unavailable { .. } | TaskError::MaybeSubmitted { .. }))
                if Instant::now() >= deadline =>
            {
                Err(TaskError::DeadlineExceeded)
            }
            Ok(outcome) => outcome,
            Err(_) => Err(TaskError::DeadlineExceeded),
        }
    }

    fn error(&self, method: &str, error: TaskError) -> CallError {
        let kind = match &error {
            TaskError::Failed { .. }
            | TaskError::Cancelled
            | TaskError::Unknown { .. }
            | TaskError::UnknownBatch { .. }
            | TaskError::UnknownSchedule { .. } => CallError::Failed,
            TaskError::DeadlineExceeded => CallError::DeadlineExceeded,
            TaskError::Unavailable { sent: true, .. }
            | TaskError::MaybeSubmitted { .. }
            | TaskError::PartlySubmitted { .. }
            | TaskError::MaybeChanged { .. } => CallError::MaybeRan,
            TaskError::Unavailable { sent: false, .. } => CallError::Unavailable,
            TaskError::Refused { .. } => CallError::Refused,
            TaskError::Invalid { .. } => CallError::NotSent,
        };
        kind(Box::new(AttemptLog {
            object: self.object.to_string(),
            method: method.to_owned(),
            reason: Some(error.to_string()),
            ..AttemptLog::default()
        }))
    }
}

impl<I: Interface> CallStub for Durable<I> {
    type Request = I::Request;
    type Response = I::Response;
    type Error = CallError;

    fn answered_another_method() -> CallError {
        CallError::other_method()
    }

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallError> {
        let index = I::request_index(&request);
        let (Some(method), Some(&fallible)) = (I::METHODS.get(index), self.fallible.get(index))
        else {
            let sentence = "the interface does not list this method".to_owned();
            return Err(self.error("", TaskError::Invalid { sentence }));
        };
        let deadline = chosen_deadline(&context, Instant::now());
        let outcome = self.run(deadline, method, &request).await;
        let answer = match &outcome {
            Ok(result) if fallible => JsonAnswer::Succeeded(result),
            Ok(result) => JsonAnswer::Plain(result),
            Err(TaskError::Failed {
                value: Some(value), ..
            }) if fallible => JsonAnswer::Failed(value),
            Err(error) => return Err(self.error(method.name, error.clone())),
        };
        json::response_from_answer::<I>(method, answer).map_err(|unreadable| {
            let sentence = match outcome {
                // The error is not of the method's type, so the object has another interface.
                Err(error) => error.to_string(),
                Ok(_) => unreadable.to_string(),
            };
            let failed = TaskError::Failed {
                sentence,
                value: None,
            };
            self.error(method.name, failed)
        })
    }
}
