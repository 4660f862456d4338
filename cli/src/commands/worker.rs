//! `pyroxene worker`: the daemon that hosts the built-in objects.

use crate::{
    daemon::{self, ConnectionWork, ParentProcess},
    failure::{Exit, Failure},
    flags::{DEFAULT_NAMESERVER, DaemonArguments, YesOrNo},
    security::{LoginArguments, PortProtection, watch_hangups},
    start::retry_transient,
    units::{duration, message_memory, message_size},
};
use pyroxene_client::Credentials;
use pyroxene_common::{
    channel::DEFAULT_SESSIONS_PER_USER,
    endpoint::Endpoint,
    interfaces::directory::{DirectoryError, MAX_TTL, MIN_TTL},
    reload::Reload,
    tls::{ClientAuth, TlsClient, TlsServer},
    wire,
};
use pyroxene_gateway::{WorkerGateway, WorkerView};
use pyroxene_objects::{
    AccountsDatabase, AccountsDatabaseError, AccountsObject, BUILTINS, HostBuiltins, interfaces,
};
use pyroxene_worker::{Chaos, MAX_THREADS, Worker, WorkerBuilder, WorkerError};
use std::{sync::Arc, time::Duration};

/// The environment variable that names the database of the accounts.
pub(crate) const ACCOUNTS_VARIABLE: &str = "PYROXENE_ACCOUNTS_DB";
pub(crate) const ACCOUNTS_MUST_EXIST_VARIABLE: &str = "PYROXENE_ACCOUNTS_MUST_EXIST";

/// Run a worker with the built-in objects
///
/// Once it is ready it prints one line: ready worker NAME 127.0.0.1:41233. It keeps trying to reach a name
/// server that cannot be reached.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArguments {
    /// The name servers to register with, separated by commas
    #[arg(long, value_name = "A,B", env = "PYROXENE_NAMESERVER", default_value = DEFAULT_NAMESERVER)]
    nameserver: String,
    /// The worker's name, unique among live workers [default: the host's name, the process id and a random
    /// number]
    #[arg(long, env = "PYROXENE_NAME")]
    name: Option<String>,
    /// Where to listen: host:port, [v6]:port or unix:/path; port 0 takes any free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PYROXENE_WORKER_LISTEN",
        default_value = "127.0.0.1:0"
    )]
    listen: Endpoint,
    /// The address by which clients reach it, if it is not the one it listens on; port 0 stands for the port
    /// that it listens on [default if it listens on every interface: an address of this machine]
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_ADVERTISE")]
    advertise: Option<Endpoint>,
    /// The built-in objects to host, separated by commas [default: calculator,text,hash,echo,
    /// counter,chat, and accounts with --accounts-db]
    #[arg(
        long,
        value_name = "A,B",
        env = "PYROXENE_OBJECTS",
        value_delimiter = ','
    )]
    objects: Option<Vec<String>>,
    /// The database of the object accounts: sqlite:FILE, which workers of one host may share, or
    /// postgres://USER@HOST:PORT/DATABASE
    #[arg(
        long,
        value_name = "DATABASE",
        env = ACCOUNTS_VARIABLE,
        hide_env_values = true
    )]
    accounts_db: Option<String>,
    /// Let users use only accounts of their own name, and accounts that --allow account:NAME grants them
    #[arg(long, env = "PYROXENE_ACCOUNTS_OWNER_RULE", value_parser = YesOrNo)]
    accounts_owner_rule: bool,
    /// Refuse to start if there are no accounts in that database yet, instead of making empty tables
    #[arg(long, env = ACCOUNTS_MUST_EXIST_VARIABLE, value_parser = YesOrNo)]
    accounts_must_exist: bool,
    /// Threads for CPU-bound calls, up to 1024 [default: the number of cores]
    #[arg(long, value_name = "N", env = "PYROXENE_THREADS", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS as i64))]
    threads: Option<u16>,
    /// How many CPU-bound calls may wait for a thread; further ones are refused [default: 1024]
    #[arg(long, value_name = "N", env = "PYROXENE_QUEUE")]
    queue: Option<usize>,
    /// A tag to find its instances by; may be given several times
    #[arg(long, value_name = "TAG", env = "PYROXENE_TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// Hold the objects' names exclusively; another worker for the same names waits until this one is gone
    #[arg(long, env = "PYROXENE_EXCLUSIVE", value_parser = YesOrNo)]
    exclusive: bool,
    /// The time to live of its leases, 500ms to 60s [default: 3s]
    #[arg(long, value_name = "TIME", env = "PYROXENE_TTL", value_parser = ttl)]
    ttl: Option<Duration>,
    /// The largest message, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = wire::DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    max_message: usize,
    /// The memory for the messages of all connections together, in bytes, KiB, MiB or GiB; large messages
    /// beyond it wait or are refused [default: an eighth of the memory]
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MESSAGE_MEMORY", value_parser = message_memory)]
    message_memory: Option<usize>,
    /// How long a client's session may be without a call before it is ended
    #[arg(long, value_name = "TIME", env = "PYROXENE_SESSION_IDLE", default_value = "10m", value_parser = duration)]
    session_idle: Duration,
    /// How many sessions one user may have; without authentication, one address
    #[arg(long, value_name = "N", env = "PYROXENE_MAX_SESSIONS", default_value_t = DEFAULT_SESSIONS_PER_USER)]
    max_sessions: usize,
    /// Simulated faults: delay=10ms,fail=0.1,crash-after=100
    #[arg(long, value_name = "FAULTS", env = "PYROXENE_CHAOS")]
    chaos: Option<Chaos>,
    /// How long calls in flight may take to finish after a request to stop
    #[arg(long, value_name = "TIME", env = "PYROXENE_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    pub(crate) daemon: DaemonArguments,
    #[command(flatten)]
    login: LoginArguments,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    match (MIN_TTL..=MAX_TTL).contains(&ttl) {
        true => Ok(ttl),
        false => Err(format!("it is not between {MIN_TTL:?} and {MAX_TTL:?}")),
    }
}

