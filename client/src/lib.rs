//! The client library of Pyroxene.

mod balance;
mod backoff;
mod breaker;
mod budget;
mod cost;
mod error;
mod instance;
mod membership;
