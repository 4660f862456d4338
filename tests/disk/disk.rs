//! A disk for tests that fails when it is told to, and of which is known what a power failure leaves.

#![allow(dead_code, reason = "several suites share it, and each uses a part")]

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A directory with a database, `state.db`. Processes with its [`variables`](Self::variables) see it fail.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let disk = Self { dir };
        fs::create_dir(disk.image()).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = [source.join("tests/disk"), source.join("../tests/disk")]
            .map(|directory| directory.join("shim.c"))
            .into_iter()
            .find(|source| source.exists())
            .expect("shim.c is in tests/disk");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&disk.shim(), &source])
            .arg("-ldl")
            .output()
            .expect("the C compiler that builds SQLite is there");
        assert!(compiled.status.success(), "cc: {compiled:?}");
        disk
    }

    fn shim(&self) -> PathBuf {
        self.dir.path().join("shim.so")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn fault(&self) -> PathBuf {
        self.dir.path().join("fault")
    }

    /// The database.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("state.db")
    }

    /// The environment of a process that is to see the disk fail. What is in the files when the first such
    /// process opens them counts as being on the disk.
    pub(crate) fn variables(&self) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", self.shim().into()),
            ("DISK_FILE", self.file().into()),
            ("DISK_IMAGE", self.image().into()),
            ("DISK_FAULT", self.fault().into()),
        ]
    }

    /// Makes it fail, in one of the ways that `shim.c` knows.
    pub(crate) fn fail(&self, how: &str) {
        let draft = self.dir.path().join("fault.draft");
        fs::write(&draft, how).unwrap();
        fs::rename(draft, self.fault()).unwrap();
    }

    /// Whether it is still to fail.
    pub(crate) fn is_to_fail(&self) -> bool {
        self.fault().exists()
    }

    pub(crate) fn heal(&self) {
        fs::remove_file(self.fault()).unwrap();
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
