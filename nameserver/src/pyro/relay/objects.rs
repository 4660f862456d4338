//! The objects that a relay calls, by the client of one caller.

use super::context;
use futures::StreamExt;
use pyroxene_client::{CallError, Client, ClientConfig, DynamicError, DynamicObject};
use pyroxene_common::{
    channel::{AttemptError, Stream},
    host::{NamedAnswer, NamedCall},
    identity::Identity,
    interface::describe::is_stream,
    interfaces::invoke::{InvokeError, InvokeStream},
};
use pyroxene_pyro::{
    PyValue, apart,
    described::{BlobPlace, DescribedObject, raised},
    exception::PyException,
    literal,
    server::{Members, PyroAnswer, PyroCall, PyroItems},
    uri::SCHEME,
};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long a call may run: Pyro has no deadlines, and this one bounds what a client that has gone leaves.
pub(super) const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the description of an object is used before it is asked for again.
const DESCRIPTION_LIFE: Duration = Duration::from_secs(10);

/// How long it is kept if nothing answers.
const STALE_LIFE: Duration = Duration::from_secs(10 * 60);

/// The most objects of a caller whose descriptions are kept.
const MAX_OBJECTS: usize = 256;

/// How long an object may take to describe itself.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of one caller.
pub(super) struct RelayClient {
    client: Client,
    identity: Option<Arc<Identity>>,
    used: Mutex<Instant>,
    objects: Mutex<HashMap<String, (Arc<RelayedObject>, Instant)>>,
}

impl std::fmt::Debug for RelayClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RelayClient").field(&self.identity).finish()
    }
}

/// Plain data behind a lock: valid even if a holder of the lock panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RelayClient {
    pub(super) fn new(config: ClientConfig, identity: Option<Arc<Identity>>) -> Self {
        Self {
            client: Client::new(config),
            identity,
            used: Mutex::new(Instant::now()),
            objects: Mutex::default(),
        }
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    pub(super) fn used(&self) {
        *lock(&self.used) = Instant::now();
    }

    pub(super) fn last_used(&self) -> Instant {
        *lock(&self.used)
    }

    fn younger(&self, name: &str, life: Duration) -> Option<Arc<RelayedObject>> {
        let objects = lock(&self.objects);
        let (object, since) = objects.get(name)?;
        (since.elapsed() < life).then(|| Arc::clone(object))
    }

    /// An object whose description is known.
    pub(super) fn known(&self, name: &str) -> Option<Arc<RelayedObject>> {
        self.younger(name, DESCRIPTION_LIFE)
    }

    /// An object that described itself some time ago.
    pub(super) fn stale(&self, name: &str) -> Option<Arc<RelayedObject>> {
        self.younger(name, STALE_LIFE)
    }

    /// An object that describes itself now.
    pub(super) async fn found(&self, name: &str) -> Result<Arc<RelayedObject>, PyException> {
        let finding = RelayedObject::find(&self.client, name);
        let found = match timeout(DESCRIBE_TIMEOUT, finding).await {
            Ok(found) => found.map(Arc::new),
            Err(_) => {
                let text = format!("{name} does not say within {DESCRIBE_TIMEOUT:?} what it is");
                Err(PyException::pyro("CommunicationError", text))
            }
        };
        let object = match (found, self.stale(name)) {
            (Ok(found), _) => found,
            // Its calls are tried all the same, and say what is wrong.
            (Err(_), Some(stale)) => return Ok(stale),
            (Err(raised), None) => return Err(raised),
        };
        let mut objects = lock(&self.objects);
        if objects.len() >= MAX_OBJECTS {
            objects.retain(|_, (_, since)| since.elapsed() < DESCRIPTION_LIFE);
        }
        if objects.len() < MAX_OBJECTS || objects.contains_key(name) {
            objects.insert(name.to_owned(), (Arc::clone(&object), Instant::now()));
        }
        Ok(object)
    }
}

