//! A name server and workers with the timed object, each in its own process, and their clients in this
//! process.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use pyroxene_client::{Client, ClientConfig, Policy, Proxy};

use crate::{
    daemon::ANY_PORT,
    process::ChildServer,
    timed::{OBJECT, Timed, WorkerFault},
};

/// The properties of the workers of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerSpec {
    /// The mean service time: the time for which a call keeps its permit.
    pub(crate) service_time: Duration,
    /// The number of calls that a worker serves at the same time; further calls wait.
    pub(crate) concurrent_calls: usize,
    /// The number of workers in the process.
    pub(crate) count: usize,
    pub(crate) fault: Option<WorkerFault>,
}

impl WorkerSpec {
    /// One healthy worker that serves sixteen calls at the same time.
    pub(crate) fn healthy(service_time: Duration) -> Self {
        Self {
            service_time,
            concurrent_calls: 16,
            count: 1,
            fault: None,
        }
    }
}

/// A running name server and its address.
pub(crate) struct Fleet {
    nameserver: Option<ChildServer>,
    address: SocketAddr,
}

impl Fleet {
    /// Starts the name server.
    pub(crate) async fn start() -> Result<Self> {
        let mut fleet = Self {
            nameserver: None,
            address: ANY_PORT,
        };
        fleet.start_nameserver().await?;
        Ok(fleet)
    }

    /// Starts the name server. From the second time on it gets the same address as before.
    pub(crate) async fn start_nameserver(&mut self) -> Result<()> {
        let listen = self.address.to_string();
        let arguments = ["serve", "name-server", "--listen", &listen];
        let server = ChildServer::start_this_program(&arguments).await?;
        self.address = server.address();
        self.nameserver = Some(server);
        Ok(())
    }

    /// Removes the name server's process from the fleet, so that the caller can kill it.
    pub(crate) fn take_nameserver(&mut self) -> Result<ChildServer> {
        self.nameserver.take().context("there is no name server")
    }

    /// Starts a process with workers. They are registered when this returns.
    pub(crate) async fn worker(&self, name: &str, kind: WorkerSpec) -> Result<ChildServer> {
        let nameserver = self.address.to_string();
        let count = format!("--count={}", kind.count);
        let service = format!("--service-us={}", kind.service_time.as_micros());
        let places = format!("--places={}", kind.concurrent_calls);
        let fault = kind.fault.map(|fault| format!("--fault={}", fault.name()));
        let mut arguments = vec![
            "serve",
            "timed",
            &nameserver,
            name,
            &count,
            &service,
            &places,
        ];
        arguments.extend(fault.as_deref());
        ChildServer::start_this_program(&arguments).await
    }

    /// Starts healthy workers with the names `w0`, `w1` and so on.
    pub(crate) async fn workers(
        &self,
        count: usize,
        service: Duration,
    ) -> Result<Vec<ChildServer>> {
        let mut workers = Vec::new();
        for number in 0..count {
            workers.push(
                self.worker(&format!("w{number}"), WorkerSpec::healthy(service))
                    .await?,
            );
        }
        Ok(workers)
    }

    /// Makes clients that share nothing but this process.
    pub(crate) async fn clients(&self, count: usize, policy: Policy) -> Result<Vec<Proxy<Timed>>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let config = ClientConfig::new(&self.address.to_string())?.policy(policy);
            let client = Client::connect_with(config).await?;
            clients.push(client.proxy::<Timed>(OBJECT).await?);
        }
        Ok(clients)
    }

    /// Stops workers and the name server.
    pub(crate) async fn stop(mut self, workers: Vec<ChildServer>) -> Result<()> {
        for worker in workers {
            worker.stop().await?;
        }
        match self.nameserver.take() {
            Some(nameserver) => nameserver.stop().await,
            None => Ok(()),
        }
    }
}
