//! Topics: ordered logs.
//!
//! The row of a topic has its newest sequence. It is locked from when a sequence is taken until the entries
//! are committed. So sequences become visible in their order and without gaps: a reader of sequence `n` has
//! been able to read everything before it.

mod keys;

pub(super) use keys::forget as forget_keys;

use super::{
    clock_steps,
    model::{NewStoredEntry, StoredEntries, StoredEntry, StoredRetention, StoredTopic},
    sql::{ColumnType, DatabaseRow, Relation, SqlConnection, SqlResult, Value},
    transaction::Transaction,
};
use keys::EntryPosition;
use std::collections::BTreeMap;

/// Appends. Returns the sequence of each entry.
pub(super) async fn append(
    transaction: &mut Transaction<'_>,
    entries: &[NewStoredEntry],
) -> SqlResult<Vec<i64>> {
    let known = keys::known(transaction, entries).await?;
    let (new, places) = keys::split(entries, &known);
    let appended = append_new(transaction, &new).await?;
    let sequence = |place: EntryPosition| match place {
        EntryPosition::Known(sequence) => Some(sequence),
        EntryPosition::New(index) => appended.get(index).copied(),
    };
    let sequences: Option<Vec<i64>> = places.into_iter().map(sequence).collect();
    sequences.ok_or(sqlx::Error::RowNotFound)
}

/// Appends entries with keys that the topics do not have.
async fn append_new(
    transaction: &mut Transaction<'_>,
    entries: &[&NewStoredEntry],
) -> SqlResult<Vec<i64>> {
    let mut next = lengthen(transaction, entries).await?;
    let mut relation = Relation::sharing(
        2,
        [
            ("sequence", ColumnType::Int),
            ("body", ColumnType::Bytes),
            ("topic", ColumnType::Int),
            ("size", ColumnType::Int),
        ],
    );
    let mut keys = Relation::sharing(
        2,
        [
            ("key", ColumnType::Text),
            ("sequence", ColumnType::Int),
            ("topic", ColumnType::Int),
        ],
    );
    let mut sequences = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((topic, sequence)) = next.get_mut(entry.topic.as_str()) else {
            return Err(sqlx::Error::RowNotFound);
        };
        relation.push([
            (*sequence).into(),
            entry.body.as_slice().into(),
            (*topic).into(),
            size(&entry.body).into(),
        ]);
        if let Some(key) = &entry.key {
            keys.push([key.as_str().into(), (*sequence).into(), (*topic).into()]);
        }
        sequences.push(*sequence);
        *sequence += 1;
    }
    let insert_entries = |u: &str| {
        format!(
            "INSERT INTO entries (topic, sequence, at, size, body) \
             SELECT topic, sequence, $1, size, body FROM {u}"
        )
    };
    let insert_keys = |u: &str| {
        format!(
            "INSERT INTO entry_keys (topic, key, sequence, at) \
             SELECT topic, key, sequence, $1 FROM {u}"
        )
    };
    let now = [transaction.now.into()];
    let sql = &mut transaction.sql;
    sql.rows_with(&relation, &now, insert_entries).await?;
    sql.rows_with(&keys, &now, insert_keys).await?;
    Ok(sequences)
}

fn size(body: &[u8]) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// Takes sequences. Returns for each topic its id and the first sequence that was taken.
async fn lengthen<'a>(
    transaction: &mut Transaction<'_>,
    entries: &[&'a NewStoredEntry],
) -> SqlResult<BTreeMap<&'a str, (i64, i64)>> {
    let mut growth: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for entry in entries {
        let (count, bytes) = growth.entry(&entry.topic).or_default();
        *count += 1;
        *bytes += size(&entry.body);
    }
    // In the order of their names, so that no two transactions wait for each other.
    let mut relation = Relation::new([
        ("name", ColumnType::Text),
        ("count", ColumnType::Int),
        ("bytes", ColumnType::Int),
    ]);
    for (name, (count, bytes)) in &growth {
        relation.push([(*name).into(), (*count).into(), (*bytes).into()]);
        transaction.effects.topics.insert((*name).to_owned());
    }
    let sql = |u: &str| {
        format!(
            "INSERT INTO topics (name, first, head, bytes) \
             SELECT name, 1, count, bytes FROM {u} WHERE true \
             ON CONFLICT (name) DO UPDATE SET head = topics.head + excluded.head, \
             bytes = topics.bytes + excluded.bytes RETURNING id, name, head"
        )
    };
    let mut next = BTreeMap::new();
    for row in transaction.sql.rows_with(&relation, &[], sql).await? {
        let name = row.text(1)?;
        if let Some((name, (count, _))) = growth.get_key_value(name.as_str()) {
            next.insert(*name, (row.int(0)?, row.int(2)? - count + 1));
        }
    }
    Ok(next)
}

