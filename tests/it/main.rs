//! The broker as a whole: real processes and real sockets, and what becomes of calls when they
//! break.
//!
//! [`harness`] is the vocabulary, [`fault_proxy`] the bad network between a client and a worker;
//! every other module is one family of scenarios.
//!
//! One test binary, so that it is linked once. Tests that keep both cores busy take turns
//! ([`harness::turn`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod balance;
mod balancer;
mod bank;
mod browser;
mod callbacks;
mod calls;
mod chat;
mod clocks;
mod command_line;
mod context;
mod death;
mod distributed;
mod drain;
mod exclusive;
mod fault_proxy;
mod freeze;
mod harness;
mod heartbeats;
mod http;
mod interfaces;
mod limits;
mod mixture;
mod names;
mod network;
mod overload;
mod pyro;
mod reach;
mod references;
mod schedules;
mod security;
mod selection;
mod sessions;
mod shell;
mod starting;
mod stock_tarpc;
mod store_away;
mod streams;
mod tasks;
mod terminal;
mod topics;
mod traces;
mod wire;
