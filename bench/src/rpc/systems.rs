//! The systems that are compared.
//!
//! A new system is one file with `serve` and `connect`, one variant of [`System`], and its arm in
//! [`System::serve`] and in [`System::measure`].

pub(crate) mod by_name;
pub(crate) mod pyroxene;
pub(crate) mod raw;
pub(crate) mod secured;
pub(crate) mod tarpc_peer;
pub(crate) mod tonic_balanced;
pub(crate) mod tonic_peer;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use self::{secured::Secrets, tarpc_peer::HandlerMode};
use super::{LoadCell, MeasurementDurations, payload::EchoPayload};
use crate::{
    load::{self, LoadOperation, Measurement},
    process::{self, ChildServer},
};

/// The message limit, in bytes, of peers that have one.
const LARGEST_MESSAGE: usize = 1 << 30;

/// One of the systems, under the name it has on the command line and in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    Raw,
    Tarpc,
    TarpcInline,
    Tonic,
    TonicBalanced,
    PyroxeneDirect,
    PyroxeneBalanced,
    PyroxeneThree,
    PyroxeneText,
    PyroxeneDynamic,
    PyroxeneTls,
    PyroxeneAuthorised,
    PyroxeneSecured,
}

/// A client of an echo server, with one call in flight.
pub(crate) trait EchoCaller: Send + 'static {
    /// Sends `payload` and waits for the answer, which may borrow from the client's buffer.
    fn echo(&mut self, payload: Bytes) -> impl Future<Output = Result<impl AsRef<[u8]>>> + Send;
}

impl System {
    /// The systems that are measured by default.
    pub(crate) const DEFAULT: [Self; 7] = [
        Self::Raw,
        Self::Tarpc,
        Self::Tonic,
        Self::PyroxeneDirect,
        Self::PyroxeneBalanced,
        Self::PyroxeneTls,
        Self::PyroxeneAuthorised,
    ];

    /// The name on the command line and in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Whether the system's server is a worker of this project.
    pub(crate) fn is_worker(self) -> bool {
        matches!(
            self,
            System::PyroxeneDirect
                | System::PyroxeneTls
                | System::PyroxeneAuthorised
                | System::PyroxeneSecured
        )
    }

    /// Whether client and server share a directory with certificates and users.
    pub(crate) fn is_secured(self) -> bool {
        matches!(
            self,
            System::PyroxeneTls | System::PyroxeneAuthorised | System::PyroxeneSecured
        )
    }

    /// Listens on a free port, prints the ready line and serves until an error.
    pub(crate) async fn serve(self, secrets: Option<PathBuf>) -> Result<()> {
        let secrets = || secrets.context("there is no directory with secrets");
        match self {
            System::Raw => raw::serve(listen().await?).await,
            System::Tarpc => tarpc_peer::serve(listen().await?, HandlerMode::Spawned).await,
            System::TarpcInline => tarpc_peer::serve(listen().await?, HandlerMode::Inline).await,
            System::Tonic => tonic_peer::serve(listen().await?).await,
            System::PyroxeneDirect => pyroxene::serve_direct().await,
            System::TonicBalanced => tonic_balanced::serve().await,
            System::PyroxeneBalanced
            | System::PyroxeneThree
            | System::PyroxeneText
            | System::PyroxeneDynamic => pyroxene::serve_balanced().await,
            System::PyroxeneTls => secured::serve_tls(&secrets()?).await,
            System::PyroxeneAuthorised => secured::serve_authorised(&secrets()?).await,
            System::PyroxeneSecured => secured::serve_secured(&secrets()?).await,
        }
    }

    /// Starts a server of this system in its own process, sends it the load from this process and stops
    /// the server.
    pub(crate) async fn measure(
        self,
        cell: LoadCell,
        windows: MeasurementDurations,
    ) -> Result<Measurement> {
        let secrets = self.is_secured().then(Secrets::create).transpose()?;
        let server = self.start(secrets.as_ref()).await?;
        let secrets = || secrets.as_ref().context("there are no secrets");
        let (address, in_flight) = (server.address(), cell.in_flight);
        let measurement = match self {
            System::Raw => {
                let clients = raw::connect(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::Tarpc | System::TarpcInline => {
                let clients = tarpc_peer::connect(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::Tonic => {
                let clients = tonic_peer::connect(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::TonicBalanced => {
                let clients = tonic_balanced::connect(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneDirect => {
                let clients = pyroxene::connect_direct(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneBalanced => {
                let clients = pyroxene::connect_balanced(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneThree => {
                let clients = pyroxene::connect_three(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneText => {
                let clients = by_name::connect_typed(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneDynamic => {
                let clients = by_name::connect(address, in_flight).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneTls => {
                let clients = secured::connect_tls(address, in_flight, secrets()?).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneAuthorised => {
                let clients = secured::connect_authorised(address, in_flight, secrets()?).await?;
                load_clients(clients, cell, windows).await
            }
            System::PyroxeneSecured => {
                let clients = secured::connect_secured(address, in_flight, secrets()?).await?;
                load_clients(clients, cell, windows).await
            }
        }?;
        server.stop().await?;
        Ok(measurement)
    }

    pub(crate) async fn start(self, secrets: Option<&Secrets>) -> Result<ChildServer> {
        let name = self.name();
        let mut arguments = vec!["serve", "rpc", &name];
        let secrets = secrets.map(|secrets| secrets.path().to_string_lossy());
        arguments.extend(secrets.as_deref());
        ChildServer::start_this_program(&arguments).await
    }
}

/// Listens on a free port and prints the ready line.
async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    process::print_ready_line(listener.local_addr()?)?;
    Ok(listener)
}

/// A client that repeats its call with its payload and checks every answer.
struct CheckedEcho<E> {
    client: E,
    payload: EchoPayload,
}

impl<E: EchoCaller> LoadOperation for CheckedEcho<E> {
    async fn once(&mut self) -> Result<()> {
        let answer = self.client.echo(self.payload.bytes()).await?;
        self.payload.check(answer.as_ref())
    }
}

async fn load_clients<E: EchoCaller>(
    clients: Vec<E>,
    cell: LoadCell,
    windows: MeasurementDurations,
) -> Result<Measurement> {
    let operations = clients
        .into_iter()
        .enumerate()
        .map(|(seed, client)| CheckedEcho {
            client,
            payload: EchoPayload::new(cell.payload, seed),
        })
        .collect();
    load::run(operations, windows.warm_up, windows.measured).await
}

/// Accepts connections, sets TCP_NODELAY and passes them to `each`.
async fn accept(listener: TcpListener, mut each: impl FnMut(TcpStream)) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        each(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Broken;

    impl EchoCaller for Broken {
        async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
            Ok(payload.slice(1..))
        }
    }

    #[tokio::test]
    async fn a_wrong_answer_ends_the_run() {
        let cell = LoadCell {
            payload: 64,
            in_flight: 1,
        };
        let windows = MeasurementDurations {
            warm_up: Duration::ZERO,
            measured: Duration::ZERO,
        };
        let error = load_clients(vec![Broken], cell, windows).await.err();
        assert_eq!(error.unwrap().to_string(), "sent 64 bytes, 63 came back");
    }
}