pub(crate) async fn run(arguments: WorkerArguments) -> Result<(), Failure> {
    protection(&arguments.daemon, &arguments.login)
        .check(&arguments.listen, arguments.daemon.insecure)?;
    let security = WorkerSecurity::read(&arguments)?;
    daemon::raise_file_limit();
    let mut signals = daemon::catch_signals()?;
    let mut parent = ParentProcess::watch(arguments.daemon.exit_with_parent);
    let drain_timeout = arguments.drain_timeout;
    let (objects, accounts) =
        daemon::start_unless_stopped(&mut signals, &mut parent, objects(&arguments)).await?;
    watch_hangups(security.reloads());
    let builder = builder(arguments, security, accounts.clone());
    let builder = builder.builtins(objects);
    let builder = builder.map_err(|error| Failure::usage(error.to_string()))?;
    let pages = WorkerGateway::default();
    let builder = builder.protocol(Arc::new(pages.clone()));
    let starting = async { builder.bind().await.map_err(cannot_start) };
    let worker = daemon::start_unless_stopped(&mut signals, &mut parent, starting).await?;
    let probe = worker.probe();
    pages.start(move || WorkerView {
        is_ready: probe.is_ready(),
        is_open: !probe.authenticates(),
        load: probe.load(),
        rows: probe.figures(),
    });
    daemon::report_ready(&format!(
        "ready worker {} {}",
        worker.name(),
        worker.local_addr()
    ))?;
    daemon::shutdown_requested(&mut signals, &mut parent).await;
    let shutdown = async {
        let drained = worker.shutdown(drain_timeout).await;
        if let Some(accounts) = accounts {
            let closed = accounts.close().await;
            closed.map_err(|error| {
                let sentence =
                    format!("the log of the accounts was not copied to their file: {error}");
                daemon::not_in_order(&sentence)
            })?;
        }
        Ok(drained)
    };
    daemon::drain(&mut signals, shutdown, ConnectionWork::Calls).await
}

/// The protection of the port of a worker with these flags.
pub(crate) fn protection(
    daemon: &DaemonArguments,
    login: &LoginArguments,
) -> PortProtection<'static> {
    let certificates = daemon.client_auth.tls_client_auth == ClientAuth::Required;
    PortProtection {
        tls: daemon.tls.tls_cert.is_some(),
        authentication: login.user.is_some() || certificates,
        flags: "--tls-ca FILE --user NAME --token-file FILE (or --tls-ca FILE --tls-client-auth required)",
    }
}

/// The worker's certificate, the authorities that it trusts, and its login.
struct WorkerSecurity {
    tls: Option<TlsServer>,
    trust: Option<TlsClient>,
    credentials: Option<Credentials>,
}

impl WorkerSecurity {
    fn read(arguments: &WorkerArguments) -> Result<Self, Failure> {
        let daemon = &arguments.daemon;
        Ok(Self {
            tls: daemon.tls.server(&daemon.client_auth)?,
            trust: daemon.tls.client()?,
            credentials: arguments.login.credentials()?,
        })
    }

    fn reloads(&self) -> Vec<Box<dyn Reload>> {
        let server = self.tls.clone().map(|tls| Box::new(tls) as Box<dyn Reload>);
        let client = self.trust.clone().map(|tls| Box::new(tls) as _);
        server.into_iter().chain(client).collect()
    }
}

