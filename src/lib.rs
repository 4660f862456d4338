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
//! - declaring interfaces: the [`interface!`] macro; [`Blob`] for bytes; [`schemars`], whose `JsonSchema`
//!   types of one's own derive;
//! - the built-in [`objects`], which [`HostBuiltins`] adds to a worker, and their interfaces: [`Calculator`], [`Text`], [`struct@Hash`], [`Echo`],
//!   [`Accounts`], [`Chat`];
//! - within a method: [`progress`] says how far it is;
//! - what both ends share: [`Endpoint`] and the rest of [`common`].
//!
//! ```no_run
//! use pyroxene::{Calculator, Client, tarpc::context};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("127.0.0.1:9090").await?;
//! let calculator = client.object::<Calculator>("calculator").await?;
//! let answer = calculator.factorial(context::current(), 30).await??;
//! println!("30! is {answer}");
//! # Ok(())
//! # }
//! ```
//!
//! A program that declares an interface of its own needs `tarpc` among its dependencies too, and `serde`
//! with its feature `derive` for structs of its own. The examples `greeter` and `orders` are such programs:
//! interface, worker and client in one file, `orders` with a struct as an argument.

#[doc(inline)]
pub use pyroxene_client as client;
#[doc(inline)]
pub use pyroxene_common as common;
#[doc(inline)]
pub use pyroxene_nameserver as nameserver;
#[doc(inline)]
pub use pyroxene_objects as objects;
#[doc(inline)]
pub use pyroxene_worker as worker;

pub use pyroxene_client::{
    Answered, Attempt, CallError, Client, ClientConfig, ConnectError, Credentials, Durable,
    DynamicError, DynamicObject, InvalidConfig, NewTask, Policy, Proxy, TaskError, TaskHandle,
    Topic, TopicError, Trail,
};
pub use pyroxene_common::{
    endpoint::Endpoint,
    interface,
    interface::Interface,
    interfaces::tasks::{TaskFilter, TaskId, TaskState},
    scope::{Caller, progress},
    tls::{TlsClient, TlsServer},
    values::Blob,
};
pub use pyroxene_nameserver::{NameServer, NameServerConfig};
pub use pyroxene_objects::interfaces::{
    accounts::Accounts, calculator::Calculator, chat::Chat, echo::Echo, hash::Hash, text::Text,
};
pub use pyroxene_objects::{
    Distributed, DistributedCalculator, DistributedError, DistributedOptions, HostBuiltins,
};
pub use pyroxene_store::StoreUrl;
pub use pyroxene_worker::{Chaos, Worker, WorkerBuilder, WorkerError};
pub use schemars;
pub use tarpc;
