//! A call, a batch or a oneway call of a connection.

use super::{
    CallError, Connection, Members, Next, PyroAnswer, PyroCall, PyroCaller, PyroStream,
    context::CallContext, daemon,
};
use crate::{
    PyValue,
    apart::apart,
    envelope::Envelope,
    exception::PyException,
    limits::MAX_BATCH,
    serializer::{Invocation, Serializer},
    transport::TransportError,
    wire::{
        BLOB_ANNOTATION, FLAG_BATCH, FLAG_CORRELATION, FLAG_KEEP_SERIALIZED, FLAG_ONEWAY, Message,
    },
};
use bytes::Bytes;
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc};

impl<S: PyroStream> Connection<S> {
    pub(super) async fn invoke(
        &mut self,
        mut message: Message,
        serializer: Serializer,
    ) -> Result<Next, TransportError> {
        let header = message.header;
        if header.has(FLAG_ONEWAY) {
            self.stream.get_ref().acknowledge();
        }
        // The request is needed for its header alone from here on.
        let payload = Bytes::from(std::mem::take(&mut message.payload));
        let (size, keeps) = (payload.len(), header.has(FLAG_KEEP_SERIALIZED));
        let annotation = message.annotation(BLOB_ANNOTATION).unwrap_or_default();
        let annotation = annotation.to_vec();
        let reading = move || match keeps {
            true => serializer
                .read_blob_invocation(&payload, &annotation)
                .map(|(info, call)| (Some(info), call)),
            false => serializer
                .read_invocation(&payload)
                .map(|call| (None, call)),
        };
        let read = apart(self.caller.turn_name(), size, reading).await?;
        let (blob, invocation) = match read {
            Ok(read) => read,
            Err(_) if header.has(FLAG_ONEWAY) => return Ok(Next::Continue),
            Err(error) => {
                let raised = PyException::builtin("ValueError", error.to_string());
                let nothing = Envelope::default();
                self.send_answer(&message, serializer, &nothing, Err(raised), 0)
                    .await?;
                return Ok(Next::Continue);
            }
        };
        let envelope = Arc::new(Envelope::new(
            header.has(FLAG_CORRELATION).then_some(header.correlation),
            std::mem::take(&mut message.annotations),
            blob,
        ));
        let (context, caller) = (Arc::clone(&self.context), Arc::clone(&self.caller));
        let is_batch = header.has(FLAG_BATCH);
        let waits_for_item = invocation.object == daemon::OBJECT
            && invocation.method == daemon::NEXT_ITEM
            && !is_batch;
        let carried = Arc::clone(&envelope);
        let running = async move {
            let running = async {
                match is_batch {
                    true => context
                        .run_batch(invocation, &caller, &carried)
                        .await
                        .map(PyroAnswer::from),
                    false => context.run(invocation, &caller, &carried).await,
                }
            };
            let caught = AssertUnwindSafe(running).catch_unwind().await;
            caught.unwrap_or_else(|_| {
                Err(PyException::builtin("RuntimeError", "the method panicked").into())
            })
        };
        if header.has(FLAG_ONEWAY) {
            // While too many run, the connection waits: nothing is unbounded.
            let slot = Arc::clone(&self.oneway).acquire_owned().await;
            tokio::spawn(async move {
                if let Err(error) = running.await {
                    tracing::debug!(?error, "a oneway call of a Pyro client failed");
                }
                drop(slot);
            });
            return Ok(Next::Continue);
        }
        let answered = match waits_for_item {
            // An item is not taken for a client that has given up waiting.
            true => tokio::select! {
                biased;
                answered = running => answered,
                () = self.hung_up() => return Ok(Next::Close),
            },
            false => running.await,
        };
        let result = match answered {
            Ok(answer) => Ok(answer),
            Err(CallError::Raised(raised)) => Err(raised),
            Err(CallError::Hangup) => return Ok(Next::Close),
        };
        let flags = if is_batch { FLAG_BATCH } else { 0 };
        self.send_answer(&message, serializer, &envelope, result, flags)
            .await?;
        Ok(Next::Continue)
    }
}

