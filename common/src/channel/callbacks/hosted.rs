//! An object that a client hosts for callbacks.

use crate::{channel::error::CallFailure, metadata::Metadata, scope::Scope};
use futures::future::BoxFuture;
use std::{fmt, sync::Arc};
use tarpc::context;

/// Answers a request, both encoded.
type Serve = dyn Fn(context::Context, Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, CallFailure>>
    + Send
    + Sync;

/// An object that a client hosts for callbacks, as long as this exists.
pub struct HostedCallback {
    id: u64,
    serve: Box<Serve>,
}

impl fmt::Debug for HostedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostedCallback({})", self.id)
    }
}

impl HostedCallback {
    /// An object whose requests are answered by `serve`: with the encoding of the answer for that of the request.
    pub fn new<F>(
        serve: impl Fn(context::Context, Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<Vec<u8>, CallFailure>> + Send + 'static,
    {
        Arc::new(Self {
            // The same on every connection, and not to be guessed: it tells nobody about other callbacks.
            id: rand::random(),
            serve: Box::new(move |context, request| Box::pin(serve(context, request))),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Answers a request. The object sees the call and its metadata as any method does. The future does not keep the
    /// object hosted.
    pub(crate) fn serve_in_scope(
        &self,
        context: context::Context,
        metadata: Option<Arc<Metadata>>,
        request: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, CallFailure>> + Send + use<> {
        let scope = Scope {
            metadata,
            call: Some(context),
            ..Scope::default()
        };
        scope.wrap((self.serve)(context, request))
    }
}