/// The name of the only built-in object that needs an option.
const ACCOUNTS: &str = "accounts";

/// The names of the objects to host, without `accounts`, and the object `accounts` with its database open.
async fn objects(
    arguments: &WorkerArguments,
) -> Result<(Vec<String>, Option<AccountsObject>), Failure> {
    let mut names = match &arguments.objects {
        Some(names) => names.clone(),
        None => {
            let accounts = arguments.accounts_db.is_some().then_some(ACCOUNTS);
            let names = BUILTINS.into_iter().chain(accounts);
            names.map(str::to_owned).collect()
        }
    };
    let Some(position) = names.iter().position(|name| name == ACCOUNTS) else {
        return Ok((names, None));
    };
    names.remove(position);
    let Some(database) = &arguments.accounts_db else {
        return Err(Failure::usage("the object 'accounts' needs a database")
            .hint("name one with --accounts-db sqlite:FILE or --accounts-db postgres://…"));
    };
    let mut database = accounts_database(database)?;
    if arguments.accounts_must_exist {
        database = database.must_exist();
    }
    let waits_for = |error: &AccountsDatabaseError| {
        error
            .is_transient()
            .then(|| "the accounts' database".to_owned())
    };
    let timeout = arguments.daemon.start_timeout.0;
    let opened = retry_transient(timeout, waits_for, async || {
        AccountsObject::open(&database).await
    });
    let accounts = opened.await?;
    let accounts = match arguments.accounts_owner_rule {
        true => accounts.with_owner_rule(),
        false => accounts,
    };
    Ok((names, Some(accounts)))
}

/// Parses the database of the accounts. The flag has no such type: clap would show the text with its
/// password.
pub(crate) fn accounts_database(text: &str) -> Result<AccountsDatabase, Failure> {
    text.parse()
        .map_err(|error| Failure::usage(format!("cannot use --accounts-db: {error}")))
}

fn builder(
    arguments: WorkerArguments,
    security: WorkerSecurity,
    accounts: Option<AccountsObject>,
) -> WorkerBuilder {
    let mut builder = Worker::builder()
        .nameserver(arguments.nameserver)
        .listen(arguments.listen)
        .max_message(arguments.max_message)
        .session_idle(arguments.session_idle)
        .max_sessions(arguments.max_sessions)
        .start_timeout(arguments.daemon.start_timeout.0)
        .pyro(arguments.daemon.pyro)
        .exclusive(arguments.exclusive);
    if let Some(bytes) = arguments.message_memory {
        builder = builder.message_memory(bytes);
    }
    if let Some(tls) = security.tls {
        builder = builder.tls(tls);
    }
    if let Some(tls) = security.trust {
        builder = builder.trust(tls);
    }
    if let Some(credentials) = security.credentials {
        builder = builder.credentials(credentials);
    }
    if let Some(name) = arguments.name {
        builder = builder.name(name);
    }
    if let Some(endpoint) = arguments.advertise {
        builder = builder.advertise(endpoint);
    }
    if let Some(threads) = arguments.threads {
        builder = builder.threads(threads.into());
    }
    if let Some(queue) = arguments.queue {
        builder = builder.queue(queue);
    }
    if let Some(ttl) = arguments.ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(chaos) = arguments.chaos {
        builder = builder.chaos(chaos);
    }
    for tag in arguments.tag {
        builder = builder.tag(tag);
    }
    if let Some(accounts) = accounts {
        builder = builder.host(ACCOUNTS, interfaces::accounts::Accounts, accounts);
    }
    builder
}

fn cannot_start(error: WorkerError) -> Failure {
    let sentence = error.to_string();
    match error {
        WorkerError::Listen { endpoint, error } => daemon::cannot_listen(&endpoint, &error),
        WorkerError::Refused { error, .. } => {
            let hint = matches!(error, DirectoryError::NameTaken { .. })
                .then(|| "stop that worker, or choose another name with --name".to_owned());
            Failure {
                exit: Failure::from(error).exit,
                message: Some(sentence),
                hint,
            }
        }
        WorkerError::Advertise(_) => Failure::usage(sentence)
            .hint("give an address of this machine that clients can reach to --advertise"),
        WorkerError::NameServers(_)
        | WorkerError::Invalid(_)
        | WorkerError::TooManyThreads(_)
        | WorkerError::HostedTwice(_) => Failure::usage(sentence),
        WorkerError::Threads(_) | WorkerError::Key(_) | WorkerError::Signals(_) => {
            Failure::new(Exit::Failed, sentence)
        }
    }
}
