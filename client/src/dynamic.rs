//! Calls to any object by method name, with arguments and results in JSON.

use crate::{
    client::Client,
    error::CallError,
    proxy::{Proxy, Response},
};
use pyroxene_common::{
    channel::{ProgressListener, Stream, StreamError},
    interface::Description,
    interfaces::invoke::{
        Invoke, InvokeError, InvokeStream,
        invoke::{InvokeRequest, InvokeResponse},
    },
};
use serde::Serialize;
use tarpc::context;
use tokio::time::Instant;

/// An object whose interface is not known at compile time.
#[derive(Clone, Debug)]
pub struct DynamicObject {
    proxy: Proxy<Invoke>,
    description: Description,
}

/// Why a call by name failed.
#[derive(Debug, thiserror::Error)]
pub enum DynamicError {
    /// There was no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The object returned an error.
    #[error(transparent)]
    Object(#[from] InvokeError),
    /// The stream of its answer broke.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The answer of the object cannot be parsed.
    #[error("the object's answer cannot be read: {0}")]
    Unreadable(String),
}

impl Client {
    /// Finds an object by name and fetches the description of its interface.
    ///
    /// ```no_run
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let object = client.dynamic("calculator", context::current()).await?;
    /// for method in &object.description().methods {
    ///     let parameters: Vec<&str> = method.parameters.iter().map(|one| &*one.name).collect();
    ///     println!("{}({}): {}", method.name, parameters.join(", "), method.doc);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dynamic(
        &self,
        name: &str,
        context: context::Context,
    ) -> Result<DynamicObject, DynamicError> {
        let deadline = Instant::from_std(context.deadline);
        let proxy = self.proxy_with_deadline::<Invoke>(name, deadline).await?;
        let answered = proxy
            .call_traced(context, &InvokeRequest::Describe {})
            .await?;
        let InvokeResponse::Describe(text) = answered.response else {
            return Err(unreadable(&"it answered another method"));
        };
        let description = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
        Ok(DynamicObject { proxy, description })
    }
}

impl DynamicObject {
    /// The object's interface.
    pub fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn proxy(&self) -> &Proxy<Invoke> {
        &self.proxy
    }

    /// The same object over another stub.
    pub(crate) fn over(&self, proxy: Proxy<Invoke>) -> Self {
        Self {
            proxy,
            description: self.description.clone(),
        }
    }

    /// How many instances are known.
    pub fn instance_count(&self) -> usize {
        self.proxy.instance_count()
    }

    /// Calls a method with named arguments: any value that serialises to a JSON object. The answer is
    /// JSON text.
    ///
    /// ```no_run
    /// use serde_json::json;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.dynamic("calculator", context::current()).await?;
    /// let answered = calculator
    ///     .call(context::current(), "sum", &json!({ "values": [1, 2, 3.5] }))
    ///     .await?;
    /// assert_eq!(answered.response, "6.5");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call(
        &self,
        context: context::Context,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<Response<String>, DynamicError> {
        let arguments = serde_json::to_string(arguments).map_err(|error| unreadable(&error))?;
        self.call_with_progress(context, method, arguments, None)
            .await
    }

    /// Calls a method with named arguments, given as the text of a JSON object. `listener` receives the
    /// progress that the method reports. The answer is JSON text.
    ///
    /// ```no_run
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.dynamic("calculator", context::current()).await?;
    /// let (listener, mut progress) = tokio::sync::watch::channel(None);
    /// tokio::spawn(async move {
    ///     while progress.changed().await.is_ok() {
    ///         println!("{:?}", *progress.borrow());
    ///     }
    /// });
    /// let arguments = r#"{"iterations": 1000000000}"#.to_owned();
    /// let pi = calculator
    ///     .call_with_progress(context::current(), "compute", arguments, Some(&listener))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_with_progress(
        &self,
        context: context::Context,
        method: &str,
        arguments: String,
        listener: Option<&ProgressListener>,
    ) -> Result<Response<String>, DynamicError> {
        let repeatable = self
            .description
            .method(method)
            .is_some_and(|method| method.repeatable);
        let request = {
            let method = method.to_owned();
            if repeatable {
                InvokeRequest::CallRepeatable { method, arguments }
            } else {
                InvokeRequest::Call { method, arguments }
            }
        };
        let called = self
            .proxy
            .call_with_listener(context, &request, listener)
            .await;
        let answered = called.map_err(|error| error.with_method(method))?;
        let response = match answered.response {
            InvokeResponse::CallRepeatable(answer) | InvokeResponse::Call(answer) => answer?,
            InvokeResponse::Describe(_) | InvokeResponse::Stream(_) => {
                return Err(unreadable(&"it answered another method"));
            }
        };
        Ok(Response {
            response,
            worker: answered.worker,
            attempts: answered.attempts,
        })
    }
}

impl DynamicObject {
    /// Calls a method with streams. `arguments` is the text of a JSON object, in which a parameter that is a
    /// stream is the position of one of `inputs`. The items of all streams are JSON texts.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.dynamic("echo", context::current()).await?;
    /// let arguments = r#"{"n": 3}"#.to_owned();
    /// let answered = echo.stream(context::current(), "count", arguments, Vec::new()).await?;
    /// let mut items = answered.response.items.expect("it answers a stream");
    /// while let Some(item) = items.next().await {
    ///     println!("{}", item?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stream(
        &self,
        context: context::Context,
        method: &str,
        arguments: String,
        inputs: Vec<Stream<String>>,
    ) -> Result<Response<InvokeStream>, DynamicError> {
        let request = InvokeRequest::Stream {
            method: method.to_owned(),
            arguments,
            inputs,
        };
        let called = self.proxy.call_with_listener(context, &request, None).await;
        let answered = called.map_err(|error| error.with_method(method))?;
        let InvokeResponse::Stream(response) = answered.response else {
            return Err(unreadable(&"it answered another method"));
        };
        Ok(Response {
            response: response?,
            worker: answered.worker,
            attempts: answered.attempts,
        })
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> DynamicError {
    DynamicError::Unreadable(error.to_string())
}
