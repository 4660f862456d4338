//! Proxies of references.

use super::{Proxy, call::InstanceChoice};
use crate::{client::Client, error::CallError};
use pyroxene_common::{
    Remote,
    interface::{Interface, Method, RemoteTarget},
    message::EncodedRequest,
};
use std::{fmt, sync::Arc};
use tarpc::{
    client::{RpcError, stub::Stub},
    context,
};

/// A stub for what a reference leads to.
pub struct RemoteProxy<I: Interface> {
    proxy: Proxy<I>,
    /// The only worker that gets the calls.
    worker: Option<Arc<str>>,
}

impl<I: Interface> Clone for RemoteProxy<I> {
    fn clone(&self) -> Self {
        Self {
            proxy: self.proxy.clone(),
            worker: self.worker.clone(),
        }
    }
}

impl<I: Interface> fmt::Debug for RemoteProxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.proxy.object_name();
        write!(f, "RemoteProxy({name} at {:?}: {})", self.worker, I::NAME)
    }
}

impl Client {
    /// tarpc's client for what a reference leads to. Its calls have the rights of this client: the reference carries
    /// none.
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
        let (object, worker) = match remote.target() {
            RemoteTarget::Object { object } => (object, None),
            RemoteTarget::Instance { object, worker } => (object, Some(worker.as_str().into())),
        };
        let proxy = self.proxy::<I>(object).await?;
        Ok(RemoteProxy { proxy, worker }.into())
    }
}

impl<I: Interface> Stub for RemoteProxy<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        let Some(worker) = &self.worker else {
            return self.proxy.call(context, request).await;
        };
        let proxy = &self.proxy;
        let index = I::request_index(&request);
        let encode = || EncodedRequest::with_zero_copy_parts(request, I::request_parts);
        let mut call = match I::METHODS.get(index).is_some_and(Method::streams) {
            true => proxy.begin_streaming(context, index, encode)?,
            false => proxy.begin_encoded(context, index, encode())?,
        };
        call.choice = InstanceChoice::EachOnce(Some(worker));
        let (response, ..) = proxy.run(call).await?;
        Ok(response)
    }
}
