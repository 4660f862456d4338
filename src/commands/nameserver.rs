//! `pyroxene nameserver`: the daemon that knows who hosts what.

use crate::{
    cli::{DEFAULT_NAMESERVER, DaemonArguments, message_size},
    daemon::{self, Parent},
    failure::Failure,
};
use pyroxene_common::{endpoint::Endpoint, wire};
use pyroxene_nameserver::{NameServer, NameServerConfig};

/// As many connections as a host keeps by default.
const DEFAULT_CONNECTIONS: u32 = 16 * 1024;

/// Run a name server
///
/// Once it is ready it prints one line: ready nameserver 127.0.0.1:9090
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Where to listen: host:port, [v6]:port or unix:/path; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_LISTEN", default_value = DEFAULT_NAMESERVER)]
    pub(crate) listen: Endpoint,
    /// Where durable state is kept; memory: is the one store there is
    #[arg(long, env = "PYROXENE_STORE", default_value = "memory:")]
    pub(crate) store: String,
    /// The greatest message, in bytes
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = wire::DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    pub(crate) max_message: usize,
    /// How many connections are kept; further ones are refused
    #[arg(long, value_name = "N", env = "PYROXENE_MAX_CONNECTIONS", default_value_t = DEFAULT_CONNECTIONS)]
    pub(crate) max_connections: u32,
    #[command(flatten)]
    pub(crate) daemon: DaemonArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    daemon::check_store(&arguments.store)?;
    arguments.daemon.check_listen(&arguments.listen)?;
    let mut signals = daemon::catch_signals()?;
    let mut parent = Parent::watch(arguments.daemon.exit_with_parent);
    let config = NameServerConfig::new(arguments.listen.clone())
        .max_message(arguments.max_message)
        .max_connections(usize::try_from(arguments.max_connections).unwrap_or(usize::MAX));
    let nameserver = NameServer::bind(config)
        .await
        .map_err(|error| daemon::cannot_listen(&arguments.listen, &error))?;
    daemon::ready(&format!("ready nameserver {}", nameserver.local_addr()))?;
    daemon::told_to_stop(&mut signals, &mut parent).await;
    let patience = arguments.daemon.drain_timeout;
    daemon::drain(&mut signals, nameserver.shutdown(patience)).await
}
