//! The bodies of requests and responses of every built-in interface.

use super::{Verdict, erased_interfaces::BUILT_IN_INTERFACES};

/// Decodes all but the first byte. The first byte is twice the index of an interface, plus one for a
/// response.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((first, body)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let position = usize::from(first / 2) % BUILT_IN_INTERFACES.len();
    let Some(face) = BUILT_IN_INTERFACES.get(position) else {
        return Verdict::Refused;
    };
    match first % 2 {
        0 => (face.request)(body),
        _ => (face.response)(body),
    }
}