/// An object.
#[derive(Debug)]
pub(super) struct RelayedObject {
    object: DynamicObject,
    kind: RelayedKind,
}

#[derive(Debug)]
enum RelayedKind {
    /// Of workers: arguments and answers go through the JSON of its interface.
    Hosted(Arc<DescribedObject>),
    /// Of programs in Python: arguments and answers pass as they are.
    Python(Arc<Members>),
}

/// What Python is told of a call without an answer. None of these classes lets Pyro's client try again by itself: the
/// client of the relay has done that where it is safe.
fn failed(error: CallError) -> PyException {
    let (class, text) = match &error {
        CallError::Refused(_) => ("SecurityError", error.last_reason()),
        // It may have run; what ended is the connection.
        CallError::Failed(_) if is_lost(&error) => ("CommunicationError", error.last_reason()),
        CallError::Failed(_) => return PyException::builtin("RuntimeError", error.last_reason()),
        CallError::DeadlineExceeded(_) => {
            return PyException::builtin("TimeoutError", error.to_string());
        }
        CallError::NotSent(_) => ("ProtocolError", error.last_reason()),
        CallError::MaybeRan(_)
        | CallError::Unavailable(_)
        | CallError::SessionLost(_)
        | CallError::Gone(_) => ("CommunicationError", error.to_string()),
    };
    PyException::pyro(class, text)
}

/// Whether the connection to a program in Python ended during a call.
fn is_lost(error: &CallError) -> bool {
    let last = error.attempts().last().map(|last| &last.error);
    matches!(last, Some(AttemptError::Failed(failed)) if failed.kind == io::ErrorKind::ConnectionAborted)
}

fn unreadable(error: impl ToString) -> PyException {
    PyException::pyro("SerializeError", error.to_string())
}

impl RelayedObject {
    async fn find(client: &Client, name: &str) -> Result<Self, PyException> {
        let found = client.dynamic(name, context()).await;
        let object = found.map_err(|error| match error {
            DynamicError::Call(error) => failed(error),
            other => unreadable(other),
        })?;
        let description = object.description().clone();
        let kind = match description.interface.starts_with(SCHEME) {
            true => RelayedKind::Python(Arc::new(members(&object).await?)),
            false => RelayedKind::Hosted(Arc::new(DescribedObject::new(description))),
        };
        Ok(Self { object, kind })
    }

    pub(super) fn members(&self) -> &Arc<Members> {
        match &self.kind {
            RelayedKind::Hosted(described) => described.members(),
            RelayedKind::Python(members) => members,
        }
    }

    /// Whether its client knows no instance of it now.
    pub(super) fn knows_no_instance(&self) -> bool {
        self.object.instance_count() == 0
    }

    pub(super) async fn call(&self, call: PyroCall) -> Result<PyroAnswer, PyException> {
        match &self.kind {
            RelayedKind::Hosted(described) => self.call_hosted(described, call).await,
            RelayedKind::Python(_) => self.call_python(call).await,
        }
    }

    /// Calls a method with streams among its arguments, or that answers one.
    async fn call_with_streams(
        &self,
        method: &str,
        arguments: String,
        inputs: Vec<Stream<String>>,
    ) -> Result<InvokeStream, DynamicError> {
        let called = self.object.stream(context(), method, arguments, inputs);
        Ok(called.await?.response)
    }

    async fn call_plainly(
        &self,
        method: &str,
        arguments: String,
    ) -> Result<InvokeStream, DynamicError> {
        let called = self
            .object
            .call_with_progress(context(), method, arguments, None);
        Ok(InvokeStream {
            answer: Some(called.await?.response),
            items: None,
        })
    }