/// The entries after a sequence: at most `limit`, and no more than fit into `bytes`, but at least
/// one if there is one. `None` if there is no such topic.
pub(super) async fn read(
    sql: &mut SqlConnection<'_>,
    topic: &str,
    after: i64,
    limit: u32,
    bytes: i64,
) -> SqlResult<Option<StoredEntries>> {
    // One statement, so that the entries are consistent with the row of the topic.
    let statement = "SELECT t.first, t.head, e.sequence, e.at, e.body FROM topics t LEFT JOIN (\
         SELECT topic, sequence, at, body, CAST(sum(size) OVER (ORDER BY sequence) - size AS BIGINT) \
         AS before FROM (SELECT topic, sequence, at, size, body FROM entries \
         WHERE topic = (SELECT id FROM topics WHERE name = $1) AND sequence > $2 \
         ORDER BY sequence LIMIT $3) AS page) AS e ON e.topic = t.id AND e.before < $4 \
         WHERE t.name = $1 ORDER BY e.sequence";
    let values: [Value<'_>; 4] = [
        topic.into(),
        after.into(),
        i64::from(limit).into(),
        bytes.into(),
    ];
    let mut found = None;
    for row in sql.rows(statement, &values).await? {
        let entries = found.get_or_insert(StoredEntries {
            first: row.int(0)?,
            head: row.int(1)?,
            entries: Vec::new(),
        });
        if let Some(sequence) = row.optional_int(2)? {
            let (at, body) = (row.int(3)?, row.bytes(4)?);
            entries.entries.push(StoredEntry { sequence, at, body });
        }
    }
    Ok(found)
}

/// The result of [`read`] for the same parameters, but without the entries, and the number of bytes that
/// these take: 0 if there are none. `None` if there is no such topic.
pub(super) async fn measure(
    sql: &mut SqlConnection<'_>,
    topic: &str,
    after: i64,
    limit: u32,
    bytes: i64,
) -> SqlResult<Option<(StoredEntries, i64)>> {
    // An entry takes more bytes than its body.
    let statement = "SELECT t.first, t.head, (SELECT CAST(coalesce(sum(size + 100), 0) AS BIGINT) \
         FROM (SELECT size, CAST(sum(size) OVER (ORDER BY sequence) - size AS BIGINT) AS before \
         FROM (SELECT sequence, size FROM entries WHERE topic = t.id AND sequence > $2 \
         ORDER BY sequence LIMIT $3) AS page) AS e WHERE before < $4) \
         FROM topics t WHERE t.name = $1";
    let values: [Value<'_>; 4] = [
        topic.into(),
        after.into(),
        i64::from(limit).into(),
        bytes.into(),
    ];
    let Some(row) = sql.row(statement, &values).await? else {
        return Ok(None);
    };
    let entries = StoredEntries {
        first: row.int(0)?,
        head: row.int(1)?,
        entries: Vec::new(),
    };
    Ok(Some((entries, row.int(2)?)))
}

/// Which of these topics have grown beyond a sequence: the name and the newest sequence.
pub(super) async fn grown(
    sql: &mut SqlConnection<'_>,
    topics: &[(String, i64)],
) -> SqlResult<Vec<(String, i64)>> {
    let mut relation = Relation::new([("name", ColumnType::Text), ("after", ColumnType::Int)]);
    for (name, after) in topics {
        relation.push([name.as_str().into(), (*after).into()]);
    }
    let dialect = sql.dialect();
    let statement = |u: &str| {
        let looked_up = dialect.lookup_join(u, "topics", "name");
        format!("SELECT t.name, t.head FROM {looked_up} AND t.head > u.after")
    };
    let rows = sql.rows_with(&relation, &[], statement).await?;
    rows.iter()
        .map(|row| Ok((row.text(0)?, row.int(1)?)))
        .collect()
}

const COLUMNS: &str = "name, first, head, bytes, keep_age, keep_bytes, \
    (SELECT at FROM entries e WHERE e.topic = topics.id ORDER BY e.sequence LIMIT 1)";

fn read_topic(row: &DatabaseRow) -> SqlResult<StoredTopic> {
    Ok(StoredTopic {
        name: row.text(0)?,
        first: row.int(1)?,
        head: row.int(2)?,
        bytes: row.int(3)?,
        retention: StoredRetention {
            age: row.optional_int(4)?,
            bytes: row.optional_int(5)?,
        },
        oldest: row.optional_int(6)?,
    })
}

/// The topic of a name.
pub(super) async fn find(
    sql: &mut SqlConnection<'_>,
    name: &str,
) -> SqlResult<Option<StoredTopic>> {
    let statement = format!("SELECT {COLUMNS} FROM topics WHERE name = $1");
    let row = sql.row(statement, &[name.into()]).await?;
    row.as_ref().map(read_topic).transpose()
}

/// Topics after the name `after`, in the order of names.
pub(super) async fn list(
    sql: &mut SqlConnection<'_>,
    after: &str,
    limit: u32,
) -> SqlResult<Vec<StoredTopic>> {
    let statement = format!("SELECT {COLUMNS} FROM topics WHERE name > $1 ORDER BY name LIMIT $2");
    let values = [after.into(), i64::from(limit).into()];
    let rows = sql.rows(statement, &values).await?;
    rows.iter().map(read_topic).collect()
}

