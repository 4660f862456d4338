//! The client library: resolves an object by name, balances calls over its instances, and retries.
//!
//! The steps of a call, in order:
//!
//! 1. [`Client`] knows the name servers. [`Client::object`] finds an object and watches it (`object`);
//!    [`membership`] has the rules for which instances are live.
//! 2. [`Proxy`] is the stub behind tarpc's generated client. It picks an instance ([`balance`],
//!    [`cost`], [`breaker`]) and calls it over a connection (`instance`).
//! 3. After a failed attempt, `retry` decides whether another attempt follows. The attempt is paid from
//!    the retry budget ([`budget`]) and goes to another instance; otherwise the call ends with a
//!    [`CallError`].
//!
//! [`Client::session`] keeps to one instance, where its calls have a state of their own (`proxy/session.rs`).
//! [`Client::remote`] makes a proxy of a reference (`proxy/remote.rs`).
//! `failover` asks any name server that answers. [`Client::map`] makes many calls in parallel, [`Client::all`] one of every instance. [`Client::dynamic`] calls methods by name.
//! [`Client::submit`] submits a call to the name servers as a task, which they run (`tasks`).
//! [`Client::schedules`] has the calls that become tasks at the times of a cron pattern.
//! [`Client::topic`] is a durable log that the name servers keep.

mod all;
mod attempt;
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod budget;
mod callers;
mod client;
pub mod config;
mod connect;
mod connector;
pub mod cost;
mod deadline;
mod delegates;
mod delegation;
mod direct;
mod dynamic;
mod error;
mod failover;
mod instance;
mod lookup;
mod map;
pub mod membership;
mod nameserver;
mod nameservers;
mod object;
mod object_lookup;
mod older;
mod options;
mod policy;
mod problem;
mod proxy;
mod retry;
mod security;
mod spoken;
mod tasks;
mod ticket_source;
mod tickets;
mod topic;
mod watches;

pub use all::{AllAnswers, AllInstances, InstanceAnswer};
pub use backoff::Backoff;
pub use callers::{CallerAccess, CallerCredentials, CallerLogin, SnapshotKeeper};
pub use client::{Client, ConnectError};
pub use config::{ClientConfig, DEFAULT_PORT, InvalidConfig};
pub use deadline::{context_until, context_within};
pub use delegation::{DelegateTicketIssuer, DelegatedCall};
pub use direct::DirectProxy;
pub use dynamic::{DynamicError, DynamicObject};
pub use error::{Attempt, AttemptLog, CallError};
pub use nameserver::{LoginState, NameServerClient, NameServerService, ReceivedAdmission};
pub use object_lookup::ObjectLookup;
pub use options::CallOptions;
pub use policy::Policy;
pub use problem::Problem;
pub use proxy::{CallOnceOptions, Proxy, RemoteProxy, Response, SessionProxy};
pub use security::Credentials;
pub use tasks::{
    BatchHandle, BatchSubmission, Durable, NewSchedule, NewTask, Schedules, TaskError, TaskHandle,
};
pub use ticket_source::TicketSource;
pub use topic::{Topic, TopicError};
