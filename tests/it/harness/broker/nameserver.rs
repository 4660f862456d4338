//! A name server of a broker.

use super::{DISK, Terms};
use crate::harness::{Process, eventually, seconds, within};
use pyroxene_client::NameServerClient as Directory;
use pyroxene_common::{
    identity::HolderId,
    interfaces::directory::{ObjectFilter, WorkerEntry},
};
use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// A name server of a broker.
#[derive(Debug)]
pub(crate) struct NameServer {
    number: usize,
    address: String,
    process: Process,
    terms: Terms,
    dir: PathBuf,
}

impl NameServer {
    pub(super) async fn start(number: usize, listen: &str, terms: Terms, dir: &Path) -> Self {
        let mut command = terms.nameserver_command(dir);
        command
            .args(["nameserver", "--exit-with-parent", "--listen", listen])
            .args(&terms.nameserver);
        let mut process = Process::start(&format!("nameserver-{number}"), command, dir);
        let address = process.ready("ready nameserver").await;
        Self {
            number,
            address,
            process,
            terms,
            dir: dir.to_owned(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it without a chance to say anything.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.process.terminate().await
    }

    /// What it printed after its ready line. It must have ended.
    pub(crate) async fn rest_of_output(&mut self) -> String {
        self.process.rest_of_output().await
    }

    /// Stops it: it keeps its sockets and answers nothing.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// The directory of its own disk, as others see it.
    pub(crate) fn disk(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.process.pid());
        let inside = self.dir.join(DISK);
        Path::new(&root).join(inside.strip_prefix("/").unwrap())
    }

    /// Starts it again on the port that it had.
    pub(crate) async fn restart(&mut self) {
        let terms = self.terms.clone();
        *self = Self::start(self.number, &self.address, terms, &self.dir).await;
    }

    /// The live workers that it knows.
    pub(crate) async fn listed(&self) -> Result<Vec<WorkerEntry>, String> {
        let config = self.terms.config(&self.address);
        let directory = Directory::new(config.endpoints()[0].clone(), &config).directory();
        let listed = directory.workers(within(seconds(2))).await;
        listed.map_err(|error| error.to_string())
    }

    /// The key of a worker that it lists.
    pub(crate) async fn key_of(&self, worker: &str) -> HolderId {
        let config = self.terms.config(&self.address);
        let directory = Directory::new(config.endpoints()[0].clone(), &config).directory();
        let listed = directory
            .list(within(seconds(2)), ObjectFilter::default())
            .await;
        let objects = listed.unwrap().unwrap();
        let mut instances = objects.iter().flat_map(|object| &object.instances);
        let listed = instances.find(|instance| instance.worker == worker);
        listed.unwrap().key.unwrap()
    }

    /// Waits until it lists the worker.
    pub(crate) async fn lists(&self, worker: &str) {
        let what = format!("{worker} is in the directory");
        eventually(&what, || async {
            let names = self.names().await?;
            let listed = names.iter().any(|name| name == worker);
            listed.then_some(()).ok_or(format!("{names:?}"))
        })
        .await;
    }

    /// Waits until it lists the worker no more.
    pub(crate) async fn forgets(&self, worker: &str) {
        let what = format!("{worker} leaves the directory");
        eventually(&what, || async {
            let names = self.names().await?;
            let gone = names.iter().all(|name| name != worker);
            gone.then_some(()).ok_or(format!("{names:?}"))
        })
        .await;
    }

    async fn names(&self) -> Result<Vec<String>, String> {
        let listed = self.listed().await?;
        Ok(listed.into_iter().map(|entry| entry.name).collect())
    }
}
