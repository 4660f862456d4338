//! The flags that commands share.

mod one_of;
mod yes_or_no;

pub(crate) use one_of::one_of;
pub(crate) use yes_or_no::YesOrNo;

use crate::{
    failure::Failure,
    security::{ClientAuthArguments, LoginArguments, TlsArguments, with_security},
    units::{StartTimeout, message_size, start_timeout},
};
use clap::{Args, ValueEnum};
use pyroxene_client::{CallOptions, Client, ClientConfig};
use pyroxene_common::wire::DEFAULT_MAX_MESSAGE;
use std::{path::PathBuf, time::Duration};

/// The default address on which `up` and `nameserver` listen, and to which clients connect.
pub(crate) const DEFAULT_NAMESERVER: &str = "127.0.0.1:9090";

/// How long a command without a timeout of its own asks name servers that are silent or hang up.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for which commands about tasks and topics ask again while no name server listens.
const ABSENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags of every client command.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    /// The name servers, separated by commas; one that answers is enough. The default port is 9090
    #[arg(long, value_name = "A,B", env = "PYROXENE_NAMESERVER", default_value = DEFAULT_NAMESERVER)]
    pub(crate) nameserver: String,
    // It is read before flags get their values: cli/resolve.rs. So is `config` below.
    /// The context that gives the name servers, TLS and the login, where no flag or variable does; 'none' for no
    /// context [default: the one chosen by 'pyroxene context use']
    #[arg(long, value_name = "NAME", env = "PYROXENE_CONTEXT")]
    context: Option<String>,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    pub(crate) json: bool,
    /// The largest answer to accept, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    pub(crate) max_message: usize,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) login: LoginArguments,
}

impl ClientArguments {
    /// Makes a client. It connects when it is first used.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?))
    }

    /// Makes a client whose calls are made in this way.
    pub(crate) fn client_with(&self, calls: CallOptions) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?.calls(calls)))
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let config = ClientConfig::new(&self.nameserver)?
            .max_message(self.max_message)
            .retry_timeout(COMMAND_TIMEOUT)
            .absence_timeout(ABSENCE_TIMEOUT);
        with_security(config, &self.tls, &self.login)
    }
}

/// The flags of every daemon.
#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonArguments {
    /// The configuration file (TOML), for what no flag or variable gives; 'pyroxene config --help' shows its form
    #[arg(long, value_name = "FILE", env = "PYROXENE_CONFIG")]
    config: Option<PathBuf>,
    /// The format of log lines on standard error; RUST_LOG selects the lines
    #[arg(long, value_enum, env = "PYROXENE_LOG", default_value_t)]
    pub(crate) log: LogFormat,
    /// The name of this process in its log lines
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) log_name: Option<String>,
    /// How long to retry at the start after a temporary problem, such as a database that cannot be reached, a
    /// disk that is full or fails, or a name or address that a predecessor still holds; 'forever' means
    /// without limit
    #[arg(long, value_name = "TIME", env = "PYROXENE_START_TIMEOUT", default_value = "30s", value_parser = start_timeout)]
    pub(crate) start_timeout: StartTimeout,
    /// Allow listening without TLS or authentication on addresses that other machines can reach: everyone
    /// there may do everything
    #[arg(long, env = "PYROXENE_INSECURE", value_parser = YesOrNo)]
    pub(crate) insecure: bool,
    /// Whether programs in Python may use this port by Pyro's protocol: on or off
    #[arg(long, value_name = "ON|OFF", env = "PYROXENE_PYRO", value_parser = clap::builder::BoolishValueParser::new(), default_value = "on", action = clap::ArgAction::Set)]
    pub(crate) pyro: bool,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) client_auth: ClientAuthArguments,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        }
    }
}

/// The allowed numbers of calls in flight of a command.
pub(crate) const CONCURRENCY: std::ops::RangeInclusive<i64> = 1..=65_536;
