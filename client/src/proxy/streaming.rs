//! Calls of methods with streams.

use super::{Proxy, call::ProxyCall};
use crate::error::CallError;
use pyroxene_common::{
    channel::StreamInputs, codec::CodecError, interface::Interface, message::EncodedRequest,
};
use tarpc::context;

impl<I: Interface> Proxy<I> {
    /// Begins a call of the method with this index, with the streams and callbacks of its request, if it has any.
    pub(super) fn begin_encoding<'a>(
        &self,
        context: context::Context,
        request_index: usize,
        encode: impl FnOnce() -> Result<EncodedRequest, CodecError>,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        let (encoded, streams) = match I::hands_over(request_index) {
            true => {
                let (encoded, streams) = StreamInputs::collect(encode);
                (encoded, Some(streams))
            }
            // A value deep within it may be a callback.
            false => StreamInputs::collect_callbacks(encode),
        };
        let mut call = self.begin_encoded(context, request_index, encoded)?;
        call.streams = streams.map(Box::new);
        Ok(call)
    }
}

impl<I: Interface> ProxyCall<'_, I> {
    /// Whether items of its parameters may have been sent, so that it cannot be made again.
    pub(super) fn has_sent_items(&self) -> bool {
        self.streams
            .as_ref()
            .is_some_and(|streams| streams.are_taken())
    }

    /// Whether a second attempt may run beside the first one: its parameters hold no stream.
    pub(super) fn may_be_hedged(&self) -> bool {
        self.repeatable
            && self
                .streams
                .as_ref()
                .is_none_or(|streams| streams.is_empty())
    }
}
