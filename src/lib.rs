//! Pyroxene, an object broker: a **name server** knows which **workers** host which **objects**; a
//! **client** asks for an object by name and calls typed [`tarpc`] methods on it as if it were
//! local. Calls are balanced over every live instance and retried where that is safe.
//!
//! This crate is the front door. What it re-exports:
//!
//! - calling: [`Client`], [`ClientConfig`], [`Proxy`], [`Policy`], [`CallError`]; everything else
//!   of the [`client`] library;
//! - calls that outlive the caller: [`Client::submit`] takes a [`NewTask`] and gives a
//!   [`TaskHandle`]; [`TaskId`], [`TaskState`], [`Durable`], [`TaskError`];
//! - security: [`Credentials`] and [`TlsClient`] for who connects, [`TlsServer`] for who serves; within a
//!   method, [`common::scope::current`] says who the [`Caller`] is;
//! - hosting: [`Worker`], [`WorkerBuilder`]; everything else of the [`worker`] library;
//! - the [`nameserver`] library with [`NameServer`], and [`StoreUrl`] for what it keeps;
//! - declaring interfaces: the [`interface!`] macro; [`Blob`] for bytes; [`Remote`] for references to objects; [`schemars`], whose `JsonSchema`
//!   types of one's own derive;
//! - the built-in [`objects`], which [`HostBuiltins`] adds to a worker, and their interfaces: [`Calculator`], [`Text`], [`struct@Hash`], [`Echo`],
//!   [`Accounts`], [`Counter`], [`Chat`];
//! - within a method: [`context()`] says who calls, with which [`Metadata`], until when; [`progress`] says how far
//!   it is;
//! - on the way of every call: an [`Interceptor`];
//! - what both ends share: [`Endpoint`] and the rest of [`common`].
//!
//! ```no_run
//! # #[cfg(feature = "builtins")]
//! # mod example {
//! use pyroxene::{Calculator, Client, tarpc::context};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("127.0.0.1:9090").await?;
//! let calculator = client.object::<Calculator>("calculator").await?;
//! let answer = calculator.factorial(context::current(), 30).await??;
//! println!("30! is {answer}");
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! Each part is a feature: `client` and `worker` are there by default; `builtins` brings the built-in
//! objects, `nameserver` a name server within the program, `full` everything. A program that only calls
//! needs `client` alone (`default-features = false`).
//!
//! A program that declares an interface of its own needs `tarpc` among its dependencies too, and `serde`
//! with its feature `derive` for structs of its own. The examples `greeter` and `orders` are such programs:
//! interface, worker and client in one file, `orders` with a struct as an argument.

#[cfg(feature = "client")]
#[doc(inline)]
pub use pyroxene_client as client;
#[doc(inline)]
pub use pyroxene_common as common;
#[cfg(feature = "nameserver")]
#[doc(inline)]
pub use pyroxene_nameserver as nameserver;
#[cfg(feature = "builtins")]
#[doc(inline)]
pub use pyroxene_objects as objects;
#[cfg(feature = "worker")]
#[doc(inline)]
pub use pyroxene_worker as worker;

#[cfg(all(feature = "nameserver", feature = "worker"))]
pub mod testing;

#[cfg(feature = "client")]
pub use pyroxene_client::{
    AllAnswers, AllInstances, Attempt, AttemptLog, BatchHandle, BatchSubmission, CallError,
    CallOptions, Client, ClientConfig, ConnectError, Credentials, Durable, DynamicError,
    DynamicObject, InstanceAnswer, InvalidConfig, NewSchedule, NewTask, ObjectLookup, Policy,
    Proxy, RemoteProxy, Response, Schedules, SessionProxy, TaskError, TaskHandle, Topic,
    TopicError, context_until, context_within,
};
#[cfg(any(feature = "worker", feature = "nameserver"))]
pub use pyroxene_common::tls::{ClientAuth, KeyPairFiles, TlsServer};
pub use pyroxene_common::{
    Remote, Stream,
    channel::{StreamError, StreamFailure},
    endpoint::Endpoint,
    interceptor::{CallEnd, InterceptedCall, Interceptor},
    interface,
    interface::Interface,
    interfaces::{
        batches::{BatchId, BatchStatus},
        schedules::{MissedPolicy, OverlapPolicy, Schedule},
        tasks::{TaskFilter, TaskId, TaskState},
    },
    message::{Refusal, RefusalReason},
    metadata::{InvalidMetadata, Metadata},
    scope::{CallContext, Caller, context, progress},
    tls::TlsClient,
    values::Blob,
};
#[cfg(feature = "nameserver")]
pub use pyroxene_nameserver::{NameServer, NameServerConfig};
#[cfg(feature = "builtins")]
pub use pyroxene_objects::{
    Distributed, DistributedCalculator, DistributedError, DistributedOptions, HostBuiltins,
    interfaces::{
        accounts::Accounts, calculator::Calculator, chat::Chat, counter::Counter, echo::Echo,
        hash::Hash, text::Text,
    },
};
#[cfg(feature = "nameserver")]
pub use pyroxene_store::StoreUrl;
#[cfg(feature = "worker")]
pub use pyroxene_worker::{Chaos, Worker, WorkerBuilder, WorkerError};
pub use schemars;
pub use tarpc;

/// Runs the examples of the page that can run by themselves.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
mod library {}
