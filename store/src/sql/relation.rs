//! Many rows as the input of one statement.

use super::{DatabaseRow, Dialect, SqlConnection, SqlResult, Value};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;

/// The type of a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColumnType {
    Int,
    Text,
    Bytes,
}

impl ColumnType {
    fn name(self) -> &'static str {
        match self {
            Self::Int => "bigint",
            Self::Text => "text",
            Self::Bytes => "bytea",
        }
    }
}

/// Rows that a statement can read like a table called `u`.
#[derive(Debug)]
pub(crate) struct Relation<'a, const N: usize> {
    columns: [(&'static str, ColumnType); N],
    /// From this column on, most rows have the same values.
    shared: usize,
    rows: Vec<[Value<'a>; N]>,
}

/// The largest number of values in a statement on SQLite.
const MAX_VALUES: usize = 1200;

/// The number of rows of the next statement on SQLite. Every number of rows is another statement to prepare. With powers of
/// two there are few of them.
fn chunk_size(left: usize, columns: usize) -> usize {
    let most = left.min(MAX_VALUES / columns.max(1)).min(256);
    1 << most.checked_ilog2().unwrap_or(0)
}

impl<'a, const N: usize> Relation<'a, N> {
    pub(crate) fn new(columns: [(&'static str, ColumnType); N]) -> Self {
        Self::sharing(N, columns)
    }

    /// As [`new`](Self::new). The columns from `shared` on often have the same values in all rows. Then
    /// the database gets these values once: unpacking 16 columns takes PostgreSQL half as long as adding the row.
    pub(crate) fn sharing(shared: usize, columns: [(&'static str, ColumnType); N]) -> Self {
        let rows = Vec::new();
        Self {
            columns,
            shared,
            rows,
        }
    }

    pub(crate) fn push(&mut self, row: [Value<'a>; N]) {
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `(SELECT column1 AS id, … FROM (VALUES (?, …), …)) AS u`, or with columns that all rows share
    /// `(SELECT column1 AS id, …, ? AS name, … FROM (VALUES (?, …), …)) AS u`
    ///
    /// The parameters have no numbers, because the driver looks up the name of each numbered parameter, and
    /// SQLite searches all of them for that.
    fn values_clause(&self, rows: usize, different: usize) -> String {
        let mut sql = String::from("(SELECT ");
        for (index, (name, _)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a string cannot fail, here and below.
            let _ = match index < different {
                true => write!(sql, "{comma}column{} AS {name}", index + 1),
                false => write!(sql, "{comma}? AS {name}"),
            };
        }
        sql.push_str(" FROM (VALUES ");
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { "), (" });
            for column in 0..different {
                sql.push_str(if column == 0 { "?" } else { ", ?" });
            }
        }
        sql.push_str("))) AS u");
        sql
    }

    /// How many columns differ from row to row.
    fn differing_columns(&self) -> usize {
        let Some((first, others)) = self.rows.split_first() else {
            return N;
        };
        let first = first.get(self.shared..);
        let is_same = |row: &[Value<'_>; N]| row.get(self.shared..) == first;
        if others.iter().all(is_same) {
            self.shared
        } else {
            N
        }
    }

    /// `unnest($3::bigint[], …) AS u(id, …)`, or with columns that all rows share
    /// `(SELECT *, $4::text AS name, … FROM unnest($3::bigint[], …) AS u(id, …)) AS u`
    fn unnest_clause(&self, first: usize, different: usize) -> String {
        let mut sql = String::from("unnest(");
        for (index, (_, kind)) in self.columns.iter().take(different).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}${}::{}[]", first + index, kind.name());
        }
        sql.push_str(") AS u(");
        for (index, (name, _)) in self.columns.iter().take(different).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}{name}");
        }
        sql.push(')');
        if different == N {
            return sql;
        }
        let mut shared = String::new();
        for (index, (name, kind)) in self.columns.iter().enumerate().skip(different) {
            let _ = write!(shared, ", ${}::{} AS {name}", first + index, kind.name());
        }
        format!("(SELECT *{shared} FROM {sql}) AS u")
    }

    /// The definition of a prepared statement over such rows on PostgreSQL: `(bigint[], …) AS INSERT …`.
    fn definition(&self, sql: impl Fn(&str) -> String) -> String {
        let kinds = self.columns.map(|(_, kind)| format!("{}[]", kind.name()));
        format!(
            "({}) AS {}",
            kinds.join(", "),
            sql(&self.unnest_clause(1, N))
        )
    }

    /// The rows as the arguments of such a statement: `(ARRAY[1, …]::bigint[], …)`. Texts are written as
    /// hexadecimal digits, so that nothing in them is parsed as a part of the statement.
    fn arguments(&self) -> String {
        let columns = self.columns.iter().enumerate().map(|(index, (_, kind))| {
            let values = self.rows.iter().filter_map(|row| row.get(index));
            let values: Vec<String> = values.map(Value::literal).collect();
            format!("ARRAY[{}]::{}[]", values.join(", "), kind.name())
        });
        format!("({})", columns.collect::<Vec<_>>().join(", "))
    }

    fn columns(&self, different: usize) -> Vec<Value<'a>> {
        let column = |index: usize, kind: ColumnType| {
            let values = self.rows.iter().filter_map(|row| row.get(index));
            match kind {
                ColumnType::Int => Value::Ints(
                    values
                        .map(|value| match value {
                            Value::Int(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
                ColumnType::Text => Value::Texts(
                    values
                        .map(|value| match value {
                            Value::Text(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
                ColumnType::Bytes => Value::Blobs(
                    values
                        .map(|value| match value {
                            Value::Bytes(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
            }
        };
        let kinds = self.columns.iter().enumerate().take(different);
        let arrays = kinds.map(|(index, (_, kind))| column(index, *kind));
        let shared = self.rows.first().into_iter().flatten().skip(different);
        arrays.chain(shared.cloned()).collect()
    }
}

/// A statement whose `$1` comes after `others` other parameters.
fn renumbered(statement: &str, others: usize) -> String {
    let mut parts = statement.split('$');
    let mut sql = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| !character.is_ascii_digit());
        let (number, rest) = part.split_at(end.unwrap_or(part.len()));
        let number = number.parse().unwrap_or(0) + others;
        let _ = write!(sql, "${number}{rest}");
    }
    sql
}

impl<'a, const N: usize> Relation<'a, N> {
    /// The statements that run `sql` for all rows, and their values: one on PostgreSQL, a few on SQLite.
    fn statements<'v>(
        &self,
        dialect: Dialect,
        scalars: &[Value<'v>],
        sql: impl Fn(&str) -> String,
    ) -> Vec<(String, Vec<Value<'v>>)>
    where
        'a: 'v,
    {
        let mut left: &[[Value<'v>; N]] = &self.rows;
        let mut statements = Vec::new();
        let different = self.differing_columns();
        if let (Dialect::Postgres, false) = (dialect, self.is_empty()) {
            let columns: Vec<Value<'v>> = self.columns(different);
            let values = scalars.iter().cloned().chain(columns).collect();
            let relation = self.unnest_clause(scalars.len() + 1, different);
            return vec![(sql(&relation), values)];
        }
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(chunk_size(left.len(), different));
            // Parameters without a number come first, in their order.
            let shared = chunk.iter().take(1).flatten().skip(different);
            let rows = chunk.iter().flat_map(|row| row.iter().take(different));
            let values: Vec<Value<'v>> = shared.chain(rows).chain(scalars).cloned().collect();
            let statement = sql(&self.values_clause(chunk.len(), different));
            let others = values.len() - scalars.len();
            statements.push((renumbered(&statement, others), values));
            left = rest;
        }
        statements
    }
}

impl SqlConnection<'_> {
    /// Runs a statement over all rows of `relation`: one statement on PostgreSQL, a few on SQLite. `sql` gets
    /// the text of the relation for a `FROM`; `scalars` are `$1` and up. Returns the rows of all statements.
    pub(crate) async fn rows_with<const N: usize>(
        &mut self,
        relation: &Relation<'_, N>,
        scalars: &[Value<'_>],
        sql: impl Fn(&str) -> String,
    ) -> SqlResult<Vec<DatabaseRow>> {
        let mut found = Vec::new();
        for (statement, values) in relation.statements(self.dialect(), scalars, sql) {
            found.append(&mut self.rows(statement, &values).await?);
        }
        Ok(found)
    }

    /// Prepares the statement of [`commit_with`](Self::commit_with) on a new connection.
    pub(crate) async fn prepare<const N: usize>(
        &mut self,
        name: &str,
        relation: &Relation<'_, N>,
        sql: impl Fn(&str) -> String,
    ) -> SqlResult<()> {
        if let Self::Postgres(connection) = self {
            let statement = format!("PREPARE {name} {}", relation.definition(sql));
            let statement = sqlx::raw_sql(AssertSqlSafe(statement));
            statement.execute(&mut **connection).await?;
        }
        Ok(())
    }

    /// Runs the statement `sql`, which is prepared on PostgreSQL under its `name`, over all rows of
    /// `relation`, and commits the transaction. Both take one round trip; a second one would cost as much
    /// again.
    pub(crate) async fn commit_with<const N: usize>(
        &mut self,
        name: &str,
        relation: &Relation<'_, N>,
        sql: impl Fn(&str) -> String,
    ) -> SqlResult<()> {
        match self {
            Self::Sqlite(_) => {
                let mut statements = relation.statements(Dialect::Sqlite, &[], sql);
                match statements.last_mut() {
                    Some((last, _)) => last.push_str("; COMMIT"),
                    None => statements.push(("COMMIT".to_owned(), Vec::new())),
                }
                for (statement, values) in statements {
                    self.execute(statement, &values).await?;
                }
            }
            Self::Postgres(connection) => {
                // Several statements in one round trip take no parameters.
                let statement = match relation.is_empty() {
                    true => "COMMIT".to_owned(),
                    false => format!("EXECUTE {name} {}; COMMIT", relation.arguments()),
                };
                let statement = sqlx::raw_sql(AssertSqlSafe(statement));
                statement.execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// As [`rows_with`](Self::rows_with), but returns how many rows the statements changed.
    pub(crate) async fn execute_with<const N: usize>(
        &mut self,
        relation: &Relation<'_, N>,
        scalars: &[Value<'_>],
        sql: impl Fn(&str) -> String,
    ) -> SqlResult<u64> {
        let mut changed = 0;
        for (statement, values) in relation.statements(self.dialect(), scalars, sql) {
            changed += self.execute(statement, &values).await?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_takes_few_distinct_statements() {
        let mut left = 1000;
        let mut sizes = Vec::new();
        while left > 0 {
            sizes.push(chunk_size(left, 17));
            left -= chunk_size(left, 17);
        }
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        sizes.dedup();
        assert_eq!(sizes, [64, 32, 8]);
        assert_eq!([chunk_size(1000, 1), chunk_size(1000, 4)], [256, 256]);
    }

    #[test]
    fn a_relation_is_spelled_for_either_database() {
        let mut relation = Relation::new([("id", ColumnType::Bytes), ("n", ColumnType::Int)]);
        relation.push([Value::Bytes(None), 1.into()]);
        relation.push([Value::Bytes(None), 2.into()]);
        assert_eq!(
            relation.values_clause(2, 2),
            "(SELECT column1 AS id, column2 AS n FROM (VALUES (?, ?), (?, ?))) AS u"
        );
        assert_eq!(
            renumbered("SELECT $2, $1 FROM (VALUES (?, ?)) WHERE a = $12", 2),
            "SELECT $4, $3 FROM (VALUES (?, ?)) WHERE a = $14"
        );
        assert_eq!(
            relation.unnest_clause(3, relation.differing_columns()),
            "unnest($3::bytea[], $4::bigint[]) AS u(id, n)"
        );
    }

    #[test]
    fn what_all_rows_share_is_said_once() {
        let mut relation =
            Relation::sharing(1, [("id", ColumnType::Int), ("name", ColumnType::Text)]);
        relation.push([1.into(), "a".into()]);
        relation.push([2.into(), "a".into()]);
        assert_eq!(
            relation.unnest_clause(3, relation.differing_columns()),
            "(SELECT *, $4::text AS name FROM unnest($3::bigint[]) AS u(id)) AS u"
        );
        assert_eq!(
            relation.values_clause(2, 1),
            "(SELECT column1 AS id, ? AS name FROM (VALUES (?), (?))) AS u"
        );
        let (statement, values) = relation
            .statements(Dialect::Sqlite, &[7.into()], |u| {
                format!("SELECT $1 FROM {u}")
            })
            .remove(0);
        assert!(statement.starts_with("SELECT $4 FROM"), "{statement}");
        assert_eq!(values, ["a".into(), 1.into(), 2.into(), 7.into()]);
        let ids = Value::Ints(vec![Some(1), Some(2)]);
        assert_eq!(
            relation.columns(relation.differing_columns()),
            [ids, "a".into()]
        );
        relation.push([3.into(), "b".into()]);
        assert_eq!(relation.differing_columns(), 2);
    }

    #[test]
    fn what_is_written_out_is_never_read_as_sql() {
        let mut relation = Relation::new([("id", ColumnType::Int), ("name", ColumnType::Text)]);
        relation.push([(-1).into(), "o'b\\; --".into()]);
        relation.push([2.into(), "".into()]);
        assert_eq!(
            relation.arguments(),
            "(ARRAY[-1, 2]::bigint[], ARRAY[convert_from(decode('6f27625c3b202d2d', 'hex'), 'UTF8'), \
             convert_from(decode('', 'hex'), 'UTF8')]::text[])"
        );
        assert_eq!(
            relation.definition(|u| format!("SELECT * FROM {u}")),
            "(bigint[], text[]) AS SELECT * FROM unnest($1::bigint[], $2::text[]) AS u(id, name)"
        );
    }
}
