//! The processes that benchmarks start of this same program: servers, and clients that must not share
//! a process with anything.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::Subcommand;

use crate::{
    compute,
    daemon::{self, BuiltinsArguments, NameServerArguments},
    directory, footprint, large,
    process::serve_while_parent_lives,
    rpc, tasks, timed,
};

/// A server, which runs until standard input closes.
#[derive(Subcommand)]
pub(crate) enum Serve {
    /// Run a name server
    NameServer(NameServerArguments),
    /// Host built-in objects at a name server
    Builtins(BuiltinsArguments),
    /// Host the timed object at a name server
    Timed(timed::Arguments),
    /// Host the empty object at a name server
    Empty { nameserver: String },
    /// Host the echo object at a name server
    Echo { nameserver: String },
    /// Run many workers
    Fleet {
        nameserver: String,
        objects: String,
        first: usize,
        end: usize,
    },
    /// Serve the echo of one system
    Rpc {
        system: rpc::System,
        secrets: Option<PathBuf>,
    },
    /// Take and send bare bytes
    Bytes,
}

impl Serve {
    /// Whether it is one of this project's daemons, alone in its process.
    pub(crate) fn is_daemon(&self) -> bool {
        match self {
            Self::Rpc { system, .. } => system.is_worker(),
            Self::Fleet { .. } | Self::Bytes => false,
            _ => true,
        }
    }

    pub(crate) async fn run(self) -> Result<()> {
        serve_while_parent_lives(async {
            match self {
                Self::NameServer(arguments) => daemon::serve_nameserver(arguments).await,
                Self::Builtins(arguments) => daemon::serve_builtins(arguments).await,
                Self::Timed(arguments) => timed::serve(arguments).await,
                Self::Empty { nameserver } => tasks::serve_empty(nameserver).await,
                Self::Echo { nameserver } => rpc::serve_echo(nameserver).await,
                Self::Fleet {
                    nameserver,
                    objects,
                    first,
                    end,
                } => directory::serve_fleet(nameserver, objects, first, end).await,
                Self::Rpc { system, secrets } => system.serve(secrets).await,
                Self::Bytes => compute::serve_bytes().await,
            }
        })
        .await
    }
}

/// A client, which does its work and says on standard output what it saw.
#[derive(Subcommand)]
pub(crate) enum Call {
    /// Call a worker many times and look at everybody's memory
    FootprintCalls {
        nameserver: SocketAddr,
        worker: u32,
        nameserver_pid: u32,
        calls: u64,
    },
    /// Make one large call
    LargeSingle(large::Single),
    /// Make large calls, one after the other
    LargeLoader(large::Loader),
    /// Make small calls at a fixed rate
    LargeProber(large::Prober),
}

impl Call {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::FootprintCalls {
                nameserver,
                worker,
                nameserver_pid,
                calls,
            } => footprint::call(nameserver, worker, nameserver_pid, calls).await,
            Self::LargeSingle(single) => large::run_single(single).await,
            Self::LargeLoader(loader) => large::run_loader(loader).await,
            Self::LargeProber(prober) => large::run_prober(prober).await,
        }
    }
}
