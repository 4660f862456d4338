//! Why a worker could not start.

use crate::compute::MAX_THREADS;
use pyroxene_client::InvalidConfig;
use pyroxene_common::{
    endpoint::Endpoint, identity::KeyError, interfaces::directory::DirectoryError,
};
use std::io;

/// Why a worker could not start.
///
/// ```
/// use pyroxene_objects::{self as objects, interfaces::text::Text};
/// use pyroxene_worker::{Worker, WorkerError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Worker::builder()
///     .host("text", Text, objects::TextObject)
///     .host("text", Text, objects::TextObject);
/// let error = builder.bind().await.unwrap_err();
/// assert!(matches!(&error, WorkerError::HostedTwice(name) if name == "text"), "{error}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It cannot listen.
    #[error("cannot listen on {endpoint}: {error}")]
    Listen {
        /// The endpoint.
        endpoint: Endpoint,
        /// The error.
        error: io::Error,
    },
    /// The addresses of the name servers are invalid.
    #[error(transparent)]
    NameServers(#[from] InvalidConfig),
    /// The threads of the compute pool or the thread of the leases cannot be started.
    #[error("cannot start the worker's threads: {0}")]
    Threads(io::Error),
    /// The process has no key for the login.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The handlers of the stop signals cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The advertised address is the address of every interface.
    #[error(
        "cannot advertise {0}: it is the address of every interface, and clients cannot reach it"
    )]
    Advertise(Endpoint),
    /// More compute threads than [`MAX_THREADS`].
    #[error("{0} compute threads are too many; the limit is {MAX_THREADS}")]
    TooManyThreads(usize),
    /// A name server refuses the worker.
    #[error("name server {nameserver} refuses the worker: {error}")]
    Refused {
        /// The name server.
        nameserver: Endpoint,
        /// The error.
        error: DirectoryError,
    },
    /// The worker has a name or a time to live that no name server accepts.
    #[error("{0}")]
    Invalid(String),
    /// Two objects have the same name, and are not versions of one interface.
    #[error("the object '{0}' is hosted twice")]
    HostedTwice(String),
}
