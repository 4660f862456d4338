//! PostgreSQL: any number of name servers, on any number of machines.
//!
//! Every connection resolves table names in the store's own schema only. Every transaction applies the other
//! settings that it needs. Connections prepare statements and use `LISTEN`, so a pooler between this process
//! and the server must give each connection its own session.

mod listen;
mod pool_reasons;
mod writers;

pub(crate) use listen::{listen, notify};

use super::StoreReader;
use crate::database::postgres::{self, Schema};
use crate::{
    batch::{Batch, WriteClass},
    error::{StoreError, is_conflict, is_worth_repeating},
    model::UnixMillis,
    options::StoreOptions,
    schema,
    sql::{SqlConnection, SqlResult},
    tasks::usage::{self, UsageCache},
    timekeeper::{Timekeeper, step_watch::ClockReading},
    transaction::{Effects, Transaction},
};
use pool_reasons::PoolReasons;
use sqlx::{PgPool, Postgres, Row as _, pool::PoolConnection, postgres::PgPoolOptions};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use writers::{PostgresWriter, PostgresWriters};

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresStore {
    pool: PgPool,
    writers: PostgresWriters,
    time: Timekeeper,
    /// The usage of submitters when it was last read.
    usage_cache: UsageCache,
    /// The timeout of one attempt to write a batch.
    write_timeout: Duration,
    reasons: PoolReasons,
}

/// The start of each transaction: it reads the time and applies settings, in one round trip.
///
/// The planner must not assume that a table is as small as at its last statistics, and need not plan the same
/// statement again. Forbidden scans have such high costs that it would compile machine code for every
/// statement. A process that is frozen within a transaction must not keep its locks.
macro_rules! prelude {
    ($synchronous:literal) => {
        concat!(
            "BEGIN; SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, ",
            "set_config('plan_cache_mode', 'force_generic_plan', true), ",
            "set_config('jit', 'off', true), ",
            "set_config('enable_seqscan', 'off', true), ",
            "set_config('enable_hashjoin', 'off', true), ",
            "set_config('enable_mergejoin', 'off', true), ",
            "set_config('idle_in_transaction_session_timeout', '5000', true), ",
            "set_config('statement_timeout', '30000', true), ",
            "set_config('synchronous_commit', ",
            $synchronous,
            ", true)"
        )
    };
}

/// The commit is on disk before the callers are answered, or safer if the server is configured so.
const DURABLE: &str = prelude!(
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN 'on' \
     ELSE current_setting('synchronous_commit') END"
);

/// The commit reaches the disk together with the next durable one.
const NOT_DURABLE: &str = prelude!("'off'");

/// How many times a transaction that conflicts with another one is tried.
const MAX_WRITE_ATTEMPTS: u32 = 5;

/// The key of the advisory lock under which a store is created or migrated.
const MIGRATION_LOCK: i64 = 0x5059_5258_0001;

