//! Methods for tests and diagnosis of calls.

use crate::interfaces::echo::{Collected, EchoError, Identity, Listener, SeenContext, echo};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_client::Client;
use pyroxene_common::{Remote, Stream, scope, values::Payload};
use std::{error::Error, sync::Arc, time::Duration};
use tarpc::context::Context;
use tokio::time::sleep;

/// The object `echo`. None of its methods is heavy.
#[derive(Clone, Debug)]
pub struct EchoObject(Arc<EchoContext>);

#[derive(Debug)]
struct EchoContext {
    worker: Arc<str>,
    /// Calls those to whom it is referred.
    client: Option<Client>,
}

impl EchoObject {
    /// An echo on the worker of this name.
    ///
    /// ```
    /// use pyroxene_objects::{EchoObject, interfaces::echo::echo::Echo as _};
    /// use tarpc::context;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let identity = EchoObject::new("w1").whoami(context::current()).await;
    /// assert_eq!((identity.worker.as_str(), identity.pid), ("w1", std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(worker: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(EchoContext {
            worker: worker.into(),
            client: None,
        }))
    }

    /// The same, which can call back with this client.
    #[must_use]
    pub fn calling_with(self, client: Client) -> Self {
        Self(Arc::new(EchoContext {
            worker: Arc::clone(&self.0.worker),
            client: Some(client),
        }))
    }

    async fn hear(
        &self,
        context: Context,
        listener: &Remote<Listener>,
        data: Payload,
    ) -> Result<Payload, String> {
        let client = self.0.client.as_ref();
        let client = client.ok_or_else(|| "this echo has no client to call with".to_owned())?;
        let proxy = client.remote(listener).await;
        let proxy = proxy.map_err(|error| error.to_string())?;
        let heard = proxy.hear(context, data).await;
        heard.map_err(|error| error.to_string())
    }
}

impl echo::Echo for EchoObject {
    async fn echo(self, _: Context, data: Payload) -> Payload {
        data
    }

    async fn sleep(self, _: Context, ms: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    async fn fail(self, _: Context, message: String) -> Result<(), EchoError> {
        Err(EchoError::Requested { message })
    }

    async fn whoami(self, _: Context) -> Identity {
        let caller = scope::current().caller;
        Identity {
            worker: self.0.worker.to_string(),
            pid: std::process::id(),
            caller: caller.name.clone(),
            address: caller.address.clone(),
            user: caller
                .identity
                .as_ref()
                .map(|identity| identity.name.clone()),
            role: caller.identity.as_ref().map(|identity| identity.role),
        }
    }

    async fn context(self, _: Context) -> SeenContext {
        let call = scope::context();
        let identity = call.caller.identity.as_ref();
        let left = call.time_left().unwrap_or_default().as_millis();
        SeenContext {
            caller: match identity {
                Some(identity) => identity.name.clone(),
                None => call.caller.name.clone(),
            },
            metadata: call
                .metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            deadline_ms: u64::try_from(left).unwrap_or(u64::MAX),
            trace_id: call.trace().unwrap_or_default(),
        }
    }

    async fn count(self, _: Context, n: u64, interval_ms: Option<u64>) -> Stream<u64> {
        let Some(interval) = interval_ms.map(Duration::from_millis) else {
            return Stream::new(stream::iter(0..n));
        };
        Stream::new(stream::iter(0..n).then(move |number| async move {
            if number > 0 {
                sleep(interval).await;
            }
            number
        }))
    }

    async fn collect(self, _: Context, items: Stream<Payload>) -> Result<Collected, EchoError> {
        let nothing = Collected { items: 0, bytes: 0 };
        // Boxed, so that the futures of the other methods stay small.
        let collected = Box::pin(items.try_fold(nothing, async |so_far, item| {
            let bytes = match &item {
                Payload::Text(text) => text.len(),
                Payload::Bytes(bytes) => bytes.0.len(),
                Payload::Json(json) => json.get().len(),
            };
            Ok(Collected {
                items: so_far.items + 1,
                bytes: so_far.bytes + bytes as u64,
            })
        }));
        collected.await.map_err(|error| EchoError::BrokeOff {
            message: match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        })
    }

    async fn call_back(
        self,
        context: Context,
        listener: Remote<Listener>,
        data: Payload,
    ) -> Result<Payload, EchoError> {
        // Boxed, so that the futures of the other methods stay small.
        let heard = Box::pin(self.hear(context, &listener, data)).await;
        heard.map_err(|message| EchoError::NotHeard { message })
    }
}

#[cfg(test)]
mod tests {
    use super::{echo::Echo as _, *};
    use pyroxene_common::scope::{Caller, Scope};
    use tarpc::context;
    use tokio::time::Instant;

    #[tokio::test]
    async fn data_comes_back() {
        let data = Payload::Bytes(vec![1, 2, 3].into());
        let answer = EchoObject::new("w1")
            .echo(context::current(), data.clone())
            .await;
        assert_eq!(answer, data);
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_takes_its_time() {
        let start = Instant::now();
        assert_eq!(
            EchoObject::new("w1").sleep(context::current(), 1500).await,
            1500
        );
        assert_eq!(start.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test]
    async fn a_failure_is_the_message() {
        let failure = EchoObject::new("w1")
            .fail(context::current(), "no tea".to_owned())
            .await;
        assert_eq!(failure.unwrap_err().to_string(), "no tea");
    }

    #[tokio::test]
    async fn whoami_names_both_ends() {
        let caller = Caller {
            address: "127.0.0.1:5".to_owned(),
            name: "alice".to_owned(),
            ..Caller::default()
        };
        let scope = Scope {
            caller: Arc::new(caller),
            ..Scope::default()
        };
        let call = std::pin::pin!(EchoObject::new("w1").whoami(context::current()));
        let identity = scope.wrap(call).await;
        assert_eq!(identity.worker, "w1");
        assert_eq!(identity.pid, std::process::id());
        assert_eq!(
            (identity.caller.as_str(), identity.address.as_str()),
            ("alice", "127.0.0.1:5")
        );
    }
}
