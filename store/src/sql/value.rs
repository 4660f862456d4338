//! Bound values, and returned rows.

use super::SqlResult;
use sqlx::{
    Postgres, Row as _, Sqlite,
    postgres::{PgArguments, PgRow},
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

/// A value to bind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Real(Option<f64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    // A column of many rows, on PostgreSQL only.
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
    Blobs(Vec<Option<&'a [u8]>>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<f64>> for Value<'_> {
    fn from(value: Option<f64>) -> Self {
        Self::Real(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Bytes(value)
    }
}

type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;
type PostgresQuery<'q> = Query<'q, Postgres, PgArguments>;

impl<'a> Value<'a> {
    pub(super) fn bind_sqlite<'q>(&self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        match self {
            Self::Int(value) => query.bind(*value),
            Self::Real(value) => query.bind(*value),
            Self::Text(value) => query.bind(value.map(str::to_owned)),
            Self::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
            // SQLite gets the rows of a relation spelled out, so no columns get here.
            Self::Ints(_) | Self::Texts(_) | Self::Blobs(_) => query,
        }
    }

    /// The value as a part of a statement, for PostgreSQL. Texts and bytes are written as hexadecimal digits,
    /// so that nothing in them is parsed as anything else.
    pub(super) fn literal(&self) -> String {
        let hex = |bytes: &[u8]| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("decode('{digits}', 'hex')")
        };
        match self {
            Self::Int(Some(value)) => value.to_string(),
            Self::Real(Some(value)) => format!("'{value}'::float8"),
            Self::Text(Some(text)) => format!("convert_from({}, 'UTF8')", hex(text.as_bytes())),
            Self::Bytes(Some(bytes)) => hex(bytes),
            Self::Int(None) | Self::Real(None) | Self::Text(None) | Self::Bytes(None) => {
                "NULL".to_owned()
            }
            // Columns of many rows are bound.
            Self::Ints(_) | Self::Texts(_) | Self::Blobs(_) => "NULL".to_owned(),
        }
    }

    pub(super) fn bind_postgres<'q>(&self, query: PostgresQuery<'q>) -> PostgresQuery<'q>
    where
        'a: 'q,
    {
        match self {
            Self::Int(value) => query.bind(*value),
            Self::Real(value) => query.bind(*value),
            Self::Text(value) => query.bind(*value),
            Self::Bytes(value) => query.bind(*value),
            Self::Ints(values) => query.bind(values.clone()),
            Self::Texts(values) => query.bind(values.clone()),
            Self::Blobs(values) => query.bind(values.clone()),
        }
    }
}

/// A returned row; columns are counted from 0.
pub(crate) enum DatabaseRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! getter {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(&self, column: usize) -> SqlResult<$type> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
        }
    };
}

impl DatabaseRow {
    getter!(int, i64);
    getter!(optional_int, Option<i64>);
    getter!(optional_real, Option<f64>);
    getter!(text, String);
    getter!(optional_text, Option<String>);
    getter!(bytes, Vec<u8>);
    getter!(optional_bytes, Option<Vec<u8>>);
}
