//! New databases, one for each measurement.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use tempfile::TempDir;

use super::postgres::Postgres;

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreKind {
    Sqlite,
    Postgres,
}

impl StoreKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The kinds of databases that can be measured, and the directory for new ones.
pub(super) struct Stores {
    kinds: Vec<StoreKind>,
    directory: TempDir,
    files: u32,
    pub(super) postgres: Option<Postgres>,
}

impl Stores {
    /// Starts PostgreSQL if it is among `kinds`, and leaves it out if it is not installed.
    pub(super) async fn new(parent: &Path, kinds: &[StoreKind]) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("pyroxene-bench-")
            .tempdir_in(parent)
            .context("cannot make a directory")?;
        let mut kinds = kinds.to_vec();
        let mut postgres = None;
        if kinds.contains(&StoreKind::Postgres) {
            postgres = Postgres::start(parent).await?;
            if postgres.is_none() {
                eprintln!("no PostgreSQL server is installed: its rows are left out");
                kinds.retain(|kind| *kind != StoreKind::Postgres);
            }
        }
        Ok(Self {
            kinds,
            directory,
            files: 0,
            postgres,
        })
    }

    /// The kinds that can be measured.
    pub(super) fn kinds(&self) -> Vec<StoreKind> {
        self.kinds.clone()
    }

    /// The URL of a new, empty store.
    pub(super) async fn new_url(&mut self, kind: StoreKind) -> Result<String> {
        match kind {
            StoreKind::Sqlite => {
                self.files += 1;
                let file = format!("store{}.db", self.files);
                let path = self.directory.path().join(file);
                Ok(format!("sqlite:{}", path.display()))
            }
            StoreKind::Postgres => {
                let postgres = self.postgres.as_mut();
                postgres.context("no PostgreSQL")?.new_database().await
            }
        }
    }
}