impl PostgresStore {
    /// Connects, and creates or migrates the store.
    pub(crate) async fn open(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let schema = Schema::of(url, &schema::LAYOUT)?;
        let connect = postgres::connect_options(url)?.application_name("pyroxene");
        let place = postgres::address(&connect);
        postgres::check_server(&connect, options.timeout).await?;
        // Writers have connections outside of the pool. The pool has the listener, the notifier, and readers.
        let writers = WriteClass::ALL
            .map(WriteClass::writers)
            .iter()
            .sum::<usize>();
        let writers = u32::try_from(writers).unwrap_or(u32::MAX);
        let others = options.connections.saturating_sub(writers).max(6);
        let pool = schema
            .pin_all(PgPoolOptions::new())
            .max_connections(others)
            .acquire_timeout(options.wait_timeout())
            // A dead connection is noticed when it is used; then another one is tried.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        let store = Self {
            pool,
            writers: PostgresWriters::default(),
            time: Timekeeper::new(options.clock.clone()),
            usage_cache: UsageCache::default(),
            write_timeout: options.timeout.saturating_mul(4),
            reasons: PoolReasons::default(),
        };
        let made = store.make(&schema, options.create).await;
        made.map_err(|error| error.at(place))?;
        Ok(store)
    }

    async fn make(&self, schema: &Schema, create: bool) -> Result<(), StoreError> {
        // At any other level, changes that others committed during the wait for the lock would be invisible.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        let mut begun = match self.pool.begin_with(begin).await {
            Ok(begun) => begun,
            Err(error) => return Err(self.explained(error).await),
        };
        let mut sql = SqlConnection::Postgres(&mut begun);
        sql.rows("SELECT pg_advisory_xact_lock($1)", &[MIGRATION_LOCK.into()])
            .await?;
        let has_tables = schema.prepare(&mut begun, create).await?;
        let mut sql = SqlConnection::Postgres(&mut begun);
        let found = match has_tables {
            true => version(&mut sql).await?,
            false => None,
        };
        match found {
            None if !create => {
                let why = "the database has no tables of this program";
                return Err(StoreError::Missing(why.to_owned()));
            }
            None => {
                tracing::info!("there was no store in the database; making a new, empty one");
                sql.script("CREATE TABLE pyroxene_schema (version BIGINT NOT NULL)")
                    .await?;
                sql.script("INSERT INTO pyroxene_schema VALUES (0)").await?;
            }
            Some(_) => {}
        }
        schema::migrate(&mut sql, found.unwrap_or(0)).await?;
        if found != Some(schema::SCHEMA_VERSION) {
            let update = "UPDATE pyroxene_schema SET version = $1";
            sql.execute(update, &[schema::SCHEMA_VERSION.into()])
                .await?;
        }
        Ok(begun.commit().await?)
    }

    pub(super) async fn now(&self) -> Result<UnixMillis, StoreError> {
        if let Some(now) = self.time.manual() {
            return Ok(now);
        }
        let mut connection = self.connection().await?;
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let row = SqlConnection::Postgres(&mut connection)
            .row(sql, &[])
            .await?;
        Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0))
    }

    pub(super) async fn reader(&self) -> Result<StoreReader<'_>, StoreError> {
        Ok(StoreReader::Postgres(self.connection().await?))
    }

    /// A connection of the pool.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(connection),
            Err(error) => Err(self.explained(error).await),
        }
    }

    /// The pool keeps to itself why it could not make a connection.
    async fn explained(&self, error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::PoolTimedOut => self.reasons.why_none_is_free(&self.pool).await.into(),
            error => error.into(),
        }
    }

    pub(super) async fn write(&self, batch: &mut Batch) -> Result<Effects, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let late = || {
                let why = format!("no answer within {:?}", self.write_timeout);
                StoreError::Unavailable(why)
            };
            let done = timeout(self.write_timeout, self.try_write(batch)).await;
            match done.map_err(|_| late())? {
                Ok(effects) => return Ok(effects),
                Err(WriteFailure::MayBeCommitted(error)) => return Err(error.into()),
                Err(WriteFailure::RolledBack(error)) => {
                    if tries >= MAX_WRITE_ATTEMPTS || !is_worth_repeating(&error) {
                        return Err(self.judge(error).await);
                    }
                    // A random pause, so that conflicting transactions do not collide again.
                    let pause = rand::random_range(1..20 * u64::from(tries));
                    sleep(Duration::from_millis(pause)).await;
                }
            }
        }
    }

    /// A server that has become a standby stays one, and a connection that is shared between clients stays
    /// shared. So the next write uses a new connection, which may lead to another server.
    async fn judge(&self, error: sqlx::Error) -> StoreError {
        let error = self.explained(error).await;
        if matches!(error, StoreError::ReadOnly(_) | StoreError::Protocol(_)) {
            self.writers.close_idle();
        }
        error
    }

    async fn try_write(&self, batch: &mut Batch) -> Result<Effects, WriteFailure> {
        let begun = OpenTransaction::begin(self, batch.is_durable()).await;
        let mut begun = begun.map_err(WriteFailure::RolledBack)?;
        let (reading, shard) = (begun.reading, begun.writer.shard);
        let sql = SqlConnection::Postgres(&mut begun.writer.connection);
        let mut transaction = Transaction::new(sql, &self.time, &self.usage_cache, reading, shard);
        match batch.run(&mut transaction).await {
            Ok(()) => {
                let committed = transaction.commit().await;
                // A connection that is lost now says nothing of the commit. If it was done, the same batch
                // would count its tasks twice, and append its entries twice.
                let effects = committed.map_err(|error| match is_conflict(&error) {
                    true => WriteFailure::RolledBack(error),
                    false => WriteFailure::MayBeCommitted(error),
                })?;
                begun.keep();
                Ok(effects)
            }
            Err(error) => {
                // If the rollback fails, the connection is closed, and the server rolls back.
                let _ = begun.roll_back().await;
                Err(WriteFailure::RolledBack(error))
            }
        }
    }

    pub(super) fn time(&self) -> &Timekeeper {
        &self.time
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn close(&self) {
        self.writers.close_idle();
        self.pool.close().await;
    }
}

/// Why a write failed.
enum WriteFailure {
    /// The transaction was certainly not committed.
    RolledBack(sqlx::Error),
    /// The transaction may have been committed.
    MayBeCommitted(sqlx::Error),
}

/// An open transaction. Dropping it closes its connection, and so rolls it back.
struct OpenTransaction<'s> {
    writers: &'s PostgresWriters,
    writer: PostgresWriter,
    /// The server's clock at the start.
    reading: ClockReading,
}

impl<'s> OpenTransaction<'s> {
    async fn begin(store: &'s PostgresStore, durable: bool) -> SqlResult<Self> {
        let writers = &store.writers;
        let mut writer = match writers.take() {
            Some(writer) => writer,
            None => {
                let mut connection = store.pool.acquire().await?.detach();
                usage::prepare(&mut SqlConnection::Postgres(&mut connection)).await?;
                PostgresWriter {
                    connection,
                    opened_at: Instant::now(),
                    shard: writers.next_shard(),
                }
            }
        };
        let prelude = if durable { DURABLE } else { NOT_DURABLE };
        let asked = store.time.elapsed();
        let begun = sqlx::raw_sql(prelude).fetch_one(&mut writer.connection);
        // If the server is gone for this connection, it is gone for the idle ones too.
        let row = begun.await.inspect_err(|_| writers.close_idle())?;
        let reading = store.time.reading(asked, row.try_get(0)?);
        Ok(Self {
            writers,
            writer,
            reading,
        })
    }

    /// Rolls back.
    async fn roll_back(mut self) -> SqlResult<()> {
        let connection = &mut self.writer.connection;
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        self.keep();
        Ok(())
    }

    /// Keeps the connection, whose transaction has ended, for the next one.
    fn keep(self) {
        self.writers.put_back(self.writer);
    }
}

/// The schema version of the store.
async fn version(sql: &mut SqlConnection<'_>) -> Result<Option<i64>, StoreError> {
    let row = sql.row("SELECT version FROM pyroxene_schema", &[]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?)
}
