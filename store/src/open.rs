//! Opening and closing of a store.

use super::{
    backend::{
        Backend,
        postgres::{PostgresStore, listen, notify},
        sqlite::SqliteStore,
    },
    error::StoreError,
    handle::{Store, StoreInner},
    hints::{Hint, Hints, OutgoingEffects},
    options::StoreOptions,
    transfer,
    waiters::{self, Waiters},
    writer::Writer,
};
use crate::database::StoreUrl;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often an SQLite file is polled for the writes of other processes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The polling interval while no other process seems to write.
const POLL_INTERVAL_ALONE: Duration = Duration::from_millis(250);

/// How long after its last write another process may still be there. A name server renews its lease several
/// times in that time, even if it writes nothing else.
const OTHER_WRITER_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Opens a store.
    ///
    /// ```
    /// use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("broker.db");
    /// let url = StoreUrl::Sqlite(file);
    /// let missing = Store::open(&url, StoreOptions::default()).await;
    /// assert!(matches!(missing, Err(StoreError::Missing(_))));
    ///
    /// let options = StoreOptions { create: true, ..StoreOptions::default() };
    /// Store::open(&url, options).await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. An existing store is never replaced by a new one.
    pub async fn open(url: &StoreUrl, options: StoreOptions) -> Result<Self, StoreError> {
        let store = Self::open_any(url, options).await?;
        if store.is_import_unfinished().await? {
            let sentence = "an import into it was not finished; run the same import again";
            return Err(StoreError::NotAStore(sentence.to_owned()));
        }
        Ok(store)
    }

    /// Opens a store for an import.
    ///
    /// # Errors
    ///
    /// As [`Store::open`], but a store with an unfinished import is accepted.
    pub async fn open_for_import(
        url: &StoreUrl,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        Self::open_any(url, options).await
    }

    async fn open_any(url: &StoreUrl, options: StoreOptions) -> Result<Self, StoreError> {
        let backend = match url {
            StoreUrl::Sqlite(path) => Backend::Sqlite(SqliteStore::open(path, &options).await?),
            StoreUrl::Memory => Backend::Sqlite(SqliteStore::in_memory(&options).await?),
            StoreUrl::Postgres(url) => Backend::Postgres(PostgresStore::open(url, &options).await?),
        };
        Ok(Self::start(Arc::new(backend), options))
    }

    fn start(backend: Arc<Backend>, options: StoreOptions) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let until_stopped = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            tasks.spawn(stop.clone().run_until_cancelled_owned(work));
        };
        let outgoing = match &*backend {
            Backend::Postgres(_) if options.listen => Some(Arc::<OutgoingEffects>::default()),
            _ => None,
        };
        let hints = Hints::new(outgoing.clone());
        if let (Backend::Postgres(store), Some(outgoing)) = (&*backend, outgoing) {
            let origin = rand::random();
            let pool = store.pool();
            until_stopped(Box::pin(notify(pool.clone(), outgoing, origin)));
            until_stopped(Box::pin(listen(pool.clone(), hints.clone(), origin)));
        }
        if matches!(&*backend, Backend::Sqlite(store) if store.is_file()) {
            until_stopped(Box::pin(watch(Arc::clone(&backend), hints.clone())));
        }
        let waiters = Arc::<Waiters>::default();
        until_stopped(Box::pin(waiters::poll(
            Arc::clone(&waiters),
            Arc::clone(&backend),
            hints.subscribe(),
        )));
        let writer = Writer::start(&backend, &hints, &waiters, &options, &tasks, &stop);
        tasks.close();
        Self(Arc::new(StoreInner {
            backend,
            writer,
            hints,
            waiters,
            options,
            tasks,
            stop: stop.drop_guard(),
        }))
    }

    /// Writes all waiting requests, and closes the database. Every later call returns
    /// [`Closed`](StoreError::Closed).
    ///
    /// # Errors
    ///
    /// `Full`, `Io` and the like if the log of a SQLite file could not be copied to the file. The store is
    /// closed and nothing is lost, but the file without the log (`-wal`) beside it is not the whole store.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.stop.token().cancel();
        self.0.tasks.wait().await;
        self.0.backend.close().await
    }

    /// Whether the store is a file. Only then has [`close`](Self::close) data to move.
    pub fn is_file(&self) -> bool {
        matches!(&*self.0.backend, Backend::Sqlite(store) if store.is_file())
    }

    async fn is_import_unfinished(&self) -> Result<bool, StoreError> {
        let mut reader = self.0.backend.reader().await?;
        Ok(transfer::is_unfinished(&mut reader.sql()).await?)
    }
}

/// Detects what other processes write to the file.
async fn watch(backend: Arc<Backend>, hints: Hints) {
    let Backend::Sqlite(store) = &*backend else {
        return;
    };
    let mut wrote = Instant::now();
    loop {
        let is_alone = wrote.elapsed() > OTHER_WRITER_TIMEOUT;
        sleep(if is_alone {
            POLL_INTERVAL_ALONE
        } else {
            POLL_INTERVAL
        })
        .await;
        match store.changed_elsewhere().await {
            Ok(true) => {
                wrote = Instant::now();
                hints.send(Hint::Anything);
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot look for changes of the store"),
        }
    }
}
