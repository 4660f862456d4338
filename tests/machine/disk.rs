//! A disk for tests that fails when it is told to, and of which is known what a power failure leaves.

#[path = "shim.rs"]
mod shim;

pub(crate) use shim::{Imaged, Shim};

use std::{ffi::OsString, fs, ops::Deref, path::PathBuf};
use tempfile::TempDir;

/// A directory with a database, `state.db`, on a machine of its own. Processes with its
/// [`variables`](Self::variables) see it fail.
#[derive(Debug)]
pub(crate) struct Disk {
    machine: Shim,
    dir: TempDir,
}

impl Deref for Disk {
    type Target = Shim;

    fn deref(&self) -> &Shim {
        &self.machine
    }
}

impl Disk {
    pub(crate) fn new() -> Self {
        let disk = Self {
            machine: Shim::new(),
            dir: TempDir::new().unwrap(),
        };
        fs::create_dir(disk.image()).unwrap();
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// The database.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("state.db")
    }

    /// The environment of a process that is to see the disk fail. What is in the files when the first such
    /// process opens them counts as being on the disk.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let of_machine = self.machine.environment().into_iter();
        let mut variables: Vec<_> = of_machine
            .map(|(name, path)| (name, path.as_os_str().to_owned()))
            .collect();
        variables.push(("SHIM_DATABASE", self.file().into()));
        variables.push(("SHIM_IMAGE", self.image().into()));
        variables
    }

    /// What a power failure would leave of the database now, in a directory of its own.
    pub(crate) fn after_power_failure(&self) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("state.db");
        fs::copy(self.image().join("db"), &file).unwrap();
        let log = self.image().join("db-wal");
        if log.exists() {
            fs::copy(log, dir.path().join("state.db-wal")).unwrap();
        }
        (dir, file)
    }
}
