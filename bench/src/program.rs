//! The release program `pyroxene`, whose daemons are measured as they are shipped.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{ChildServer, this_program};

/// The option that names the program.
#[derive(Args)]
pub(crate) struct ProgramOption {
    /// The program whose daemons are measured [default: pyroxene in the directory of this program]
    #[arg(long, value_name = "PATH")]
    pyroxene: Option<PathBuf>,
}

impl ProgramOption {
    /// Finds the program.
    pub(crate) fn find(&self) -> Result<PyroxeneProgram> {
        let path = match &self.pyroxene {
            Some(path) => path.clone(),
            None => this_program()?.with_file_name("pyroxene"),
        };
        ensure!(
            path.is_file(),
            "there is no program at {}; build it with `cargo build --release`, or give its \
             path with --pyroxene PATH",
            path.display()
        );
        Ok(PyroxeneProgram(path))
    }
}

/// The program `pyroxene`.
pub(crate) struct PyroxeneProgram(PathBuf);

impl PyroxeneProgram {
    /// The path of the program.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The command that starts a name server with a store in `directory`.
    pub(crate) fn nameserver(&self, directory: &Path, listen: &str) -> Command {
        let store = directory.join("state.db");
        let store = format!("sqlite:{}", store.display());
        self.daemon(&["nameserver", "--listen", listen, "--store", &store])
    }

    /// The command that starts a worker with the built-in objects.
    pub(crate) fn worker(&self, nameserver: SocketAddr) -> Command {
        self.daemon(&["worker", "--nameserver", &nameserver.to_string()])
    }

    fn daemon(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command
            .args(arguments)
            .arg("--exit-with-parent")
            .env("RUST_LOG", "error");
        command
    }

    /// Starts a name server on a free port, with a new store in `directory`.
    pub(crate) async fn start_nameserver(&self, directory: &Path) -> Result<ChildServer> {
        ChildServer::start_command(self.nameserver(directory, "127.0.0.1:0")).await
    }

    /// Starts a worker with the built-in objects.
    pub(crate) async fn start_worker(&self, nameserver: SocketAddr) -> Result<ChildServer> {
        ChildServer::start_command(self.worker(nameserver)).await
    }
}

/// A name server with a store in a temporary directory, which is removed when this is dropped.
pub(crate) struct NameServerProcess {
    pub(crate) server: ChildServer,
    pub(crate) directory: TempDir,
}

impl NameServerProcess {
    pub(crate) async fn start(program: &PyroxeneProgram) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let server = program.start_nameserver(directory.path()).await?;
        Ok(Self { server, directory })
    }

    pub(crate) fn resident_memory(&self) -> Result<ResidentMemory> {
        ResidentMemory::of(self.server.pid()?)
    }
}

/// The resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResidentMemory {
    /// All resident bytes.
    pub(crate) total: u64,
    /// The bytes that belong to the process alone: heap, stacks and changed data. The rest are pages of
    /// files, mostly of the program itself, which processes share.
    pub(crate) anonymous: u64,
}

impl ResidentMemory {
    /// Reads the current values of a process from the kernel.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("cannot read the status of process {pid}"))?;
        Self::parse(&status).context("the kernel does not report resident memory")
    }

    /// The greatest resident memory that a process has ever had, in bytes.
    pub(crate) fn peak(pid: u32) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("cannot read the status of process {pid}"))?;
        bytes_of(&status, "VmHWM:").context("the kernel does not report the peak of memory")
    }

    fn parse(status: &str) -> Option<Self> {
        Some(Self {
            total: bytes_of(status, "VmRSS:")?,
            anonymous: bytes_of(status, "RssAnon:")?,
        })
    }

    /// All resident memory, in megabytes (10⁶ bytes).
    pub(crate) fn megabytes(self) -> f64 {
        self.total as f64 / 1e6
    }

    /// The memory that belongs to the process alone, in megabytes (10⁶ bytes).
    pub(crate) fn anonymous_megabytes(self) -> f64 {
        self.anonymous as f64 / 1e6
    }
}

/// A field of the kernel's status of a process, in bytes.
fn bytes_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernels_words() {
        let status = "Name:\tx\nVmRSS:\t   20540 kB\nRssAnon:\t    2660 kB\n";
        let resident = ResidentMemory::parse(status).unwrap();
        assert_eq!(resident.total, 20_540 * 1024);
        assert_eq!(resident.anonymous, 2_660 * 1024);
        assert_eq!(ResidentMemory::parse("VmRSS: many kB\n"), None);
    }
}
