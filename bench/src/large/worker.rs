//! The worker under test, its name server, and a client of its objects.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use pyroxene_client::{Client, ClientConfig, Proxy};
use pyroxene_common::values::{Blob, Numbers, Payload};
use pyroxene_objects::interfaces::{
    calculator::{Calculator, calculator::CalculatorClient},
    echo::{Echo, echo::EchoClient},
};
use tarpc::context::{self, Context};

use super::{
    ValueKind,
    heartbeats::{HeartbeatRelay, LEASE},
};
use crate::{daemon, process::ChildServer};

/// The message limit, in bytes.
const MAX_MESSAGE: usize = 2 << 30;

/// A name server and a worker, each in its own process.
pub(super) struct LargeMessageBroker {
    pub(super) address: String,
    pub(super) worker: ChildServer,
    /// Kept because dropping it ends the process.
    _nameserver: ChildServer,
}

impl LargeMessageBroker {
    pub(super) async fn start() -> Result<Self> {
        let nameserver = daemon::start_nameserver().await?;
        let address = nameserver.address().to_string();
        let limit = format!("--max-message={MAX_MESSAGE}");
        let arguments = ["serve", "builtins", &address, "calculator,echo", &limit];
        let worker = ChildServer::start_this_program(&arguments).await?;
        Ok(Self {
            address,
            worker,
            _nameserver: nameserver,
        })
    }
}

impl LargeMessageBroker {
    /// Like [`start`](Self::start), with a relay between the worker and the name server, and with the
    /// shortest lease.
    pub(super) async fn start_with_relay<F>(
        relay: impl FnOnce(SocketAddr) -> F,
    ) -> Result<(Self, HeartbeatRelay)>
    where
        F: Future<Output = Result<HeartbeatRelay>>,
    {
        let nameserver = daemon::start_nameserver().await?;
        let relay = relay(nameserver.address()).await?;
        let address = relay.address.to_string();
        let ttl = format!("--ttl-ms={}", LEASE.as_millis());
        let limit = format!("--max-message={MAX_MESSAGE}");
        let arguments = [
            "serve",
            "builtins",
            &address,
            "calculator,echo",
            &limit,
            &ttl,
        ];
        let broker = Self {
            address: nameserver.address().to_string(),
            worker: ChildServer::start_this_program(&arguments).await?,
            _nameserver: nameserver,
        };
        Ok((broker, relay))
    }
}

/// A client of the worker's objects, with a connection to each.
pub(super) struct LargeMessageCaller {
    calculator: CalculatorClient<Proxy<Calculator>>,
    echo: EchoClient<Proxy<Echo>>,
}

impl LargeMessageCaller {
    pub(super) async fn connect(nameserver: &str) -> Result<Self> {
        let config = ClientConfig::new(nameserver)?.max_message(MAX_MESSAGE);
        let client = Client::connect_with(config).await?;
        Ok(Self {
            calculator: client.object::<Calculator>("calculator").await?,
            echo: client.object::<Echo>("echo").await?,
        })
    }

    /// One call with about `size` bytes each way. Returns the time from the call to its answer; the input
    /// is made before the time starts.
    pub(super) async fn call_large(&self, kind: ValueKind, size: usize) -> Result<Duration> {
        let start;
        match kind {
            ValueKind::Bytes => {
                let data = Payload::Bytes(Blob::from(vec![1; size]));
                start = Instant::now();
                match self.echo.echo(context(), data).await? {
                    Payload::Bytes(answer) if answer.0.len() == size => {}
                    _ => bail!("the answer is wrong"),
                }
            }
            ValueKind::Text => {
                let data = Payload::Text("x".repeat(size));
                start = Instant::now();
                match self.echo.echo(context(), data).await? {
                    Payload::Text(answer) if answer.len() == size => {}
                    _ => bail!("the answer is wrong"),
                }
            }
            ValueKind::Numbers => {
                let length = u32::try_from(size / 8)?;
                let values: Vec<f64> = (0..length).rev().map(f64::from).collect();
                let numbers = Numbers::from(values);
                start = Instant::now();
                let sorted = self.calculator.sort(context(), numbers).await??;
                let ends = (sorted.0.first(), sorted.0.last());
                if ends != (Some(&0.0), Some(&f64::from(length - 1))) {
                    bail!("the answer is wrong");
                }
            }
        }
        Ok(start.elapsed())
    }

    /// One small call.
    pub(super) async fn call_small(&self) -> Result<()> {
        let data = Payload::Text("0123456789abcdef".repeat(4));
        self.echo.echo(context(), data).await?;
        Ok(())
    }
}

pub(super) fn context() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(60);
    context
}
