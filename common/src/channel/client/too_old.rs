//! Why an older peer is not asked.

use crate::{
    channel::error::AttemptError,
    message::{Refusal, RefusalReason},
};

/// The failure of a call that needs `lack`, which the peer's version of the protocol does not have.
pub(super) fn too_old(version: &str, lack: &str) -> AttemptError {
    AttemptError::Refused(Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: 0,
        message: format!("the worker speaks {version} of the protocol, which has no {lack}"),
    })
}
