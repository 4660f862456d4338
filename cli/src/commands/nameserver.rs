//! `pyroxene nameserver`: the daemon that keeps the list of objects and the workers that host them.

use crate::{
    daemon::{self, ConnectionWork, ParentProcess},
    failure::{Exit, Failure},
    flags::{DEFAULT_NAMESERVER, DaemonArguments, YesOrNo},
    http::{HttpArguments, HttpService},
    security::{PortProtection, UsersArguments, watch_hangups},
    start::retry_transient,
    store::{self, StoreArguments},
    units::{duration, message_memory, message_size, size},
};
use pyroxene_common::{
    endpoint::Endpoint,
    host::Protocol,
    interfaces::topics::Retention,
    limits::LimitChange,
    reload::Reload,
    tls::{ClientAuth, TlsServer},
    wire,
};
use pyroxene_nameserver::{
    NameServer, NameServerConfig, NameServerError, directory::DirectoryLimits,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// The default limits of connections of a host.
const DEFAULT_CONNECTIONS: u32 = 16 * 1024;
const DEFAULT_CONNECTIONS_PER_ADDRESS: u32 = 12 * 1024;

/// Run a name server
///
/// Once it is ready it prints one line: ready nameserver 127.0.0.1:9090
#[derive(Debug, clap::Args)]
pub(crate) struct NameServerCommandArguments {
    /// Where to listen: host:port, [v6]:port or unix:/path; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_LISTEN", default_value = DEFAULT_NAMESERVER)]
    pub(crate) listen: Endpoint,
    /// The address by which workers and clients reach this name server, if it is not the one it listens on;
    /// name servers that share a store announce each other's addresses. Port 0 stands for the port that it
    /// listens on
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_NAMESERVER_ADVERTISE")]
    pub(crate) advertise: Option<Endpoint>,
    /// The largest message, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = wire::DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    pub(crate) max_message: usize,
    /// The memory for the messages of all connections together, in bytes, KiB, MiB or GiB; large messages
    /// beyond it wait or are refused [default: an eighth of the memory]
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MESSAGE_MEMORY", value_parser = message_memory)]
    pub(crate) message_memory: Option<usize>,
    /// The largest number of connections; further ones are refused
    #[arg(long, value_name = "N", env = "PYROXENE_MAX_CONNECTIONS", default_value_t = DEFAULT_CONNECTIONS)]
    pub(crate) max_connections: u32,
    /// The largest number of connections from one address
    #[arg(long, value_name = "N", env = "PYROXENE_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = DEFAULT_CONNECTIONS_PER_ADDRESS)]
    pub(crate) max_connections_per_address: u32,
    /// How long after its start calls of an unknown object wait, because a worker that hosts it may still
    /// register again: at least the longest lease and a heartbeat; 0s makes tests quick
    #[arg(long, value_name = "TIME", env = "PYROXENE_SETTLE", default_value = "4s", value_parser = duration)]
    settle: Duration,
    /// How long calls in flight may take to finish after a request to stop; watches never finish, so stopping
    /// takes all of this time while any client is connected
    #[arg(long, value_name = "TIME", env = "PYROXENE_NAMESERVER_DRAIN_TIMEOUT", default_value = "500ms", value_parser = duration)]
    drain_timeout: Duration,
    /// Answer Pyro's clients that look for a name server by a broadcast, at this address; without a value, at
    /// port 9091 of every interface
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_PYRO_BROADCAST", num_args = 0..=1, default_missing_value = "0.0.0.0:9091")]
    pyro_broadcast: Option<SocketAddr>,
    /// Pyro's clients reach every object through a name server, which balances each call; without this flag,
    /// they reach only objects with the tag 'pyroxene.balanced' so
    #[arg(long, env = "PYROXENE_PYRO_BALANCED", value_parser = YesOrNo)]
    pyro_balanced: bool,
    #[command(flatten)]
    pub(crate) daemon: DaemonArguments,
    #[command(flatten)]
    pub(crate) users: UsersArguments,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(flatten)]
    pub(crate) topics: TopicsArguments,
    #[command(flatten)]
    pub(crate) limits: LimitsArguments,
    #[command(flatten)]
    pub(crate) http: HttpArguments,
}

/// The limits of users.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitsArguments {
    /// A limit for every user for whom the users file sets no other, such as 'tasks=1000'; may be given more
    /// than once [default: the limits that 'pyroxene limits' shows]
    #[arg(
        long,
        value_name = "LIMIT",
        env = "PYROXENE_LIMIT",
        value_delimiter = ','
    )]
    pub(crate) limit: Vec<LimitChange>,
    /// A limit for all users together; may be given more than once
    #[arg(
        long,
        value_name = "LIMIT",
        env = "PYROXENE_TOTAL_LIMIT",
        value_delimiter = ','
    )]
    pub(crate) total_limit: Vec<LimitChange>,
}

/// How long topics keep their entries
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Durable state")]
pub(crate) struct TopicsArguments {
    /// How long topics keep their entries
    #[arg(long, value_name = "TIME", env = "PYROXENE_TOPIC_RETENTION_AGE", default_value = "30d", value_parser = duration)]
    pub(crate) topic_retention_age: Duration,
    /// The size of the newest entries that each topic keeps, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", env = "PYROXENE_TOPIC_RETENTION_BYTES", default_value = "1GiB", value_parser = size)]
    pub(crate) topic_retention_bytes: u64,
}

impl LimitsArguments {
    /// The flags with the same limits, for a child process.
    pub(crate) fn flags(&self) -> Vec<String> {
        let of = |flag: &str, changes: &[LimitChange]| {
            let changes = changes.iter().map(ToString::to_string);
            let flags = changes.flat_map(|change| [flag.to_owned(), change]);
            flags.collect::<Vec<_>>()
        };
        [
            of("--limit", &self.limit),
            of("--total-limit", &self.total_limit),
        ]
        .concat()
    }
}

