//! The built-in interfaces, with their types erased.

use super::Verdict;
use pyroxene_common::{
    codec,
    interface::{Interface, Outcome},
    interfaces::{
        access::Access, directory::Directory, invoke::Invoke, tasks::Tasks, topics::Topics,
    },
    json,
    message::EncodedRequest,
};
use pyroxene_objects::interfaces::{
    accounts::Accounts, calculator::Calculator, echo::Echo, hash::Hash, text::Text,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Functions on an interface's messages.
pub(crate) struct ErasedInterface {
    /// The interface's name.
    pub(crate) name: &'static str,
    /// Decodes a request.
    pub(super) request: fn(&[u8]) -> Verdict,
    /// Decodes a response.
    pub(super) response: fn(&[u8]) -> Verdict,
    /// Reads a method and its arguments from JSON.
    pub(super) invocation: fn(&str, &str) -> Verdict,
    /// The encoded request of a method and its arguments in JSON.
    pub(crate) encoded_request: fn(&str, &str) -> Vec<u8>,
    /// The encoded response of a variant in JSON.
    pub(crate) encoded_response: fn(&str) -> Vec<u8>,
}

/// All built-in interfaces. Files of the corpus refer to them by index: add new ones at the end.
pub(crate) const BUILT_IN_INTERFACES: [ErasedInterface; 10] = [
    ErasedInterface::of::<Access>(),
    ErasedInterface::of::<Accounts>(),
    ErasedInterface::of::<Calculator>(),
    ErasedInterface::of::<Directory>(),
    ErasedInterface::of::<Echo>(),
    ErasedInterface::of::<Hash>(),
    ErasedInterface::of::<Invoke>(),
    ErasedInterface::of::<Tasks>(),
    ErasedInterface::of::<Text>(),
    ErasedInterface::of::<Topics>(),
];

impl ErasedInterface {
    const fn of<I: Interface>() -> Self {
        Self {
            name: I::NAME,
            request: |bytes| match codec::decode::<I::Request>(bytes) {
                Ok(request) => {
                    check_request::<I>(&request);
                    Verdict::Accepted
                }
                Err(_) => Verdict::Refused,
            },
            response: |bytes| match codec::decode::<I::Response>(bytes) {
                Ok(response) => {
                    check_response::<I>(&response);
                    Verdict::Accepted
                }
                Err(_) => Verdict::Refused,
            },
            invocation: |method, arguments| match json::request::<I>(method, arguments) {
                Ok(request) => {
                    assert_eq!(I::method(&request).map(|known| known.name), Some(method));
                    check_request::<I>(&request);
                    Verdict::Accepted
                }
                Err(refused) => {
                    assert!(!refused.to_string().is_empty());
                    Verdict::Refused
                }
            },
            encoded_request: |method, arguments| {
                let request = json::request::<I>(method, arguments);
                codec::encode(&request.unwrap()).unwrap()
            },
            encoded_response: |json| {
                let response: I::Response = serde_json::from_str(json).unwrap();
                codec::encode(&response).unwrap()
            },
        }
    }
}

fn check_request<I: Interface>(request: &I::Request) {
    assert!(I::method(request).is_some());
    check_codec(request);
    assert!(!format!("{request:?}").is_empty());
}

fn check_response<I: Interface>(response: &I::Response) {
    assert!(I::response_index(response) < I::METHODS.len());
    check_codec(response);
    assert!(!format!("{response:?}").is_empty());
    let shown = json::response::<I>(response);
    let failed = matches!(I::outcome(response), Outcome::Failed(_));
    match shown {
        Ok(text) => {
            assert!(!failed, "an error was shown as an answer");
            serde_json::from_str::<&RawValue>(&text).expect("an answer that is no JSON");
        }
        Err(error) => assert!(!error.to_string().is_empty() || failed),
    }
}

/// A decoded value must survive encoding and decoding, and its encoding in pieces must have the same bytes.
fn check_codec<T: Serialize + DeserializeOwned>(value: &T) {
    let bytes = codec::encode(value).expect("what was read cannot be written");
    let again: T = codec::decode(&bytes).expect("what was written cannot be read");
    assert_eq!(codec::encode(&again).as_ref(), Ok(&bytes));
    let pieces = match EncodedRequest::new(value).unwrap() {
        EncodedRequest::Small(bytes) => bytes,
        EncodedRequest::Large { pieces, .. } => pieces.concat(),
        EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
    };
    assert_eq!(pieces, bytes);
}
