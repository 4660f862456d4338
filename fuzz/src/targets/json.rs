//! Calls by name with arguments in JSON.

use super::{Verdict, erased_interfaces::BUILT_IN_INTERFACES};

/// Reads a first line `INTERFACE.METHOD` and the arguments below it. If the interface is unknown, all
/// interfaces are tried with the method.
pub fn run(bytes: &[u8]) -> Verdict {
    // Over the wire, both are already texts.
    let text = String::from_utf8_lossy(bytes);
    let (name, arguments) = text.split_once('\n').unwrap_or((&text, ""));
    let (interface, method) = name.rsplit_once('.').unwrap_or(("", name));
    let known = BUILT_IN_INTERFACES
        .iter()
        .find(|face| face.name == interface);
    match known {
        Some(face) => (face.invocation)(method, arguments),
        None => {
            let verdicts = BUILT_IN_INTERFACES
                .iter()
                .map(|face| (face.invocation)(method, arguments));
            let accepted = verdicts.filter(|verdict| *verdict == Verdict::Accepted);
            Verdict::accepted_if(accepted.count() > 0)
        }
    }
}