/// Sets the retention of topics. Creates a topic that does not exist, without entries.
pub(super) async fn configure(
    transaction: &mut Transaction<'_>,
    asked: &[(String, StoredRetention)],
) -> SqlResult<Vec<()>> {
    for (name, retention) in asked {
        transaction
            .sql
            .execute(
                "INSERT INTO topics (name, first, head, bytes, keep_age, keep_bytes) \
                 VALUES ($1, 1, 0, 0, $2, $3) ON CONFLICT (name) DO UPDATE SET \
                 keep_age = excluded.keep_age, keep_bytes = excluded.keep_bytes",
                &[
                    name.as_str().into(),
                    retention.age.into(),
                    retention.bytes.into(),
                ],
            )
            .await?;
    }
    Ok(vec![(); asked.len()])
}

/// How many entries one trim removes at most, so that no transaction takes long.
const MAX_PER_TRIM: i64 = 1000;

/// Removes the entries that exceed the retention of topics. The given retention fills in for limits that a
/// topic does not set. Returns how many entries were removed; if it is not 0, there may be more.
pub(super) async fn trim(
    transaction: &mut Transaction<'_>,
    asked: &[(String, StoredRetention)],
) -> SqlResult<Vec<u64>> {
    let mut removed = Vec::with_capacity(asked.len());
    for (name, default) in asked {
        removed.push(trim_one(transaction, name, *default).await?);
    }
    Ok(removed)
}

async fn trim_one(
    transaction: &mut Transaction<'_>,
    name: &str,
    default: StoredRetention,
) -> SqlResult<u64> {
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!("SELECT {COLUMNS}, id FROM topics WHERE name = $1{locking}");
    let Some(row) = transaction.sql.row(sql, &[name.into()]).await? else {
        return Ok(0);
    };
    let (topic, id) = (read_topic(&row)?, row.int(7)?);
    let sql = format!(
        "SELECT sequence, at, size FROM entries WHERE topic = $1 ORDER BY sequence LIMIT {MAX_PER_TRIM}"
    );
    let rows = transaction.sql.rows(sql, &[id.into()]).await?;
    let oldest = rows
        .iter()
        .map(|row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)))
        .collect::<SqlResult<Vec<_>>>()?;
    let retention = topic.retention.or(default);
    let before = match retention.age {
        Some(age) => Some(clock_steps::before(transaction, age).await?),
        None => None,
    };
    let (count, bytes) = too_many(&oldest, topic.bytes, retention.bytes, before);
    let Some((last, _, _)) = count.checked_sub(1).and_then(|last| oldest.get(last)) else {
        return Ok(0);
    };
    let sql = "DELETE FROM entries WHERE topic = $1 AND sequence <= $2";
    let values = [id.into(), (*last).into()];
    transaction.sql.execute(sql, &values).await?;
    let sql = "UPDATE topics SET first = $2, bytes = bytes - $3 WHERE id = $1";
    let values = [id.into(), (last + 1).into(), bytes.into()];
    transaction.sql.execute(sql, &values).await?;
    Ok(count as u64)
}

/// How many of the oldest entries (sequence, time, size) exceed the retention, and their size: those dated
/// before `before`, and those above `keep_bytes`.
fn too_many(
    oldest: &[(i64, i64, i64)],
    bytes: i64,
    keep_bytes: Option<i64>,
    before: Option<i64>,
) -> (usize, i64) {
    let mut removed = 0;
    let expired = |at: i64| before.is_some_and(|before| at < before);
    let too_large = |left: i64| keep_bytes.is_some_and(|most| left > most);
    for (count, (_, at, size)) in oldest.iter().enumerate() {
        if !expired(*at) && !too_large(bytes - removed) {
            return (count, removed);
        }
        removed += size;
    }
    (oldest.len(), removed)
}

/// Removes topics with all entries. Returns for each whether it existed.
pub(super) async fn remove(
    transaction: &mut Transaction<'_>,
    names: &[String],
) -> SqlResult<Vec<bool>> {
    let mut removed = Vec::with_capacity(names.len());
    for name in names {
        let sql = "DELETE FROM topics WHERE name = $1 RETURNING id";
        let row = transaction.sql.row(sql, &[name.as_str().into()]).await?;
        if let Some(row) = &row {
            let id = row.int(0)?;
            for sql in [
                "DELETE FROM entries WHERE topic = $1",
                "DELETE FROM entry_keys WHERE topic = $1",
            ] {
                transaction.sql.execute(sql, &[id.into()]).await?;
            }
            transaction.effects.topics.insert(name.clone());
        }
        removed.push(row.is_some());
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDEST: [(i64, i64, i64); 4] = [(1, 100, 10), (2, 200, 10), (3, 300, 10), (4, 400, 10)];

    #[test]
    fn age_and_size_each_decide() {
        let keep =
            |age: Option<i64>, bytes| too_many(&OLDEST, 40, bytes, age.map(|age| 1000 - age));
        assert_eq!(keep(None, None), (0, 0));
        assert_eq!(keep(Some(700), None), (2, 20));
        assert_eq!(keep(None, Some(25)), (2, 20));
        assert_eq!(keep(None, Some(30)), (1, 10));
        assert_eq!(keep(Some(700), Some(5)), (4, 40));
    }
}
