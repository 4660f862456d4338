//! Many rows as the input of one statement.

use super::{Connection, Row, SqlResult, Value};
use std::fmt::Write as _;

/// The type of a column.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Kind {
    Int,
    Text,
    Bytes,
}

impl Kind {
    fn array(self) -> &'static str {
        match self {
            Self::Int => "bigint[]",
            Self::Text => "text[]",
            Self::Bytes => "bytea[]",
        }
    }
}

/// Rows that a statement can read as if they were a table called `u`.
#[derive(Debug)]
pub(in crate::store) struct Relation<'a, const N: usize> {
    columns: [(&'static str, Kind); N],
    rows: Vec<[Value<'a>; N]>,
}

/// On SQLite a statement takes at most this many rows. A power of two: see [`chunk_size`].
const MOST_ROWS: usize = 64;

/// Every number of rows is another statement to prepare. With powers of two there are few of them.
fn chunk_size(left: usize) -> usize {
    let most = left.min(MOST_ROWS);
    1 << most.checked_ilog2().unwrap_or(0)
}

impl<'a, const N: usize> Relation<'a, N> {
    pub(in crate::store) fn new(columns: [(&'static str, Kind); N]) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    pub(in crate::store) fn push(&mut self, row: [Value<'a>; N]) {
        self.rows.push(row);
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `(SELECT column1 AS id, … FROM (VALUES (?, …), …)) AS u`
    ///
    /// They have no numbers, because the driver looks up the name of each parameter that has one,
    /// and SQLite looks through all of them for that.
    fn spelled_out(&self, rows: usize) -> String {
        let mut sql = String::from("(SELECT ");
        for (index, (name, _)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a string cannot fail, here and below.
            let _ = write!(sql, "{comma}column{} AS {name}", index + 1);
        }
        sql.push_str(" FROM (VALUES ");
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { "), (" });
            for column in 0..N {
                sql.push_str(if column == 0 { "?" } else { ", ?" });
            }
        }
        sql.push_str("))) AS u");
        sql
    }

    /// `unnest($3::bigint[], …) AS u(id, …)`
    fn unnested(&self, first: usize) -> String {
        let mut sql = String::from("unnest(");
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}${}::{}", first + index, kind.array());
        }
        sql.push_str(") AS u(");
        for (index, (name, _)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}{name}");
        }
        sql.push(')');
        sql
    }

    fn columns(&self) -> Vec<Value<'a>> {
        let column = |index: usize, kind: Kind| {
            let values = self.rows.iter().filter_map(|row| row.get(index));
            match kind {
                Kind::Int => Value::Ints(
                    values
                        .map(|value| match value {
                            Value::Int(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
                Kind::Text => Value::Texts(
                    values
                        .map(|value| match value {
                            Value::Text(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
                Kind::Bytes => Value::Blobs(
                    values
                        .map(|value| match value {
                            Value::Bytes(value) => *value,
                            _ => None,
                        })
                        .collect(),
                ),
            }
        };
        let kinds = self.columns.iter().enumerate();
        kinds
            .map(|(index, (_, kind))| column(index, *kind))
            .collect()
    }
}

/// A statement whose `$1` is the parameter after so many others.
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

impl Connection<'_> {
    /// Runs a statement over all rows of `relation`: one statement on PostgreSQL, a few on SQLite.
    /// `sql` is given how the relation is spelled in a `FROM`; `scalars` are `$1` and up. Gives all
    /// the rows that the statements return.
    pub(in crate::store) async fn rows_with<const N: usize>(
        &mut self,
        relation: &Relation<'_, N>,
        scalars: &[Value<'_>],
        sql: impl Fn(&str) -> String,
    ) -> SqlResult<Vec<Row>> {
        let first = scalars.len() + 1;
        if relation.is_empty() {
            return Ok(Vec::new());
        }
        if let Self::Postgres(_) = self {
            let values: Vec<_> = scalars.iter().cloned().chain(relation.columns()).collect();
            return self.rows(sql(&relation.unnested(first)), &values).await;
        }
        let mut found = Vec::new();
        let mut left = relation.rows.as_slice();
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(chunk_size(left.len()));
            // Those without a number come first, in their order.
            let values: Vec<_> = chunk.iter().flatten().chain(scalars).cloned().collect();
            let statement = sql(&relation.spelled_out(chunk.len()));
            let statement = renumbered(&statement, chunk.len() * N);
            found.append(&mut self.rows(statement, &values).await?);
            left = rest;
        }
        Ok(found)
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
            sizes.push(chunk_size(left));
            left -= chunk_size(left);
        }
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        sizes.dedup();
        assert_eq!(sizes, [64, 32, 8]);
    }

    #[test]
    fn a_relation_is_spelled_for_either_database() {
        let mut relation = Relation::new([("id", Kind::Bytes), ("n", Kind::Int)]);
        relation.push([Value::Bytes(None), 1.into()]);
        relation.push([Value::Bytes(None), 2.into()]);
        assert_eq!(
            relation.spelled_out(2),
            "(SELECT column1 AS id, column2 AS n FROM (VALUES (?, ?), (?, ?))) AS u"
        );
        assert_eq!(
            renumbered("SELECT $2, $1 FROM (VALUES (?, ?)) WHERE a = $12", 2),
            "SELECT $4, $3 FROM (VALUES (?, ?)) WHERE a = $14"
        );
        assert_eq!(
            relation.unnested(3),
            "unnest($3::bytea[], $4::bigint[]) AS u(id, n)"
        );
    }
}
