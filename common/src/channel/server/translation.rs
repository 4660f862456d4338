//! Calls that arrive and are answered in another form than that of their interface, such as JSON.

use crate::{
    channel::error::CallFailure,
    offload::{RuntimeStopped, offload},
    scope,
};
use std::io;
use tarpc::ServerError;

/// A call in another form than the request of its interface.
pub trait Translation<Request, Response>: Send + 'static {
    /// An answer in that form.
    type Answer: Send + 'static;

    /// The method's name, if it is known before the call is read; for logs.
    fn method(&self) -> &str;

    /// Refuses the call if its caller may not make it, as far as that is known before it is read.
    fn permitted(&self) -> Result<(), CallFailure> {
        Ok(())
    }

    /// Whether it can be read in about 100 microseconds.
    fn is_small(&self) -> bool;

    /// Reads the request.
    fn read(self) -> Result<Request, TranslationFailure<Self::Answer>>;

    /// Whether an answer can be written in about 100 microseconds.
    fn is_quick(response: &Response) -> bool;

    /// Writes an answer.
    fn write(response: Response) -> Self::Answer;
}

/// Why a call ended before its method began.
#[derive(Debug)]
pub enum TranslationFailure<A> {
    /// The call is answered without its method, because it is not valid, for example.
    Answer(A),
    /// It has no answer, for this reason.
    Unanswered(CallFailure),
}

impl<A> TranslationFailure<A> {
    /// The result for the caller.
    pub fn outcome(self) -> Result<A, CallFailure> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Unanswered(unanswered) => Err(unanswered),
        }
    }
}

/// Reads a call, runs its method by `run`, and writes the answer. Slow reading and writing is done outside
/// the runtime's threads.
pub(super) async fn translate<Request, Response, T, F>(
    call: T,
    run: impl FnOnce(Request) -> F,
) -> Result<T::Answer, CallFailure>
where
    Request: Send + 'static,
    Response: Send + 'static,
    T: Translation<Request, Response>,
    F: Future<Output = Result<Response, CallFailure>>,
{
    let read = match call.is_small() {
        true => call.read(),
        false => apart(move || call.read()).await?,
    };
    let request = match read {
        Ok(request) => request,
        Err(unread) => return unread.outcome(),
    };
    let response = run(request).await?;
    if T::is_quick(&response) {
        return Ok(T::write(response));
    }
    apart(move || T::write(response)).await
}

/// Runs work of the call that runs here outside the runtime's threads.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallFailure> {
    let caller = scope::current().caller;
    let done = offload(caller.turn_name(), work).await;
    done.map_err(|error: RuntimeStopped| {
        CallFailure::Failed(ServerError::new(io::ErrorKind::Other, error.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::{ThreadId, current};

    /// A call that is slow to read and to write, even if it claims to be quick.
    struct Told(bool);

    impl Translation<ThreadId, bool> for Told {
        type Answer = Option<ThreadId>;

        fn method(&self) -> &str {
            "told"
        }

        fn is_small(&self) -> bool {
            self.0
        }

        fn read(self) -> Result<ThreadId, TranslationFailure<Self::Answer>> {
            Ok(current().id())
        }

        fn is_quick(response: &bool) -> bool {
            *response
        }

        fn write(_: bool) -> Option<ThreadId> {
            Some(current().id())
        }
    }

    #[tokio::test]
    async fn only_what_is_quick_is_done_on_the_runtime() {
        let here = current().id();
        for is_quick in [true, false] {
            let run = |read_on: ThreadId| async move {
                assert_eq!(read_on == here, is_quick);
                Ok(is_quick)
            };
            let written_on = translate(Told(is_quick), run).await.unwrap();
            assert_eq!(written_on == Some(here), is_quick);
        }
    }
}
