//! Work on values, whose cost grows with their size: that of large ones is done outside the runtime's threads, in
//! turns of the callers.

use crate::PyValue;
use pyroxene_common::offload::offload;
use std::io;

/// This many bytes, or values, are read and written in about 100 microseconds.
const SMALL: usize = 4 * 1024;

/// Does work of a caller on something of this size.
///
/// # Errors
///
/// The process is about to stop.
pub async fn apart<T: Send + 'static>(
    caller: &str,
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match is_small(size) {
        true => Ok(work()),
        false => offload(caller, work).await.map_err(io::Error::other),
    }
}

/// Whether something of this size is worked on at once.
pub fn is_small(size: usize) -> bool {
    size <= SMALL
}

/// The size of values together, or a little more than is small.
pub fn size_of<'a>(values: impl IntoIterator<Item = &'a PyValue>) -> usize {
    let mut size = 0;
    for value in values {
        add_size(value, &mut size);
        if size > SMALL {
            break;
        }
    }
    size
}

/// Adds the size of a value. Stops once that is not small any more. Values are no deeper than they may be read.
fn add_size(value: &PyValue, size: &mut usize) {
    *size += match value {
        PyValue::Str(text) | PyValue::BigInt(text) => 1 + text.len(),
        // They are handed over as they are.
        PyValue::Bytes(bytes) => 1 + bytes.len() / 64,
        _ => 1,
    };
    let mut members: Box<dyn Iterator<Item = &PyValue>> = match value {
        PyValue::List(items) | PyValue::Tuple(items) | PyValue::Set(items) => {
            Box::new(items.iter())
        }
        PyValue::Dict(entries) => Box::new(entries.iter().flat_map(|(key, value)| [key, value])),
        _ => return,
    };
    while *size <= SMALL
        && let Some(member) = members.next()
    {
        add_size(member, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::current;

    #[tokio::test]
    async fn only_large_values_leave_the_thread() {
        let numbers = |count| PyValue::List(vec![PyValue::Int(1); count]);
        let here = current().id();
        for (value, is_here) in [
            (numbers(100), true),
            (PyValue::List(vec![numbers(100); 100]), false),
            (PyValue::Str("x".repeat(100_000)), false),
        ] {
            let there = apart("ana", size_of([&value]), move || current().id()).await;
            assert_eq!(there.unwrap() == here, is_here);
        }
    }
}
