//! `pyroxene up`: a whole broker on this machine, for as long as the command runs.

mod child;
mod flags;
mod restarts;

use crate::{
    commands::{
        nameserver::{self, LimitsArguments},
        worker::{self, ACCOUNTS_MUST_EXIST_VARIABLE, ACCOUNTS_VARIABLE},
    },
    daemon,
    failure::{Exit, Failure},
    flags::{DEFAULT_NAMESERVER, DaemonArguments, YesOrNo},
    http::HttpArguments,
    output::to_json,
    security::{LoginArguments, UsersArguments, token_variable},
    store::{self, StoreArguments},
    table::{table, wrapped},
    terminal,
    units::duration,
};
use child::Child;
use flags::{client_flags, common_flags, users_flags};
use futures::future::join_all;
use pyroxene_common::{endpoint::Endpoint, signal::StopSignals};
use pyroxene_store::{Store, StoreOptions, StoreUrl};
use pyroxene_worker::MAX_THREADS;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use unicode_width::UnicodeWidthStr;

/// Start name servers and workers on this machine
///
/// Each of them is a separate process. Their logs go to standard error, each line with the name of its
/// process. Tasks and topics are kept in the store, and tasks that an earlier run left there are run. Ctrl-C stops all
/// processes, and so does any other end of this command. A process that ends by itself is started again after 200 ms,
/// then after twice as long each time; if it ends again after 5 restarts within a minute, it is given up, and the others
/// go on. A name server keeps its address.
///
/// --json prints one line once all are ready: {"nameservers": [{"pid", "endpoint"}], "workers": [{"name", "pid",
/// "endpoint"}], "store", "waiting"}. "waiting" is the number of unfinished tasks of an earlier run, or null if unknown.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArguments {
    /// The number of workers, named w1, w2, …
    #[arg(long, value_name = "N", env = "PYROXENE_WORKERS", default_value_t = 3)]
    workers: u16,
    /// The number of name servers
    #[arg(long, value_name = "N", env = "PYROXENE_NAMESERVERS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    nameservers: u16,
    /// The address on which the first name server listens; each further one uses a port that is higher by
    /// 100, or any free one if this is port 0
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_LISTEN", default_value = DEFAULT_NAMESERVER)]
    listen: Endpoint,
    /// Threads of each worker for CPU-bound calls, up to 1024 [default: the number of cores]
    #[arg(long, value_name = "N", env = "PYROXENE_THREADS", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS as i64))]
    threads: Option<u16>,
    /// The database of the object accounts, which every worker then hosts: sqlite:FILE, or
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
    /// Refuse to start workers if there are no accounts in that database yet, instead of making empty tables
    #[arg(long, env = ACCOUNTS_MUST_EXIST_VARIABLE, value_parser = YesOrNo)]
    accounts_must_exist: bool,
    /// Pyro's clients reach every object through a name server, which balances each call; without this flag,
    /// they reach only objects with the tag 'pyroxene.balanced' so
    #[arg(long, env = "PYROXENE_PYRO_BALANCED", value_parser = YesOrNo)]
    pyro_balanced: bool,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
    /// Do not start a process again that ends by itself
    #[arg(long, env = "PYROXENE_NO_RESTART", value_parser = YesOrNo)]
    no_restart: bool,
    /// How long calls in flight may take to finish after a request to stop the workers
    #[arg(long, value_name = "TIME", env = "PYROXENE_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    daemon: DaemonArguments,
    #[command(flatten)]
    users: UsersArguments,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    limits: LimitsArguments,
    #[command(flatten)]
    http: HttpArguments,
    /// The user that the workers log in as
    #[command(flatten)]
    login: LoginArguments,
}

/// How long children may take to end, beyond their drain timeout.
const STOP_MARGIN: Duration = Duration::from_secs(3);

/// The processes, in the order in which they were started.
#[derive(Default)]
struct LocalCluster {
    nameservers: Vec<Child>,
    workers: Vec<Child>,
    /// The store of the name servers, for people.
    store: String,
    /// The number of tasks in the store that had not ended before any worker was started, if known.
    waiting: Option<u64>,
}

