//! The subcommands, one module each.

pub(crate) mod bench;
pub(crate) mod call;
pub(crate) mod certs;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod describe;
pub(crate) mod distributed;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod map;
pub(crate) mod multiply;
pub(crate) mod nameserver;
pub(crate) mod ping;
pub(crate) mod register;
pub(crate) mod remove;
pub(crate) mod shell;
pub(crate) mod sort;
pub(crate) mod store;
pub(crate) mod submit;
pub(crate) mod tasks;
pub(crate) mod topic;
pub(crate) mod up;
pub(crate) mod users;
pub(crate) mod whoami;
pub(crate) mod worker;
pub(crate) mod workers;
