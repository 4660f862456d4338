//! What carries the calls of the clients that [`interface!`](crate::interface!) declares.

use tarpc::context::Context;

/// What carries the calls of a client. The error of the client's methods is its own, so that callers can match
/// on it.
///
/// ```
/// use pyroxene_common::interface::{CallStub, Serves};
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
/// use tarpc::{ServerError, context::{self, Context}};
///
/// /// Calls an object of this process without a broker.
/// struct Direct;
///
/// impl CallStub for Direct {
///     type Request = greeter::GreeterRequest;
///     type Response = greeter::GreeterResponse;
///     type Error = ServerError;
///
///     async fn call(&self, context: Context, request: Self::Request) -> Result<Self::Response, ServerError> {
///         Greeter::serve(Polite, context, request).await
///     }
///     fn answered_another_method() -> ServerError {
///         ServerError::new(std::io::ErrorKind::InvalidData, "it answered another method".to_owned())
///     }
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let greeter = greeter::GreeterClient::from(Direct);
/// assert_eq!(greeter.hello(context::current(), "Ana".to_owned()).await?, "Hello, Ana!");
/// # Ok::<(), ServerError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CallStub: Send + Sync {
    /// The interface's requests.
    type Request;
    /// The interface's responses.
    type Response;
    /// Why a call has no response.
    type Error;

    /// Makes a call.
    fn call(
        &self,
        context: Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Self::Error>> + Send;

    /// The error if a response answers another method than the one that was called.
    fn answered_another_method() -> Self::Error;
}