pub(crate) async fn run(arguments: UpArguments) -> Result<(), Failure> {
    // A mistake is reported once here, and not by every name server.
    let store = store::display_url(&arguments.store.url()?);
    if let Some(database) = &arguments.accounts_db {
        worker::accounts_database(database)?;
    }
    for protection in [
        nameserver::protection(&arguments.daemon, &arguments.users),
        worker::protection(&arguments.daemon, &arguments.login),
    ] {
        protection.check(&arguments.listen, arguments.daemon.insecure)?;
    }
    let token = arguments.login.token_for_children()?;
    let addresses = addresses(&arguments.listen, arguments.nameservers)?;
    let mut signals = daemon::catch_signals()?;
    let mut parent = daemon::ParentProcess::watch(arguments.daemon.exit_with_parent);
    let mut cluster = LocalCluster {
        store,
        ..LocalCluster::default()
    };
    let outcome = tokio::select! {
        outcome = cluster.run_until_all_end(&arguments, &addresses, token) => outcome,
        () = signals.next() => Ok(()),
        () = parent.gone() => Ok(()),
    };
    let stopped = cluster.stop(arguments.drain_timeout + STOP_MARGIN, &mut signals);
    let in_order = stopped.await;
    outcome.and(in_order)
}

/// The addresses on which the name servers listen.
fn addresses(first: &Endpoint, count: u16) -> Result<Vec<Endpoint>, Failure> {
    /// The distance from one port to the next.
    const STEP: u16 = 100;
    let address = |index: u16| match first {
        _ if index == 0 => Ok(first.clone()),
        Endpoint::Tcp { host, port: 0 } => Ok(Endpoint::Tcp {
            host: host.clone(),
            port: 0,
        }),
        Endpoint::Tcp { host, port } => index
            .checked_mul(STEP)
            .and_then(|distance| port.checked_add(distance))
            .map(|port| Endpoint::Tcp {
                host: host.clone(),
                port,
            })
            .ok_or_else(|| {
                Failure::usage(format!(
                    "no port is left for {count} name servers from {first} on"
                ))
                .hint("choose a lower port with --listen, or port 0")
            }),
        Endpoint::Unix(path) => Ok(Endpoint::Unix(
            format!("{}.{}", path.display(), index + 1).into(),
        )),
    };
    (0..count).map(address).collect()
}

impl LocalCluster {
    /// Starts all processes, reports that they are ready, and waits until all have ended.
    async fn run_until_all_end(
        &mut self,
        arguments: &UpArguments,
        addresses: &[Endpoint],
        token: Option<String>,
    ) -> Result<(), Failure> {
        self.start(arguments, addresses, token).await?;
        if arguments.json {
            daemon::report_ready(&to_json(&self.to_json())?)?;
        } else {
            let first = self.nameservers.first();
            let tls = arguments.daemon.tls.tls_cert.is_some();
            let dashboard = first.and_then(|first| arguments.http.dashboard(&first.endpoint, tls));
            let text = self.to_text(&client_flags(arguments), dashboard.as_deref());
            daemon::report_ready(&text)?;
        }
        let (restarts, timeout) = (!arguments.no_restart, arguments.daemon.start_timeout);
        let children = self.nameservers.iter_mut().chain(&mut self.workers);
        join_all(children.map(|child| child.keep_running(restarts, timeout))).await;
        Err(Failure::new(Exit::Failed, "every process has ended"))
    }

