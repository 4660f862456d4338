//! The second interface of every object: its methods by name, with arguments and results in JSON.
//!
//! A client requests it by naming this interface in its hello, whatever the object's own interface is. So one
//! program can call any object, including one whose interface it was not built with.

use crate::{channel::Stream, interface::probe::StreamsOf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::interface! {
    /// Calls of any object by the names of its methods.
    #[name = "pyroxene.Invoke"]
    #[version = 1]
    pub trait Invoke in invoke {
        /// The object's interface: a `Description` as JSON.
        #[idempotent]
        async fn describe() -> String;
        /// Calls an idempotent method. `arguments` is a JSON object; the answer is JSON.
        #[idempotent]
        async fn call_repeatable(method: String, arguments: String) -> Result<String, InvokeError>;
        /// Calls any method. `arguments` is a JSON object; the answer is JSON.
        async fn call(method: String, arguments: String) -> Result<String, InvokeError>;
        /// Calls a method with streams. In `arguments`, a parameter that is a stream is the position of one of
        /// `inputs`. The items of every stream are JSON.
        async fn stream(
            method: String,
            arguments: String,
            inputs: Vec<Stream<String>>
        ) -> Result<InvokeStream, InvokeError>;
    }
}

/// The answer of a method with streams.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct InvokeStream {
    /// The answer as JSON, if it is not a stream.
    pub answer: Option<String>,
    /// Its items, if it is one.
    pub items: Option<Stream<String>>,
}

impl<E> StreamsOf<Result<InvokeStream, E>> {
    /// It holds one.
    pub const STREAMS: bool = true;
}

/// Why an invocation has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum InvokeError {
    /// The interface has no such method.
    #[error("unknown method '{method}' of {interface}")]
    UnknownMethod {
        /// The method.
        method: String,
        /// The interface's name.
        interface: String,
        /// The methods of the interface.
        known: Vec<String>,
    },
    /// The arguments do not fit the method's parameters.
    #[error("{sentence}")]
    BadArguments {
        /// A message: which argument does not fit.
        sentence: String,
    },
    /// The method was called as an idempotent one, and is not idempotent.
    #[error("method '{method}' is not safe to repeat")]
    NotRepeatable {
        /// The method.
        method: String,
    },
    /// The method answered with an error of its own.
    #[error("{sentence}")]
    Failed {
        /// The error's message.
        sentence: String,
        /// The error as JSON.
        error: String,
    },
    /// The answer cannot be represented in JSON.
    #[error("the answer cannot be shown as JSON: {sentence}")]
    Unpresentable {
        /// The reason.
        sentence: String,
    },
}

impl InvokeError {
    /// What has happened, in words that are always the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownMethod { .. } => "unknown method",
            Self::BadArguments { .. } => "bad arguments",
            Self::NotRepeatable { .. } => "not safe to repeat",
            Self::Failed { .. } => "the object's own error",
            Self::Unpresentable { .. } => "the answer cannot be shown as JSON",
        }
    }
}
