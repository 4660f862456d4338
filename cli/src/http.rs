//! The flags of the gateway, and its life within a name server.

use crate::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use pyroxene_common::{endpoint::Endpoint, host::Protocol};
use pyroxene_gateway::{Gateway, GatewayConfig};
use pyroxene_nameserver::NameServer;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// HTTP, JSON and the dashboard.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArguments {
    /// Whether HTTP, JSON and the dashboard are served: on or off
    #[arg(long, value_name = "WHETHER", env = "PYROXENE_HTTP", value_enum, default_value_t = HttpSwitch::On)]
    pub(crate) http: HttpSwitch,
    /// Serve HTTP at this address, without TLS, instead of on the name server's own port
    #[arg(long, value_name = "ADDRESS", env = "PYROXENE_HTTP_LISTEN")]
    pub(crate) http_listen: Option<Endpoint>,
    /// A name, besides IP addresses and localhost, by which browsers may reach HTTP; may be given more than once
    #[arg(
        long,
        value_name = "NAME",
        env = "PYROXENE_HTTP_HOST",
        value_delimiter = ','
    )]
    pub(crate) http_host: Vec<String>,
}

/// Whether HTTP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HttpSwitch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl HttpArguments {
    /// The flags of a child process with the same gateway.
    pub(crate) fn flags(&self) -> Vec<String> {
        if self.http == HttpSwitch::Off {
            return ["--http", "off"].map(str::to_owned).to_vec();
        }
        let hosts = self.http_host.iter();
        let hosts = hosts.flat_map(|name| ["--http-host".to_owned(), name.clone()]);
        let listen = self.http_listen.iter();
        let listen = listen.flat_map(|at| ["--http-listen".to_owned(), at.to_string()]);
        hosts.chain(listen).collect()
    }

    /// The address of the dashboard of a name server at this endpoint; `None` if a browser cannot open it.
    pub(crate) fn dashboard(&self, nameserver: &str, tls: bool) -> Option<String> {
        if self.http == HttpSwitch::Off {
            return None;
        }
        let (scheme, at) = match &self.http_listen {
            // The port is known to the name server alone.
            Some(Endpoint::Tcp { port: 0, .. }) => return None,
            Some(listen) => ("http", listen.to_string()),
            None if tls => ("https", nameserver.to_owned()),
            None => ("http", nameserver.to_owned()),
        };
        match at.parse::<Endpoint>() {
            Ok(endpoint @ Endpoint::Tcp { .. }) if endpoint.is_unspecified() => {
                let port = at.rsplit_once(':').map_or("", |(_, port)| port);
                Some(format!("{scheme}://127.0.0.1:{port}/"))
            }
            Ok(Endpoint::Tcp { .. }) => Some(format!("{scheme}://{at}/")),
            _ => None,
        }
    }
}

/// How long the connections of a port of its own may take to end.
const DRAIN: Duration = Duration::from_millis(500);

/// How long the history may take to be kept. It takes a second at most.
const KEEP: Duration = Duration::from_millis(1500);

/// A gateway, if HTTP is on.
#[derive(Debug, Default)]
pub(crate) struct HttpService {
    gateway: Option<Gateway>,
    listen: Option<Endpoint>,
    drain: CancellationToken,
    serving: TaskTracker,
}

impl HttpService {
    /// The gateway that these flags ask for, before its name server runs.
    pub(crate) fn new(arguments: &HttpArguments, max_message: usize) -> Self {
        if arguments.http == HttpSwitch::Off {
            return Self::default();
        }
        let config = GatewayConfig::default()
            .hosts(arguments.http_host.iter().cloned())
            .max_body(max_message);
        Self {
            gateway: Some(Gateway::new(config)),
            listen: arguments.http_listen.clone(),
            ..Self::default()
        }
    }

    /// The protocol on the name server's own port, if HTTP is served there.
    pub(crate) fn protocol(&self) -> Option<Arc<dyn Protocol>> {
        let gateway = self.gateway.clone().filter(|_| self.listen.is_none())?;
        Some(Arc::new(gateway))
    }

    /// Starts to answer for a running name server. Returns the address of the dashboard.
    pub(crate) async fn start(&self, nameserver: &NameServer) -> Result<Option<String>, Failure> {
        let Some(gateway) = &self.gateway else {
            return Ok(None);
        };
        gateway.start(nameserver.callers());
        let Some(listen) = &self.listen else {
            return Ok(None);
        };
        let listener = Gateway::listen(&listen.to_string()).await;
        let cannot_listen = |error| {
            Failure::new(
                Exit::Failed,
                format!("cannot serve HTTP on {listen}: {error}"),
            )
            .hint("choose another address with --http-listen")
        };
        let listener = listener.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let serving = gateway.clone().serve(listener, self.drain.clone());
        self.serving.spawn(serving);
        Ok(Some(format!("http://{address}/")))
    }

    /// Ends event streams, and lets requests finish for a short time.
    pub(crate) async fn drain(&self) {
        if let Some(gateway) = &self.gateway {
            gateway.begin_drain();
        }
        self.drain.cancel();
        self.serving.close();
        // What is left ends with the process.
        let _ = timeout(DRAIN, self.serving.wait()).await;
        if let Some(gateway) = &self.gateway {
            let _ = timeout(KEEP, gateway.kept()).await;
        }
    }
}
