//! Calls over connections that speak an older version of the interface than this client.

use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    interface::Interface,
    message::EncodedRequest,
};

/// The version that a request needs; 0 if every version will do.
pub(crate) fn needed_version<I: Interface>(request: &I::Request) -> u32 {
    // Known at compile time: most interfaces have no marks.
    match I::OLDEST < I::VERSION {
        true => I::needed_version(request),
        false => 0,
    }
}

/// Whether this is an older version than that of this client.
pub(crate) fn is_older<I: Interface>(version: u32) -> bool {
    I::OLDEST < I::VERSION && version < I::VERSION
}

/// A request that needs the version `needs`, without the parameters that an older version does not have. They are absent
/// in it.
pub(crate) fn encoded_for<I: Interface>(
    version: u32,
    request_index: usize,
    needs: u32,
    encoded: &EncodedRequest,
) -> Result<EncodedRequest, AttemptError> {
    if needs > version {
        let interface = I::NAME;
        return Err(AttemptError::NotSent(ConnectionLost::WrongInterface(
            format!(
                "it speaks version {version} of {interface}, and the call needs version {needs}"
            ),
        )));
    }
    let method = I::METHODS.get(request_index);
    let absent = method.map_or(0, |method| method.parameters_after(version));
    Ok(encoded.without_last(absent))
}