pub(crate) async fn run(arguments: NameServerCommandArguments) -> Result<(), Failure> {
    protection(&arguments.daemon, &arguments.users)
        .check(&arguments.listen, arguments.daemon.insecure)?;
    if let Some(listen) = &arguments.http.http_listen {
        // HTTP has no TLS at an address of its own.
        let plain = PortProtection {
            tls: false,
            ..protection(&arguments.daemon, &arguments.users)
        };
        plain.check(listen, arguments.daemon.insecure)?;
    }
    let tls = arguments.daemon.tls.server(&arguments.daemon.client_auth)?;
    daemon::raise_file_limit();
    let mut signals = daemon::catch_signals()?;
    let mut parent = ParentProcess::watch(arguments.daemon.exit_with_parent);
    let http = HttpService::new(&arguments.http, arguments.max_message);
    let starting = start(&arguments, tls.clone(), http.protocol());
    let nameserver = daemon::start_unless_stopped(&mut signals, &mut parent, starting).await?;
    if let Some(address) = http.start(&nameserver).await? {
        tracing::info!("dashboard  {address}");
    }
    let mut reloads = nameserver.reloads();
    reloads.extend(tls.map(|tls| Box::new(tls) as Box<dyn Reload>));
    watch_hangups(reloads);
    daemon::report_ready(&format!("ready nameserver {}", nameserver.local_addr()))?;
    daemon::shutdown_requested(&mut signals, &mut parent).await;
    let shutdown = async {
        http.drain().await;
        let drained = nameserver.shutdown(arguments.drain_timeout).await;
        drained.map_err(|error| daemon::not_in_order(&error))
    };
    daemon::drain(&mut signals, shutdown, ConnectionWork::Watches).await
}

/// The protection of the port of a name server with these flags.
pub(crate) fn protection(
    daemon: &DaemonArguments,
    users: &UsersArguments,
) -> PortProtection<'static> {
    let certificates = daemon.client_auth.tls_client_auth == ClientAuth::Required;
    PortProtection {
        tls: daemon.tls.tls_cert.is_some(),
        authentication: users.users.is_some() || certificates,
        flags: "--users FILE (or --tls-ca FILE --tls-client-auth required)",
    }
}

async fn start(
    arguments: &NameServerCommandArguments,
    tls: Option<TlsServer>,
    http: Option<Arc<dyn Protocol>>,
) -> Result<NameServer, Failure> {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let age_ms = u64::try_from(arguments.topics.topic_retention_age.as_millis());
    let mut config = NameServerConfig::new(arguments.listen.clone())
        .topic_retention(Retention {
            age_ms: Some(age_ms.unwrap_or(u64::MAX)),
            bytes: Some(arguments.topics.topic_retention_bytes),
        })
        .max_message(arguments.max_message)
        .max_connections(count(arguments.max_connections))
        .max_connections_per_address(count(arguments.max_connections_per_address))
        .limits(DirectoryLimits {
            settle: arguments.settle,
            ..DirectoryLimits::default()
        })
        .ticket_life(arguments.users.ticket_life)
        .store(arguments.store.url()?)
        .task_retention(arguments.store.task_retention)
        .user_limits(arguments.limits.limit.iter().copied().collect())
        .total_limits(arguments.limits.total_limit.iter().copied().collect());
    config = config
        .pyro(arguments.daemon.pyro)
        .pyro_balanced(arguments.pyro_balanced);
    if let Some(address) = arguments.pyro_broadcast {
        config = config.pyro_broadcast(address);
    }
    if arguments.store.store_must_exist {
        config = config.store_must_exist();
    }
    if let Some(advertise) = &arguments.advertise {
        if advertise.is_unspecified() {
            let sentence = format!(
                "cannot advertise {advertise}: it is the address of every interface, and nobody can reach it"
            );
            return Err(Failure::usage(sentence)
                .hint("give an address of this machine that others can reach to --advertise"));
        }
        config = config.advertise(advertise.clone());
    }
    if let Some(http) = http {
        config = config.protocol(http);
    }
    if let Some(bytes) = arguments.message_memory {
        config = config.message_memory(bytes);
    }
    if let Some(tls) = tls {
        config = config.tls(tls);
    }
    if let Some(tls) = arguments.daemon.tls.client()? {
        config = config.tls_to_workers(tls);
    }
    if let Some(users) = &arguments.users.users {
        config = config
            .users(users)
            .certificates(arguments.users.certificates);
    }
    let listen = &arguments.listen;
    let waits_for = |error: &NameServerError| match error {
        NameServerError::Store(error) if error.is_transient() => Some("the store".to_owned()),
        NameServerError::Listen(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Some(format!("the address {listen}"))
        }
        _ => None,
    };
    let timeout = arguments.daemon.start_timeout.0;
    let bound = retry_transient(timeout, waits_for, async || {
        // The store of a name server that still runs is left alone.
        let free = daemon::check_free(listen).await;
        free.map_err(NameServerError::Listen)?;
        NameServer::bind(config.clone()).await
    });
    bound.await.map_err(|error| match error {
        NameServerError::Listen(error) => daemon::cannot_listen(&arguments.listen, &error),
        NameServerError::Users(error) => error.into(),
        NameServerError::Store(error) => store::cannot_open(&error),
        error @ (NameServerError::Threads(_) | NameServerError::NotClosed(_)) => {
            Failure::new(Exit::Failed, error.to_string())
        }
    })
}
