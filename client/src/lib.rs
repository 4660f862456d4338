//! The client library: resolve an object by name, balance calls over its instances, retry.
//!
//! The way of a call, in order:
//!
//! 1. [`Client`] knows the name servers; [`Client::object`] finds an object and follows it (`object`,
//!    with the rules of who is there in [`membership`]).
//! 2. [`Proxy`] is the stub behind tarpc's generated client: it picks an instance ([`balance`],
//!    [`cost`], [`breaker`]) and calls it over a connection (`instance`).
//! 3. A failed attempt is judged (`retry`), paid for ([`budget`]), and made again elsewhere, or
//!    becomes a [`CallError`].
//!
//! [`Client::map`] spreads many calls; [`Client::dynamic`] calls objects by the names of their methods. [`Client::submit`] hands a call to the name servers, which see to it that it is made
//! (`tasks`). [`Client::topic`] is a durable log that they keep.

mod attempt;
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod budget;
mod client;
pub mod config;
mod connect;
pub mod cost;
mod delegates;
mod direct;
mod dynamic;
mod error;
mod instance;
mod map;
pub mod membership;
mod nameserver;
mod nameservers;
mod object;
mod passport;
mod proxy;
mod retry;
mod security;
mod tasks;
mod topic;

pub use backoff::Backoff;
pub use balance::Policy;
pub use client::{Client, ConnectError};
pub use config::{ClientConfig, DEFAULT_PORT, InvalidConfig};
pub use delegates::{Delegate, OnBehalf};
pub use direct::Direct;
pub use dynamic::{DynamicError, DynamicObject};
pub use error::{Attempt, CallError, Trail};
pub use nameserver::{Held, NameServer, Recognised, Service};
pub use proxy::{Answered, Once, Proxy};
pub use security::Credentials;
pub use tasks::{Durable, NewTask, TaskError, TaskHandle};
pub use topic::{Topic, TopicError};
