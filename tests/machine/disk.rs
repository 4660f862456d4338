//! A disk for tests that can fail, and that knows what a power failure would leave.

#[path = "shim.rs"]
mod shim;

pub(crate) use shim::{Imaged, Shim};

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A directory with a database, `state.db`, on a machine of its own. The disk can fail for processes that
/// have these [`variables`](Self::variables) in their environment.
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

    /// The environment of a process for which the disk can fail. The content of the files when the first such
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

    /// The content of the database after a power failure now, in a directory of its own.
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

/// Runs one test of this program again, in a process of its own that finds a small disk of its own at the
/// path in the environment variable `place`.
pub(crate) fn run_on_a_small_disk(test: &str, place: &str) {
    const MOUNT: &str = r#"mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@""#;
    let dir = TempDir::new().unwrap();
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", MOUNT])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(place, dir.path())
        .status();
    assert!(ran.unwrap().success());
}

/// Leaves the database alone on its disk, without the files that SQLite puts beside it, and then no room for
/// them.
pub(crate) fn fill_disk_beside(database: &Path) {
    wait_until_closed(database);
    for suffix in ["-wal", "-shm"] {
        let mut beside = database.as_os_str().to_owned();
        beside.push(suffix);
        let _ = fs::remove_file(beside);
    }
    let mut ballast = fs::File::create(database.with_file_name("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
}

/// Waits until this process has none of the database's files open: SQLite's threads close them a moment after
/// the connection, and a removed file takes its room until then.
fn wait_until_closed(database: &Path) {
    let folder = database.parent().unwrap();
    let is_open = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.any(|target| target.starts_with(folder))
    };
    for _ in 0..500 {
        if !is_open() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    panic!("the database is still open");
}
