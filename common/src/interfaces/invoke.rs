//! The second interface of every object: its methods by name, with arguments and results in JSON.
//!
//! A client requests it by naming this interface in its hello, whatever the object's own interface is. So one
//! program can call any object, including one whose interface it was not built with.

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
    }
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
