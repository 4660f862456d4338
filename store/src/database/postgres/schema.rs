//! The schema that belongs to one store, or to accounts, alone.
//!
//! Triggers on tables, and functions that are found by name, run with the rights of the role that uses them.
//! So every connection resolves names in this schema only ([`Schema::pin`]). At the start, [`Schema::settle`]
//! checks that no other role owns, made or may make anything there.

mod earlier;

use crate::database::{Fault, FaultKind, InvalidStoreUrl};
use sqlx::{
    AssertSqlSafe, PgConnection,
    postgres::{PgPoolOptions, types::Oid},
};
use std::sync::Arc;

/// The key of the advisory lock under which schemas are created.
const SCHEMA_LOCK: i64 = 0x5059_5258_0002;

/// The fully trusted roles: the current one, and those whose rights it has. A superuser has the rights of all
/// roles; it trusts superusers only.
const TRUSTED: &str = "SELECT role.oid FROM pg_roles AS role, pg_roles AS own \
     WHERE own.rolname = current_user AND (role.oid = own.oid OR CASE WHEN own.rolsuper \
     THEN role.rolsuper ELSE pg_has_role(own.oid, role.oid, 'USAGE') END)";

const DANGERS: &str = include_str!("schema/dangers.sql");

/// How many dangers one message names.
const MAX_NAMED_DANGERS: usize = 3;

/// The tables of a schema.
#[derive(Debug)]
pub struct Layout {
    /// The schema's name, unless the address names another one.
    pub schema: &'static str,
    /// The table that holds the version of the tables, in its only column `version BIGINT`.
    pub versions: &'static str,
    /// The other tables, each after the version that introduced it.
    pub tables: &'static [(i64, &'static str)],
}

/// A schema that belongs to this program.
#[derive(Clone, Debug)]
pub struct Schema {
    name: Arc<str>,
    /// Whether the address names it.
    is_named: bool,
    layout: &'static Layout,
}

impl Schema {
    /// The schema of an address.
    ///
    /// # Errors
    ///
    /// As [`connect_options`](super::connect_options).
    pub fn of(text: &str, layout: &'static Layout) -> Result<Self, InvalidStoreUrl> {
        let (_, named) = super::read(text)?;
        Ok(Self {
            is_named: named.is_some(),
            name: named.as_deref().unwrap_or(layout.schema).into(),
            layout,
        })
    }

    /// Makes a connection resolve names in this schema only, after PostgreSQL's own.
    ///
    /// # Errors
    ///
    /// The errors of the connection.
    pub async fn pin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // Temporary tables would be searched first if they were not listed last.
        let statement = format!("SET search_path TO {}, pg_temp", quoted(&self.name));
        let set = sqlx::raw_sql(AssertSqlSafe(statement));
        set.execute(connection).await.map(|_| ())
    }

    /// Pins every connection of a pool.
    #[must_use]
    pub fn pin_all(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let schema = self.clone();
        pool.after_connect(move |connection, _| {
            let schema = schema.clone();
            Box::pin(async move { schema.pin(connection).await })
        })
    }

    /// Creates the schema if it is missing and `create` allows it, moves tables of an earlier version into
    /// it, and returns whether there are tables now. The connection is pinned, and in a transaction at the
    /// level `READ COMMITTED`, under a lock that keeps others from doing the same.
    ///
    /// # Errors
    ///
    /// A schema through which others could act with this role's rights is
    /// [`Untrusted`](FaultKind::Untrusted). A schema that the role may not create is
    /// [`Refused`](FaultKind::Refused).
    pub async fn prepare(
        &self,
        connection: &mut PgConnection,
        create: bool,
    ) -> Result<bool, Fault> {
        let trusted: Vec<Oid> = sqlx::query_scalar(TRUSTED)
            .fetch_all(&mut *connection)
            .await?;
        let earlier = match self.is_named {
            // Earlier versions used the named schema too.
            true => None,
            false => earlier::find(self, connection, &trusted).await?,
        };
        let is_made = self.is_made(connection).await?;
        if is_made {
            check(connection, &self.name, &trusted, None).await?;
            if self.has_tables(connection).await? {
                if let Some(earlier) = earlier {
                    tracing::warn!(
                        used = %self.name,
                        left = %earlier.schema,
                        "two schemas hold tables of this program; those that an earlier version made are left alone",
                    );
                }
                return Ok(true);
            }
        }
        if earlier.is_none() && !create {
            return Ok(false);
        }
        if !is_made {
            self.make(connection).await?;
        }
        match earlier {
            None => Ok(false),
            Some(earlier) => {
                earlier.move_into(self, connection, &trusted).await?;
                tracing::info!(
                    from = %earlier.schema,
                    to = %self.name,
                    "the tables of an earlier version were moved to a schema of their own",
                );
                Ok(true)
            }
        }
    }

    async fn is_made(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
            .bind(&*self.name)
            .fetch_one(connection)
            .await
    }

    async fn has_tables(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let statement = "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace AS place \
                         ON relnamespace = place.oid WHERE nspname = $1 AND relname = $2)";
        sqlx::query_scalar(statement)
            .bind(&*self.name)
            .bind(self.layout.versions)
            .fetch_one(connection)
            .await
    }

    async fn make(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let statement = "SELECT has_database_privilege(current_database(), 'CREATE'), \
                         quote_ident($1), quote_ident(current_user)";
        let asked = sqlx::query_as(statement).bind(&*self.name);
        let (may, name, role): (bool, String, String) = asked.fetch_one(&mut *connection).await?;
        if !may {
            let why = format!(
                "role {role} may not create a schema in this database; a role that may has to run there: \
                 CREATE SCHEMA {name} AUTHORIZATION {role}"
            );
            return Err(Fault::new(FaultKind::Refused, why));
        }
        // A store and accounts that share a schema hold different migration locks.
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(SCHEMA_LOCK)
            .execute(&mut *connection)
            .await?;
        let statement = format!("CREATE SCHEMA IF NOT EXISTS {name}");
        let made = sqlx::raw_sql(AssertSqlSafe(statement));
        made.execute(connection).await?;
        Ok(())
    }
}

/// Refuses a schema, or some of its tables, through which others could act with this role's rights.
async fn check(
    connection: &mut PgConnection,
    schema: &str,
    trusted: &[Oid],
    tables: Option<&[String]>,
) -> Result<(), Fault> {
    let dangers: Vec<(String, String)> = sqlx::query_as(DANGERS)
        .bind(schema)
        .bind(trusted)
        .bind(tables)
        .fetch_all(connection)
        .await?;
    if dangers.is_empty() {
        return Ok(());
    }
    let more = match dangers.len().saturating_sub(MAX_NAMED_DANGERS) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let (found, mended): (Vec<_>, Vec<_>) = dangers.into_iter().take(MAX_NAMED_DANGERS).unzip();
    let (found, mended) = (found.join(", "), mended.join("; "));
    let why = format!("{found}{more}; a role with the rights to do so fixes that with: {mended}");
    Err(Fault::new(FaultKind::Untrusted, why))
}

/// A name quoted for SQL, whatever characters it has.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
