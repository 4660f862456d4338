//! The bodies of requests and responses of every built-in interface.

use super::{Verdict, faces::FACES};

/// Decodes all but the first byte. The first byte is twice the index of an interface, plus one for a
/// response.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((first, body)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let position = usize::from(first / 2) % FACES.len();
    let Some(face) = FACES.get(position) else {
        return Verdict::Refused;
    };
    match first % 2 {
        0 => (face.request)(body),
        _ => (face.response)(body),
    }
}
