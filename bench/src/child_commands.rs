//! The hidden subcommands: child processes that benchmarks start from this same program. They are
//! servers, and clients that need their own process.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::Subcommand;

use crate::{
    compute,
    daemon::{self, BuiltinsArguments, NameServerArguments},
    directory, footprint, large,
    process::serve_while_parent_lives,
    rpc, streams, tasks, timed, web,
};

/// A server. It runs until its standard input closes.
#[derive(Subcommand)]
pub(crate) enum ServerCommand {
    /// Run a name server
    NameServer(NameServerArguments),
    /// Run a worker with built-in objects and register it with a name server
    Builtins(BuiltinsArguments),
    /// Run workers with the timed object and register them with a name server
    Timed(timed::TimedWorkerArguments),
    /// Run a worker with the empty object and register it with a name server
    Empty { nameserver: String },
    /// Run a worker with the echo object and register it with a name server
    Echo { nameserver: String },
    /// Run many workers
    Fleet {
        nameserver: String,
        objects: String,
        first: usize,
        end: usize,
    },
    /// Run the echo server of one system
    Rpc {
        system: rpc::System,
        secrets: Option<PathBuf>,
    },
    /// Serve streams by one system
    Streams { system: streams::StreamSystem },
    /// Receive and send bytes over bare TCP
    Bytes,
    /// Echo JSON over HTTP
    WebPeer,
}

impl ServerCommand {
    /// Whether the process runs one of this project's daemons and nothing else.
    pub(crate) fn is_daemon(&self) -> bool {
        match self {
            Self::Rpc { system, .. } => system.is_worker(),
            Self::Streams { system } => system.is_worker(),
            Self::Fleet { .. } | Self::Bytes | Self::WebPeer => false,
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
                Self::Streams { system } => system.serve().await,
                Self::Bytes => compute::serve_bytes().await,
                Self::WebPeer => web::serve_peer().await,
            }
        })
        .await
    }
}

/// A client. It does its work and prints its result on standard output.
#[derive(Subcommand)]
pub(crate) enum ClientCommand {
    /// Call a worker many times and read the memory of client, worker and name server
    FootprintCalls {
        nameserver: SocketAddr,
        worker: u32,
        nameserver_pid: u32,
        calls: u64,
    },
    /// Make one large call
    LargeSingle(large::SingleCallArguments),
    /// Make large calls, one after the other
    LargeLoader(large::LoaderArguments),
    /// Make small calls at a fixed rate
    LargeProber(large::ProberArguments),
    /// Read one stream
    Stream(streams::StreamClientArguments),
}

impl ClientCommand {
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
            Self::Stream(stream) => streams::run_client(stream).await,
        }
    }
}
