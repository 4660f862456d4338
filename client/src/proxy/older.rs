//! Calls of instances that speak an older version of the interface.

use super::{Proxy, call::ProxyCall, connecting::ConnectedInstance};
use crate::instance::ObjectInstance;
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    interface::Interface,
    message::EncodedRequest,
};

impl<I: Interface> Proxy<I> {
    /// The version that a request needs; 0 if every version will do.
    pub(super) fn needed_version(request: &I::Request) -> u32 {
        // Known at compile time: most interfaces have no marks.
        match I::OLDEST < I::VERSION {
            true => I::needed_version(request),
            false => 0,
        }
    }
}

impl<I: Interface> ProxyCall<'_, I> {
    /// Whether an instance speaks an older version than this client.
    pub(super) fn is_older(instance: &ObjectInstance<I::Response>) -> bool {
        I::OLDEST < I::VERSION && instance.version < I::VERSION
    }

    /// One attempt at an instance of an older version.
    pub(super) async fn call_older_on(
        &self,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        let encoded = self.encoded_for(&reached.instance)?;
        self.call_encoded_on(&encoded, reached).await
    }

    /// The request without the parameters that an older version does not have. They are absent in it.
    pub(super) fn encoded_for(
        &self,
        instance: &ObjectInstance<I::Response>,
    ) -> Result<EncodedRequest, AttemptError> {
        let version = instance.version;
        if self.needs > version {
            let (interface, needs) = (I::NAME, self.needs);
            return Err(AttemptError::NotSent(ConnectionLost::WrongInterface(
                format!(
                    "it speaks version {version} of {interface}, and the call needs version {needs}"
                ),
            )));
        }
        let method = I::METHODS.get(self.request_index);
        let absent = method.map_or(0, |method| method.parameters_after(version));
        Ok(self.encoded.without_last(absent))
    }
}