    async fn start(
        &mut self,
        arguments: &UpArguments,
        addresses: &[Endpoint],
        token: Option<String>,
    ) -> Result<(), Failure> {
        let common = common_flags(&arguments.daemon);
        for address in addresses {
            let mut flags = common.clone();
            let number = self.nameservers.len() + 1;
            let name = match addresses.len() {
                1 => "nameserver".to_owned(),
                _ => format!("nameserver {number}"),
            };
            flags.extend(["--log-name".to_owned(), name]);
            flags.extend(["--listen".to_owned(), address.to_string()]);
            flags.extend(arguments.store.flags());
            flags.extend(users_flags(&arguments.users));
            flags.extend(arguments.limits.flags());
            flags.extend(arguments.http.flags());
            if arguments.pyro_balanced {
                flags.push("--pyro-balanced".to_owned());
            }
            let variable = arguments.store.variable();
            self.nameservers
                .push(Child::spawn("nameserver", flags, variable)?);
        }
        for nameserver in &mut self.nameservers {
            nameserver.ready(arguments.daemon.start_timeout).await?;
        }
        self.waiting = waiting_tasks(&arguments.store.url()?).await;
        let listen = match &arguments.listen {
            Endpoint::Tcp { host, .. } => Endpoint::Tcp {
                host: host.clone(),
                port: 0,
            }
            .to_string(),
            Endpoint::Unix(_) => "127.0.0.1:0".to_owned(),
        };
        for number in 1..=arguments.workers {
            let mut flags = common.clone();
            flags.extend(["--nameserver".to_owned(), self.nameserver_list()]);
            let name = format!("w{number}");
            flags.extend(["--name".to_owned(), name.clone()]);
            flags.extend(["--log-name".to_owned(), name]);
            flags.extend(["--listen".to_owned(), listen.clone()]);
            let drain = humantime::format_duration(arguments.drain_timeout).to_string();
            flags.extend(["--drain-timeout".to_owned(), drain]);
            if let Some(threads) = arguments.threads {
                flags.extend(["--threads".to_owned(), threads.to_string()]);
            }
            if arguments.accounts_owner_rule {
                flags.push("--accounts-owner-rule".to_owned());
            }
            if arguments.accounts_must_exist {
                flags.push("--accounts-must-exist".to_owned());
            }
            if let Some(user) = &arguments.login.user {
                flags.extend(["--user".to_owned(), user.clone()]);
            }
            let token = token.clone().map(token_variable);
            // The address may contain a password.
            let accounts = arguments.accounts_db.clone();
            let accounts = accounts.map(|database| (ACCOUNTS_VARIABLE, database));
            let variables = token.into_iter().chain(accounts);
            self.workers.push(Child::spawn("worker", flags, variables)?);
        }
        for worker in &mut self.workers {
            worker.ready(arguments.daemon.start_timeout).await?;
        }
        Ok(())
    }

    fn nameserver_list(&self) -> String {
        let endpoints = self.nameservers.iter().map(|child| child.endpoint.as_str());
        endpoints.collect::<Vec<_>>().join(",")
    }

    fn to_json(&self) -> Value {
        let nameservers: Vec<Value> = self
            .nameservers
            .iter()
            .map(|child| json!({"pid": child.pid, "endpoint": child.endpoint}))
            .collect();
        let workers: Vec<Value> = self
            .workers
            .iter()
            .map(|child| json!({"name": child.name, "pid": child.pid, "endpoint": child.endpoint}))
            .collect();
        json!({
            "nameservers": nameservers,
            "workers": workers,
            "store": self.store,
            "waiting": self.waiting,
        })
    }

    fn to_text(&self, security: &str, dashboard: Option<&str>) -> String {
        let children = self.nameservers.iter().chain(&self.workers);
        let rows: Vec<_> = children
            .map(|child| {
                [
                    child.name.clone(),
                    child.pid.to_string(),
                    child.endpoint.clone(),
                ]
            })
            .collect();
        // Without it, a variable or a context may name another broker.
        let flag = format!(" --nameserver {}{security}", self.nameserver_list());
        let dashboard = dashboard.map_or_else(String::new, |at| format!("\ndashboard  {at}\n"));
        let waiting = match self.waiting {
            None | Some(0) => String::new(),
            Some(1) => "\n1 task is left there from an earlier run, and continues.".to_owned(),
            Some(tasks) => {
                format!("\n{tasks} tasks are left there from an earlier run, and continue.")
            }
        };
        let columns = terminal::columns();
        let state = format!("Tasks and topics are kept in {}{waiting}", self.store);
        let commands = [
            "call calculator factorial 30",
            "describe calculator",
            "workers",
        ];
        let commands = commands.map(|command| {
            let command = format!("pyroxene {command}{flag}");
            broken_command(&command, columns)
        });
        format!(
            "{}{dashboard}\n{}\n\nTry:\n{}\nCtrl-C stops everything.",
            table(["NAME", "PID", "ADDRESS"], &rows),
            wrapped(&state, columns, "  "),
            commands.concat(),
        )
    }

