//! Proxies of references.

mod callback;

use super::{Proxy, call::InstanceChoice};
use crate::{client::Client, error::CallError};
use callback::call_back;
use pyroxene_common::{
    Remote,
    channel::Callback,
    interface::{CallStub, Interface, RemoteTarget, Serves},
};
use std::{fmt, sync::Arc};
use tarpc::context;

/// A stub for what a reference leads to.
pub struct RemoteProxy<I: Interface>(Target<I>);

enum Target<I: Interface> {
    Object(Proxy<I>),
    /// The instance at the worker of this name.
    Instance(Proxy<I>, Arc<str>),
    Callback(Callback),
}

impl<I: Interface> Clone for RemoteProxy<I> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Target::Object(proxy) => Target::Object(proxy.clone()),
            Target::Instance(proxy, worker) => Target::Instance(proxy.clone(), Arc::clone(worker)),
            Target::Callback(callback) => Target::Callback(callback.clone()),
        })
    }
}

impl<I: Interface> fmt::Debug for RemoteProxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Object(proxy) => write!(f, "RemoteProxy({proxy:?})"),
            Target::Instance(proxy, worker) => write!(f, "RemoteProxy({proxy:?} at {worker})"),
            Target::Callback(callback) => write!(f, "RemoteProxy({callback:?}: {})", I::NAME),
        }
    }
}

impl Client {
    /// Hosts an object without listening anywhere. The reference can be a parameter of a call; the worker that gets it
    /// calls the object over the connection of that call, and may call no other one. The object is hosted as long
    /// as the reference or a copy of it is kept, and at least during the calls in which it is handed over.
    ///
    /// ```no_run
    /// # pyroxene_common::interface! {
    /// #     /// Hears of news.
    /// #     #[name = "Example.Listener"]
    /// #     #[version = 1]
    /// #     pub trait Listener in listener {
    /// #         async fn hear(news: String) -> u64;
    /// #     }
    /// # }
    /// # pyroxene_common::interface! {
    /// #     /// Has news.
    /// #     #[name = "Example.Source"]
    /// #     #[version = 1]
    /// #     pub trait Source in source {
    /// #         async fn subscribe(listener: pyroxene_common::Remote<Listener>);
    /// #     }
    /// # }
    /// use tarpc::context::{self, Context};
    ///
    /// #[derive(Clone)]
    /// struct Prints;
    ///
    /// impl listener::Listener for Prints {
    ///     async fn hear(self, _: Context, news: String) -> u64 {
    ///         println!("{news}");
    ///         1
    ///     }
    /// }
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = client.host(Listener, Prints);
    /// let source = client.object::<Source>("source").await?;
    /// source.subscribe(context::current(), listener.clone()).await?;
    /// // The worker calls it as long as `listener` and the connection exist.
    /// # Ok(())
    /// # }
    /// # fn main() {} // the interfaces are items of the file
    /// ```
    pub fn host<I, S>(&self, _interface: I, service: S) -> Remote<I>
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        Remote::hosted(service)
    }

    /// The client of what a reference leads to. Its calls have the rights of this client: the reference carries
    /// none. The calls of a callback end with [`CallError::Gone`] as soon as its client or the connection is gone.
    ///
    /// ```no_run
    /// use pyroxene_common::Remote;
    /// use pyroxene_objects::interfaces::text::Text;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let reference: Remote<Text> = Remote::instance("text", "w1");
    /// let text = client.remote(&reference).await?;
    /// assert_eq!(text.count_words(context::current(), "to be".to_owned()).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// No live worker hosts the object now.
    pub async fn remote<I: Interface>(
        &self,
        remote: &Remote<I>,
    ) -> Result<I::Client<RemoteProxy<I>>, CallError> {
        let target = match remote.target() {
            RemoteTarget::Object { object } => Target::Object(self.proxy::<I>(object).await?),
            RemoteTarget::Instance { object, worker } => {
                Target::Instance(self.proxy::<I>(object).await?, worker.as_str().into())
            }
            RemoteTarget::Callback(callback) => Target::Callback(callback.clone()),
        };
        Ok(RemoteProxy(target).into())
    }
}

impl<I: Interface> CallStub for RemoteProxy<I> {
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
        let (proxy, worker) = match &self.0 {
            Target::Object(proxy) => return CallStub::call(proxy, context, request).await,
            Target::Callback(callback) => {
                return call_back::<I>(callback, &context, &request).await;
            }
            Target::Instance(proxy, worker) => (proxy, worker),
        };
        let mut call = proxy.begin_owned(context, request)?;
        call.choice = InstanceChoice::EachOnce(Some(worker));
        let (response, ..) = proxy.run_any(call).await?;
        Ok(response)
    }
}