    async fn call_hosted(
        &self,
        described: &Arc<DescribedObject>,
        call: PyroCall,
    ) -> Result<PyroAnswer, PyException> {
        let method = described.method(&call)?;
        let shown = format!("{}.{}", call.object, call.method);
        let caller = Arc::clone(&call.caller);
        let naming = described.named_call(method, &shown, call, BlobPlace::Within);
        let named = naming.await?;
        let NamedCall {
            arguments, inputs, ..
        } = named;
        let answered = match inputs.is_empty() && !is_stream(&method.result) {
            true => self.call_plainly(&method.name, arguments).await,
            false => {
                self.call_with_streams(&method.name, arguments, inputs)
                    .await
            }
        };
        let InvokeStream { answer, items } = answered.map_err(|error| match error {
            DynamicError::Call(error) => failed(error),
            DynamicError::Object(error) => raised(&shown, error),
            other => unreadable(other),
        })?;
        let answered = NamedAnswer {
            answer: answer.unwrap_or_default(),
            items,
            blobs: Vec::new(),
        };
        described.answer(&caller, method, answered).await
    }

    async fn call_python(&self, call: PyroCall) -> Result<PyroAnswer, PyException> {
        if call.envelope.blob.is_some() {
            let text = "a SerializedBlob goes to the object itself, not by way of the name server";
            return Err(PyException::pyro("SerializeError", text));
        }
        let (caller, size) = (call.caller, apart::size_of(&call.positional));
        let size = size + apart::size_of(call.named.iter().map(|(_, value)| value));
        let named = call.named.into_iter();
        let named = named.map(|(name, value)| (PyValue::Str(name), value));
        let (positional, named) = (call.positional, PyValue::Dict(named.collect()));
        let writing = move || literal::arguments(positional, named);
        let arguments = apart::apart(caller.turn_name(), size, writing).await;
        let arguments = arguments.map_err(unreadable)?.map_err(unreadable)?;
        let described = self.object.description().method(&call.method);
        let answered = match described.is_some_and(|method| method.repeatable) {
            // Its items are a list then.
            true => self.call_plainly(&call.method, arguments).await,
            false => {
                self.call_with_streams(&call.method, arguments, Vec::new())
                    .await
            }
        };
        let InvokeStream { answer, items } = answered.map_err(python_error)?;
        if let Some(items) = items {
            let items = items.map(|item| {
                let text = item.map_err(|broken| {
                    PyException::builtin("RuntimeError", broken.failure.to_string())
                })?;
                literal::read_answer(&text).map_err(unreadable)
            });
            return Ok(PyroAnswer::Items(PyroItems::new(items)));
        }
        let answer = answer.unwrap_or_default();
        let (size, reading) = (answer.len(), move || literal::read_answer(&answer));
        let answer = apart::apart(caller.turn_name(), size, reading).await;
        Ok(answer.map_err(unreadable)?.map_err(unreadable)?.into())
    }
}

/// The error of a program in Python: its own exception, with its traceback.
fn python_error(error: DynamicError) -> PyException {
    match error {
        DynamicError::Call(error) => failed(error),
        DynamicError::Object(InvokeError::Failed { sentence, error }) => {
            literal::read_exception(&error).unwrap_or_else(|| unreadable(sentence))
        }
        other => unreadable(other),
    }
}

/// The members of an object of a program in Python, as its daemon tells them.
async fn members(object: &DynamicObject) -> Result<Members, PyException> {
    let nothing = literal::arguments(Vec::new(), PyValue::Dict(Vec::new())).map_err(unreadable)?;
    let asked = object.call_with_progress(context(), literal::METADATA, nothing, None);
    let told = asked.await.map_err(python_error)?.response;
    let told = literal::read_answer(&told).map_err(unreadable)?;
    let names = |key: &str| -> Vec<String> {
        let names = told.get(key).and_then(PyValue::as_sequence);
        let names = names.into_iter().flatten().filter_map(PyValue::as_str);
        names.map(str::to_owned).collect()
    };
    Ok(Members {
        methods: names("methods"),
        oneway: names("oneway"),
        attributes: names("attrs"),
    })
}