impl CallContext {
    /// The members of an object; `None` if there is no such object.
    pub(super) async fn members(
        &self,
        object: &str,
        caller: &Arc<PyroCaller>,
    ) -> Result<Option<Arc<Members>>, PyException> {
        match daemon::members(&*self.objects, object) {
            Some(members) => Ok(Some(members)),
            None => self.objects.find(object, caller).await,
        }
    }

    /// Runs the calls of a batch until one fails: its exception is the last result.
    async fn run_batch(
        &self,
        batch: Invocation,
        caller: &Arc<PyroCaller>,
        envelope: &Arc<Envelope>,
    ) -> Result<PyValue, CallError> {
        if batch.positional.len() > MAX_BATCH {
            let text = format!("a batch has at most {MAX_BATCH} calls");
            return Err(PyException::builtin("ValueError", text).into());
        }
        let mut results = Vec::new();
        for call in batch.positional {
            let parts = call
                .into_sequence()
                .ok()
                .and_then(|parts| <[PyValue; 3]>::try_from(parts).ok());
            let Some([PyValue::Str(method), positional, named]) = parts else {
                let text = "a call of the batch is malformed";
                return Err(PyException::builtin("TypeError", text).into());
            };
            let call = Invocation {
                object: batch.object.clone(),
                method,
                positional: positional.into_sequence().unwrap_or_default(),
                named,
            };
            let raised = match self.run(call, caller, envelope).await {
                Ok(PyroAnswer::Value(value)) => {
                    results.push(value);
                    continue;
                }
                Ok(PyroAnswer::Items(_)) => {
                    PyException::pyro("SerializeError", "a result of a batch cannot be a stream")
                }
                Err(CallError::Raised(raised)) => raised,
                // Earlier calls have run, so a retry would repeat them: the client is told.
                Err(CallError::Hangup) => {
                    PyException::pyro("CommunicationError", "the server is about to stop")
                }
            };
            results.push(raised.to_batch_value());
            break;
        }
        Ok(PyValue::List(results))
    }

    async fn run(
        &self,
        call: Invocation,
        caller: &Arc<PyroCaller>,
        envelope: &Arc<Envelope>,
    ) -> Result<PyroAnswer, CallError> {
        let Invocation {
            object,
            method,
            positional,
            named,
        } = call;
        if object == daemon::OBJECT {
            let item = daemon::call(self, caller, &method, &positional).await?;
            return Ok(item.into());
        }
        let members = self.members(&object, caller).await?;
        let members = members.ok_or_else(|| PyException::pyro("DaemonError", "unknown object"))?;
        let is_attribute = matches!(&*method, "__getattr__" | "__setattr__");
        let wanted = positional
            .first()
            .and_then(PyValue::as_str)
            .unwrap_or_default();
        if is_attribute && !members.attributes.iter().any(|known| known == wanted) {
            let text =
                format!("attempt to access unexposed or unknown remote attribute '{wanted}'");
            return Err(PyException::builtin("AttributeError", text).into());
        }
        if !is_attribute && !members.methods.contains(&method) {
            let text = match method.starts_with('_') {
                true => format!("attempt to access private attribute '{method}'"),
                false => format!("'{object}' object has no attribute '{method}'"),
            };
            return Err(PyException::builtin("AttributeError", text).into());
        }
        let named = match named {
            // Attributes are accessed without any.
            PyValue::None if is_attribute => PyValue::Dict(Vec::new()),
            named => named,
        };
        let PyValue::Dict(entries) = named else {
            let text = format!(
                "{object}.{method}() argument after ** must be a mapping, not {}",
                named.type_name()
            );
            return Err(PyException::builtin("TypeError", text).into());
        };
        let named = entries.into_iter().map(|(key, value)| match key {
            PyValue::Str(key) => Ok((key, value)),
            _ => Err(PyException::builtin(
                "TypeError",
                "keywords must be strings",
            )),
        });
        let call = PyroCall {
            named: named.collect::<Result<_, _>>()?,
            object,
            method,
            positional,
            caller: Arc::clone(caller),
            envelope: Arc::clone(envelope),
            sessions: Arc::clone(&self.sessions),
        };
        self.objects.call(call).await
    }
}
