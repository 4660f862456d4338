//! Interfaces: a tarpc service trait with a name, a version, and descriptions of its methods.
//!
//! [`interface!`](crate::interface!) declares one. It passes the trait to `#[tarpc::service]` unchanged, so
//! the request and response enums are tarpc's own. It adds a client whose errors are those of its stub, and a
//! marker type (the *interface*) that carries the name, the version, which methods are idempotent, and a JSON
//! schema of every parameter and result.

mod declare;
pub mod describe;
mod fingerprint;
pub mod probe;
mod remote;
mod shape;
mod stub;
mod versions;

pub use crate::message::SpokenVersion;
pub use describe::{
    ANY_PARAMETER, Description, MethodDescription, POSITIONAL, ParameterDescription,
};
pub use remote::{REMOTE_MARK, Remote, RemoteTarget};
pub use stub::CallStub;
pub use versions::{MAX_SPOKEN_VERSIONS, common_version, decode_request, spoken_versions};
#[doc(hidden)]
pub use versions::{check_marks, oldest_version, since};

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use tarpc::{RequestName, ServerError, context::Context};

/// The static description of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The method's name, as in the trait.
    pub name: &'static str,
    /// The name of its variant in tarpc's request and response enums.
    pub variant: &'static str,
    /// Whether the method is idempotent, so that a call that may have run can be retried.
    pub repeatable: bool,
    /// The names of its parameters, in order.
    pub parameters: &'static [&'static str],
    /// Whether a parameter is a stream.
    pub takes_stream: bool,
    /// Whether a parameter is a reference, which may be a callback.
    pub takes_callback: bool,
    /// Whether its answer is a stream.
    pub answers_stream: bool,
    /// The version that added it (`#[since = 2]`); 0 if it was there from the beginning.
    pub since: u32,
    /// The same for each of its parameters.
    pub parameters_since: &'static [u32],
}

impl Method {
    /// Whether a parameter or the answer is a stream.
    pub const fn streams(&self) -> bool {
        self.takes_stream || self.answers_stream
    }

    /// Whether something may be handed over beside its request or answer: streams and callbacks.
    pub const fn hands_over(&self) -> bool {
        self.streams() || self.takes_callback
    }
}

const fn any_hands_over(mut methods: &[Method]) -> bool {
    while let [method, rest @ ..] = methods {
        if method.hands_over() {
            return true;
        }
        methods = rest;
    }
    false
}

/// The kind of result in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer of a method that cannot fail.
    Plain,
    /// The `Ok` of a method that answers a `Result`.
    Succeeded,
    /// The `Err` of a method that answers a `Result`, as a message.
    Failed(String),
}

/// A remote interface. [`interface!`](crate::interface!) implements it for a marker type.
///
/// ```
/// use pyroxene_common::{interface::Interface, interfaces::tasks::Tasks};
///
/// assert_eq!((Tasks::NAME, Tasks::VERSION), ("pyroxene.Tasks", 1));
/// let cancel = Tasks::METHODS.iter().find(|method| method.name == "cancel");
/// assert!(cancel.is_some_and(|method| method.repeatable && method.parameters == ["id"]));
/// ```
pub trait Interface: Send + Sync + 'static {
    /// The request enum that tarpc generates.
    type Request: RequestName + Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The response enum that tarpc generates.
    type Response: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The client of the interface, over any stub.
    type Client<S: CallStub<Request = Self::Request, Response = Self::Response>>: From<S>;

    /// The interface's name on the wire, such as `Example.Greeter`.
    const NAME: &'static str;
    /// The interface's version. Client and worker talk in the newest version that both speak.
    const VERSION: u32;
    /// The methods, in the order of the trait.
    const METHODS: &'static [Method];
    /// The oldest version that it speaks: what came later is marked with `#[since = 2]`.
    const OLDEST: u32 = oldest_version(Self::METHODS, Self::VERSION);

    /// Whether something may be handed over beside a request or an answer of the method at this position. If that is so
    /// of no method, this costs nothing.
    fn hands_over(index: usize) -> bool {
        let any = const { any_hands_over(Self::METHODS) };
        any && Self::METHODS.get(index).is_some_and(Method::hands_over)
    }

    /// The position in [`METHODS`](Self::METHODS) of the method that a request calls.
    fn request_index(request: &Self::Request) -> usize;

    /// The position in [`METHODS`](Self::METHODS) of the method that a response answers.
    fn response_index(response: &Self::Response) -> usize;

    /// The version that a request needs, because its method or a parameter that is present was added in it; 0
    /// if every version has them.
    fn needed_version(request: &Self::Request) -> u32;

    /// The large parts of a request, for [`zero_copy`](crate::codec::zero_copy).
    fn request_parts(request: &Self::Request) -> Vec<&[u8]>;

    /// The large parts of a response.
    fn response_parts(response: &Self::Response) -> Vec<&[u8]>;

    /// The kind of result in a response: an answer, or the object's own error.
    fn outcome(response: &Self::Response) -> Outcome;

    /// The interface with the JSON schemas of its methods.
    fn describe() -> Description;

    /// The description of the method that a request calls.
    fn method(request: &Self::Request) -> Option<&'static Method> {
        Self::METHODS.get(Self::request_index(request))
    }

    /// Whether the method is idempotent: the call may be sent again after it may have run.
    fn is_repeatable(request: &Self::Request) -> bool {
        Self::method(request).is_some_and(|method| method.repeatable)
    }
}

/// An interface that a service of type `S` implements.
///
/// ```
/// # pyroxene_common::interface! {
/// #     /// People who say hello.
/// #     #[name = "Example.Greeter"]
/// #     #[version = 1]
/// #     pub trait Greeter in greeter {
/// #         async fn hello(name: String) -> String;
/// #     }
/// # }
/// # #[derive(Clone)]
/// # struct Polite;
/// # impl greeter::Greeter for Polite {
/// #     async fn hello(self, _: tarpc::context::Context, name: String) -> String {
/// #         format!("Hello, {name}!")
/// #     }
/// # }
/// # use pyroxene_common::interface::Serves;
/// # use tarpc::context;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// // `Greeter` is an interface, and `Polite` a service that implements it.
/// let request = greeter::GreeterRequest::Hello { name: "Ana".to_owned() };
/// let response = Greeter::serve(Polite, context::current(), request).await?;
/// assert!(matches!(response, greeter::GreeterResponse::Hello(text) if text == "Hello, Ana!"));
/// # Ok::<(), tarpc::ServerError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Serves<S>: Interface {
    /// Answers one request with `service`.
    fn serve(
        service: S,
        context: Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, ServerError>> + Send + 'static;
}
