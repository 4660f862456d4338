//! `pyroxene store`: checks, exports and imports a store.

use crate::{
    failure::{Exit, Failure, cannot_write},
    flags::YesOrNo,
    output::{print, print_json},
    store::store_url,
    table::labelled,
};
use clap::Subcommand;
use pyroxene_common::private_file;
use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl, TaskCounts, TransferError};
use serde::Serialize;
use serde_json::json;
use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
};

/// Check, export and import the store of a domain
///
/// To move a domain to another store: stop its name servers, export the old store, import into the new one,
/// which must be empty, and start the name servers with the new one.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct StoreCommandArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Check(StoreCheckArguments),
    Export(StoreExportArguments),
    Import(StoreImportArguments),
}

/// Check whether a store is consistent
///
/// Reads the whole store. --json prints {"problems": […], "tasks": {"queued", "delayed", "running",
/// "succeeded", "failed", "cancelled"}}. The exit code is 1 if there is a problem.
#[derive(Debug, clap::Args)]
struct StoreCheckArguments {
    #[command(flatten)]
    store: CommonArguments,
}

/// Write everything in a store as lines of JSON
///
/// The export is the state at one time: name servers may continue to work, but later changes are not in it.
/// Leases are left out. --json prints {"lines"}, the number of lines written, unless the export goes to
/// standard output, where it is JSON anyway.
#[derive(Debug, clap::Args)]
struct StoreExportArguments {
    #[command(flatten)]
    store: CommonArguments,
    /// The file to write; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Read an export into an empty store
///
/// A store that does not exist is made. An import that did not finish can be run again; until it has finished
/// no name server accepts the store. --json prints {"lines"}, the number of lines read.
#[derive(Debug, clap::Args)]
struct StoreImportArguments {
    #[command(flatten)]
    store: CommonArguments,
    /// The file to read; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// The flags of all commands about a store.
#[derive(Debug, clap::Args)]
struct CommonArguments {
    /// The store: sqlite:FILE or postgres://USER@HOST/DATABASE [default: that of the name server]
    #[arg(
        long,
        value_name = "URL",
        env = "PYROXENE_STORE",
        hide_env_values = true
    )]
    store: Option<String>,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

impl CommonArguments {
    fn url(&self) -> Result<StoreUrl, Failure> {
        store_url(self.store.as_deref())
    }
}

#[derive(Serialize)]
struct StoreCheckReport {
    problems: Vec<String>,
    tasks: TaskCounts,
}

pub(crate) async fn run(arguments: StoreCommandArguments) -> Result<(), Failure> {
    match arguments.command {
        StoreCommand::Check(check) => check.run().await,
        StoreCommand::Export(export) => export.run().await,
        StoreCommand::Import(import) => import.run().await,
    }
}

impl StoreCheckArguments {
    async fn run(self) -> Result<(), Failure> {
        let store = Store::open(&self.store.url()?, StoreOptions::default()).await?;
        let problems = store.check().await?;
        let tasks = store.counts().await?;
        let closed = store.close().await;
        let (found, first) = (problems.len(), problems.first().cloned());
        let report = StoreCheckReport { problems, tasks };
        if self.store.json {
            print_json(&report)?;
        } else {
            print(&to_text(&report))?;
        }
        match first {
            None => Ok(closed?),
            Some(first) if found == 1 => Err(Failure::new(Exit::Failed, first)),
            Some(first) => {
                let sentence = format!("{first}, and {} more problems", found - 1);
                Err(Failure::new(Exit::Failed, sentence))
            }
        }
    }
}

fn to_text(report: &StoreCheckReport) -> String {
    let tasks = &report.tasks;
    let counts = format!(
        "{} queued, {} delayed, {} running, {} succeeded, {} failed, {} cancelled",
        tasks.queued, tasks.delayed, tasks.running, tasks.succeeded, tasks.failed, tasks.cancelled
    );
    let mut lines = vec![("tasks", counts)];
    if report.problems.is_empty() {
        lines.push(("problems", "none".to_owned()));
    }
    let problems = report.problems.iter();
    lines.extend(problems.map(|problem| ("problem", problem.clone())));
    labelled("", &lines)
}

impl StoreExportArguments {
    async fn run(self) -> Result<(), Failure> {
        let store = Store::open(&self.store.url()?, StoreOptions::default()).await?;
        let lines = if is_standard(&self.file) {
            let exported = store.export(&mut BufWriter::new(io::stdout())).await;
            exported.map_err(|error| match error {
                TransferError::Io(error) => cannot_write(&error),
                error => error.into(),
            })?
        } else {
            let at =
                |error: TransferError| Failure::from(error).with_context(&file_name(&self.file));
            let file = private_file::create(&self.file).map_err(|error| at(error.into()))?;
            let mut output = BufWriter::new(&file);
            let lines = store.export(&mut output).await.map_err(at)?;
            file.sync_all().map_err(|error| at(error.into()))?;
            lines
        };
        store.close().await?;
        tracing::info!(lines, "exported");
        match self.store.json && !is_standard(&self.file) {
            true => print_json(&json!({"lines": lines})),
            false => Ok(()),
        }
    }
}

impl StoreImportArguments {
    async fn run(self) -> Result<(), Failure> {
        let url = self.store.url()?;
        let at = |error: TransferError| Failure::from(error).with_context(&file_name(&self.file));
        // The input is opened first, so that no empty store is made if it cannot be read.
        let mut input: Box<dyn io::BufRead + Send> = if is_standard(&self.file) {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(&self.file).map_err(|error| at(error.into()))?;
            Box::new(BufReader::new(file))
        };
        let options = StoreOptions {
            create: true,
            ..StoreOptions::default()
        };
        let store = Store::open_for_import(&url, options).await?;
        let imported = store.import(&mut *input).await;
        let closed = store.close().await;
        let lines = imported.map_err(|error| match error {
            TransferError::Store(error) => error.into(),
            error => at(error),
        })?;
        closed?;
        tracing::info!(lines, "imported");
        match self.store.json {
            true => print_json(&json!({"lines": lines})),
            false => Ok(()),
        }
    }
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

fn file_name(file: &Path) -> String {
    if is_standard(file) {
        return "standard input".to_owned();
    }
    file.display().to_string()
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Store(error) => error.into(),
            error => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Unavailable(_) | StoreError::Closed => Exit::Unavailable,
            StoreError::Refused(_) | StoreError::Untrusted(_) => Exit::Refused,
            StoreError::Invalid(_) => Exit::Usage,
            StoreError::ReadOnly(_)
            | StoreError::Full(_)
            | StoreError::Io(_)
            | StoreError::Protocol(_)
            | StoreError::Corrupt(_)
            | StoreError::NewerSchema { .. }
            | StoreError::Missing(_)
            | StoreError::NotAStore(_) => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error {
            StoreError::NewerSchema { .. } => failure.hint("use the newer version of this program"),
            StoreError::Corrupt(_) => {
                failure.hint("restore a backup; 'pyroxene store check' says more")
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use pyroxene_store::NewStoredTask;

    async fn store(arguments: &[&str]) -> Result<(), Failure> {
        let command = ["pyroxene", "store"].iter().chain(arguments);
        let cli =
            Cli::try_parse_from(command).map_err(|error| crate::failure::from_clap(&error))?;
        let Command::Store(arguments) = cli.command else {
            panic!("another command");
        };
        run(arguments).await
    }

    #[tokio::test]
    async fn a_store_is_checked_and_moved() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        let (old, new) = (place("old.db"), place("new.db"));
        let flag = |path: &str| format!("--store=sqlite:{path}");
        let missing = store(&["check", &flag(&old)]).await.unwrap_err();
        assert_eq!(missing.exit, Exit::Failed);
        assert!(missing.message.unwrap().contains("old.db: no such file"));

        let options = StoreOptions {
            create: true,
            ..StoreOptions::default()
        };
        let url = StoreUrl::Sqlite(old.clone().into());
        let opened = Store::open(&url, options).await.unwrap();
        let task = NewStoredTask::new("calc", "run", vec![1; 5000]);
        opened.submit(vec![task]).await.unwrap();
        opened.close().await.unwrap();

        let lines = place("lines.jsonl");
        store(&["export", &flag(&old), &lines]).await.unwrap();
        let none = store(&["import", &flag(&new), &place("none")]).await;
        assert!(none.unwrap_err().message.unwrap().contains("none: "));
        assert!(!Path::new(&new).exists());
        store(&["import", &flag(&new), &lines]).await.unwrap();
        store(&["check", &flag(&new), "--json"]).await.unwrap();
        let again = store(&["import", &flag(&new), &lines]).await.unwrap_err();
        assert_eq!(again.exit, Exit::Usage);
        let other = place("again.jsonl");
        store(&["export", &flag(&new), &other]).await.unwrap();
        let read = |path: &str| std::fs::read(path).unwrap();
        assert!(read(&lines) == read(&other));
    }

    #[test]
    fn what_is_wrong_with_a_store_is_told_from_what_will_pass() {
        let text = || "why".to_owned();
        let exit = |error: StoreError| Failure::from(error).exit;
        assert_eq!(exit(StoreError::Unavailable(text())), Exit::Unavailable);
        assert_eq!(exit(StoreError::Corrupt(text())), Exit::Failed);
        assert_eq!(exit(StoreError::Refused(text())), Exit::Refused);
        assert_eq!(exit(StoreError::Invalid(text())), Exit::Usage);
    }
}
