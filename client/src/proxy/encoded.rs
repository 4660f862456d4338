//! Calls whose arguments are not stored in a request value.

use super::{Proxy, Response, connecting::InstanceChoice};
use crate::error::CallError;
use pyroxene_common::{interface::Interface, message::EncodedRequest};
use serde::Serialize;
use tarpc::context;

impl<I: Interface> Proxy<I> {
    /// Calls the method of `like` with the encoding of `message`. `message` must encode to a request of
    /// that method; its bulk values need not be copied. The call goes to the instance with the fewest
    /// calls of this client in flight. If its answer is lost and the method is idempotent, the call is
    /// retried at another instance.
    pub async fn call_as(
        &self,
        context: context::Context,
        like: &I::Request,
        message: &(impl Serialize + Sync),
    ) -> Result<Response<I::Response>, CallError> {
        let index = I::request_index(like);
        let mut call = self.begin_encoded(context, index, EncodedRequest::new(message), None)?;
        call.prefers_fewest_in_flight = true;
        loop {
            let reached = self
                .connect_instance(&mut call, InstanceChoice::Any, None)
                .await?;
            match self.attempt(&call, &reached).await {
                Ok(response) => {
                    let attempts = call.attempts.count() + 1;
                    return Ok(Response::new(response, &reached.instance, attempts));
                }
                Err(error) => self.after_failure(&mut call, reached.instance, error)?,
            }
        }
    }
}
