//! Messages and values of Pyro's clients.

use super::Verdict;
use bytes::Bytes;
use pyroxene_pyro::{
    serializer::Serializer,
    wire::{BLOB_ANNOTATION, HEADER_LEN, Header, Message},
};

/// The limit of a message's size, in bytes.
const LIMIT: usize = 1 << 20;

/// Reads a value in the serializer with the number that the first byte says; a whole message, and its payload,
/// if there is no such serializer.
///
/// # Panics
///
/// If a value or a message is another one after it was written and read again.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((&first, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    match Serializer::from_number(first) {
        Some(serializer) => value(serializer, rest),
        None => message(rest),
    }
}

fn value(serializer: Serializer, bytes: &[u8]) -> Verdict {
    // Reading a call is the same, and may refuse what is a value.
    let message = Bytes::copy_from_slice(bytes);
    let _ = serializer.read_invocation(&message);
    let _ = serializer.read_blob_invocation(&message, bytes);
    let Ok(value) = serializer.read(bytes) else {
        return Verdict::Refused;
    };
    // A value may be one that its serializer cannot write, such as a list as a key in JSON.
    if let Ok(written) = serializer.write(&value) {
        let again = serializer
            .read(&written)
            .expect("what was written can be read");
        let again = serializer
            .write(&again)
            .expect("what was read can be written");
        assert_eq!(again, written);
    }
    Verdict::Accepted
}

fn message(bytes: &[u8]) -> Verdict {
    let Some((head, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Verdict::Refused;
    };
    let read = Header::parse(head)
        .ok()
        .filter(|header| header.body_len() == body.len() as u64);
    let read = read.map(|header| Message::from_body(header, body.to_vec(), LIMIT));
    let Some(Ok(message)) = read else {
        return Verdict::Refused;
    };
    assert!(message.payload.len() <= LIMIT.max(body.len()));
    let written = message.to_bytes();
    let (head, body) = written
        .split_first_chunk::<HEADER_LEN>()
        .expect("it has a header");
    let header = Header::parse(head).expect("it was written");
    let again = Message::from_body(header, body.to_vec(), LIMIT.max(body.len()));
    let again = again.expect("it was written");
    assert_eq!(
        (&again.annotations, &again.payload),
        (&message.annotations, &message.payload)
    );
    let blob = message.annotation(BLOB_ANNOTATION).unwrap_or_default();
    match Serializer::from_number(message.header.serializer) {
        Some(serializer) if !blob.is_empty() => {
            let payload = Bytes::copy_from_slice(&message.payload);
            match serializer.read_blob_invocation(&payload, blob) {
                Ok(_) => Verdict::Accepted,
                Err(_) => Verdict::Refused,
            }
        }
        Some(serializer) => value(serializer, &message.payload),
        None => Verdict::Accepted,
    }
}
