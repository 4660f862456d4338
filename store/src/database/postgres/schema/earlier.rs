//! Tables of versions that had no schema of their own. They are in the first schema of the role's own
//! `search_path`.

use super::{Schema, check, quoted};
use crate::database::{Fault, FaultKind};
use sqlx::{AssertSqlSafe, PgConnection, postgres::types::Oid};

/// Tables with the name and the columns of the version table, in the order of the path: the schema, the
/// owner, and whether the owner is trusted.
const CANDIDATES: &str = "SELECT nspname::text, pg_get_userbyid(relowner)::text, relowner = ANY($3) \
     FROM unnest($1::text[]) WITH ORDINALITY AS path (name, place) \
     JOIN pg_namespace AS space ON nspname = path.name \
     JOIN pg_class AS class ON relnamespace = space.oid AND relname = $2 AND relkind = 'r' \
     WHERE (SELECT array_agg(attname::text || ' ' || format_type(atttypid, atttypmod)) \
            FROM pg_attribute WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped) \
           = ARRAY['version bigint'] \
     ORDER BY place";

/// A schema with tables of an earlier version.
pub(super) struct EarlierSchema {
    pub(super) schema: String,
}

/// Searches where earlier versions looked for their tables. A table of an untrusted owner is ignored.
pub(super) async fn find(
    own: &Schema,
    connection: &mut PgConnection,
    trusted: &[Oid],
) -> Result<Option<EarlierSchema>, Fault> {
    let mut path = default_path(own, connection).await?;
    path.retain(|schema| **schema != *own.name);
    let versions = own.layout.versions;
    let candidates: Vec<(String, String, bool)> = sqlx::query_as(CANDIDATES)
        .bind(path)
        .bind(versions)
        .bind(trusted)
        .fetch_all(connection)
        .await?;
    for (schema, owner, is_trusted) in candidates {
        if is_trusted {
            return Ok(Some(EarlierSchema { schema }));
        }
        tracing::warn!(
            %schema, %owner, table = versions,
            "a table named as if this program had made it belongs to another role and is left alone",
        );
    }
    Ok(None)
}

/// The schemas of this role's default search path, in their order.
async fn default_path(
    own: &Schema,
    connection: &mut PgConnection,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::raw_sql("SET LOCAL search_path TO DEFAULT")
        .execute(&mut *connection)
        .await?;
    // That path may have other schemas before PostgreSQL's own.
    let path = sqlx::query_scalar("SELECT pg_catalog.current_schemas(false)")
        .fetch_one(&mut *connection)
        .await?;
    own.pin(connection).await?;
    Ok(path)
}

impl EarlierSchema {
    /// Moves the tables of the found version, with their indexes and sequences, and no others.
    pub(super) async fn move_into(
        &self,
        own: &Schema,
        connection: &mut PgConnection,
        trusted: &[Oid],
    ) -> Result<(), Fault> {
        let from = quoted(&self.schema);
        let versions = own.layout.versions;
        let statement = format!("SELECT max(version) FROM {from}.{}", quoted(versions));
        let version: Option<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await?;
        let version = version.unwrap_or(0);
        let tables = own.layout.tables.iter();
        let tables = tables.filter(|(since, _)| *since <= version);
        let tables: Vec<String> = tables
            .map(|(_, table)| *table)
            .chain([versions])
            .map(str::to_owned)
            .collect();
        self.find_missing(connection, &tables).await?;
        check(connection, &self.schema, trusted, Some(&tables)).await?;
        let to = quoted(&own.name);
        for table in tables {
            let statement = format!("ALTER TABLE {from}.{} SET SCHEMA {to}", quoted(&table));
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    async fn find_missing(
        &self,
        connection: &mut PgConnection,
        tables: &[String],
    ) -> Result<(), Fault> {
        let statement = "SELECT wanted FROM unnest($2::text[]) AS wanted WHERE NOT EXISTS \
             (SELECT FROM pg_class JOIN pg_namespace AS space ON relnamespace = space.oid \
              WHERE nspname = $1 AND relname = wanted AND relkind = 'r')";
        let missing: Vec<String> = sqlx::query_scalar(statement)
            .bind(&self.schema)
            .bind(tables)
            .fetch_all(connection)
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        let (schema, missing) = (&self.schema, missing.join(", "));
        let why = format!("of the tables in schema {schema} these are missing: {missing}");
        Err(Fault::new(FaultKind::NotADatabase, why))
    }
}
