//! What answers the requests of a connection.

use super::translation::{Translation, translate};
use crate::{
    channel::error::CallFailure,
    codec::{self, CodecError},
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tarpc::context;

/// Answers requests.
pub trait Dispatch: Send + Sync + 'static {
    /// The type of requests.
    type Request: DeserializeOwned + Send + 'static;
    /// The type of responses.
    type Response: Serialize + Send + Sync + 'static;

    /// The large parts of a response, which are sent without a copy. The default has none.
    fn parts(_: &Self::Response) -> Vec<&[u8]> {
        Vec::new()
    }

    /// Decodes a request of a caller that speaks this version of the interface.
    fn decode(_version: u32, message: &[u8]) -> Result<Self::Request, CodecError> {
        codec::decode(message)
    }

    /// Answers one request. The future's first poll happens on the connection's task.
    fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, CallFailure>> + Send + 'static;

    /// Answers one request that arrives in another form. Reading the call and writing its answer are part of
    /// this; slow reading or writing never runs on a thread of the runtime.
    fn dispatch_translated<T>(
        self: Arc<Self>,
        context: context::Context,
        call: T,
    ) -> impl Future<Output = Result<T::Answer, CallFailure>> + Send + 'static
    where
        T: Translation<Self::Request, Self::Response>,
    {
        translate(call, move |request| self.dispatch(context, request))
    }
}