    /// Stops the workers, then the name servers. Another signal ends them all at once.
    async fn stop(
        &mut self,
        stop_timeout: Duration,
        signals: &mut StopSignals,
    ) -> Result<(), Failure> {
        let in_order = async {
            let workers = self.workers.iter_mut();
            let workers = join_all(workers.map(|child| child.stop(stop_timeout))).await;
            let nameservers = self.nameservers.iter_mut();
            let nameservers = join_all(nameservers.map(|child| child.stop(stop_timeout))).await;
            workers.into_iter().chain(nameservers).collect()
        };
        // Children that still run are killed when they are dropped.
        tokio::select! {
            stopped = in_order => stopped,
            () = signals.next() => Err(Failure::quiet(Exit::Failed)),
        }
    }
}

/// A command to copy, as lines. If it is wider than the terminal, a shell reads the lines as one.
fn broken_command(command: &str, columns: Option<usize>) -> String {
    const END: &str = " \\";
    let command = format!("  {command}");
    let columns = columns.filter(|columns| command.width() > *columns);
    let limit = columns.map(|columns| columns.saturating_sub(END.len()));
    let lines = wrapped(&command, limit, "      ");
    lines.replace('\n', &format!("{END}\n")) + "\n"
}

/// The number of tasks in a store that have not ended, if it can be read. The name servers are not asked: the
/// logins that this command has are those of workers, which may not list tasks.
async fn waiting_tasks(url: &StoreUrl) -> Option<u64> {
    const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
    // Such a store belongs to its name server alone, and was empty at its start.
    if *url == StoreUrl::Memory {
        return Some(0);
    }
    let counting = async {
        let store = Store::open(url, StoreOptions::default()).await?;
        let counts = store.counts().await;
        store.close().await?;
        counts
    };
    let counts = timeout(COUNT_TIMEOUT, counting).await.ok()?.ok()?;
    u64::try_from(counts.queued + counts.delayed + counts.running).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_store::NewStoredTask;

    fn listed(first: &str, count: u16) -> Result<Vec<String>, Failure> {
        let addresses = addresses(&first.parse().unwrap(), count)?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn name_servers_listen_side_by_side() {
        assert_eq!(
            listed("127.0.0.1:9090", 3).unwrap(),
            ["127.0.0.1:9090", "127.0.0.1:9190", "127.0.0.1:9290"]
        );
        assert_eq!(listed("[::1]:0", 2).unwrap(), ["[::1]:0", "[::1]:0"]);
        assert_eq!(
            listed("unix:/tmp/ns", 2).unwrap(),
            ["unix:/tmp/ns", "unix:/tmp/ns.2"]
        );
    }

    #[test]
    fn a_command_that_is_broken_is_one_command_for_a_shell() {
        let command = "pyroxene workers --nameserver 127.0.0.1:9090,127.0.0.1:9190";
        assert_eq!(broken_command(command, None), format!("  {command}\n"));
        assert_eq!(broken_command(command, Some(61)), format!("  {command}\n"));
        assert_eq!(
            broken_command(command, Some(60)),
            "  pyroxene workers --nameserver \\\n      127.0.0.1:9090,127.0.0.1:9190\n"
        );
    }

    #[tokio::test]
    async fn tasks_that_are_left_are_counted_in_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(directory.path().join("state.db"));
        assert_eq!(waiting_tasks(&url).await, None);
        let options = StoreOptions {
            create: true,
            ..StoreOptions::default()
        };
        let store = Store::open(&url, options).await.unwrap();
        assert_eq!(waiting_tasks(&url).await, Some(0));
        let task = NewStoredTask::new("calculator", "factorial", Vec::new());
        store.submit(vec![task.clone(), task]).await.unwrap();
        assert_eq!(waiting_tasks(&url).await, Some(2));
        store.close().await.unwrap();
        assert_eq!(waiting_tasks(&StoreUrl::Memory).await, Some(0));
    }

    #[test]
    fn ports_do_not_wrap_around() {
        assert_eq!(listed("127.0.0.1:65500", 2).unwrap_err().exit, Exit::Usage);
        assert_eq!(listed("127.0.0.1:1", 999).unwrap_err().exit, Exit::Usage);
    }
}
