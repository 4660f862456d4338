//! The built-in objects: their interfaces, their values, and their implementations.
//!
//! - [`HostBuiltins`] adds them to a worker by their names, [`BUILTINS`].
//! - [`accounts`], [`calculator`], [`chat`], [`counter`], [`echo`], [`hash`], [`text`]: the objects. Their methods run
//!   where they are polled. The host of an object asks `is_heavy` of its module first, and polls heavy calls
//!   on a thread of the compute pool. All other calls take well under 20 microseconds in place.
//! - [`interfaces`]: the methods that a client calls; [`values`]: the types of their arguments and results.
//! - [`distributed`]: one large sort or matrix product over all calculators.

pub mod accounts;
mod builtins;
pub mod calculator;
pub mod chat;
pub mod counter;
pub mod distributed;
pub mod echo;
pub mod hash;
pub mod interfaces;
pub mod text;
pub mod values;

pub use accounts::{
    AccountsDatabase, AccountsDatabaseError, AccountsObject, InvalidAccountsDatabase,
};
pub use builtins::{BUILTINS, HostBuiltins, UnknownBuiltin};
pub use calculator::CalculatorObject;
pub use chat::ChatObject;
pub use counter::CounterObject;
pub use distributed::{
    Distributed, DistributedCalculator, DistributedError, DistributedOptions, DistributedProgress,
};
pub use echo::EchoObject;
pub use hash::HashObject;
pub use text::TextObject;
