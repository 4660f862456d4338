//! The keys of entries: they make it safe to repeat an append.
//!
//! Keys are looked up before their topic is locked. If another transaction inserts one in between, the table
//! refuses the duplicate, and the complete transaction runs again and finds it.

use crate::{
    clock_steps,
    model::NewStoredEntry,
    sql::{ColumnType, Relation, SqlResult},
    transaction::Transaction,
};
use std::collections::HashMap;

/// The position of an entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryPosition {
    /// The topic already has it, at this sequence.
    Known(i64),
    /// It is new, at this index among the new ones.
    New(usize),
}

/// The entries whose keys the topics already have: the sequence of each, by its index.
pub(super) async fn known(
    transaction: &mut Transaction<'_>,
    entries: &[NewStoredEntry],
) -> SqlResult<HashMap<usize, i64>> {
    let mut relation = Relation::sharing(
        2,
        [
            ("number", ColumnType::Int),
            ("key", ColumnType::Text),
            ("name", ColumnType::Text),
        ],
    );
    for (number, entry) in (0_i64..).zip(entries) {
        if let Some(key) = &entry.key {
            relation.push([
                number.into(),
                key.as_str().into(),
                entry.topic.as_str().into(),
            ]);
        }
    }
    let sql = |u: &str| {
        format!(
            // One index look-up for each key, and no plan that reads all keys of a topic.
            "SELECT number, sequence FROM (SELECT u.number, (SELECT k.sequence FROM entry_keys k \
             WHERE k.topic = (SELECT t.id FROM topics t WHERE t.name = u.name) AND k.key = u.key) \
             AS sequence FROM {u}) AS looked_up WHERE sequence IS NOT NULL"
        )
    };
    let rows = transaction.sql.rows_with(&relation, &[], sql).await?;
    let mut known = HashMap::new();
    for row in &rows {
        let number = usize::try_from(row.int(0)?).unwrap_or(usize::MAX);
        known.insert(number, row.int(1)?);
    }
    Ok(known)
}

/// The entries to add, and the position of every entry of the batch.
pub(super) fn split<'e>(
    entries: &'e [NewStoredEntry],
    known: &HashMap<usize, i64>,
) -> (Vec<&'e NewStoredEntry>, Vec<EntryPosition>) {
    let mut new: Vec<&NewStoredEntry> = Vec::with_capacity(entries.len());
    let mut by_key: HashMap<(&str, &str), EntryPosition> = HashMap::new();
    let mut places = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let mut place = || {
            new.push(entry);
            EntryPosition::New(new.len() - 1)
        };
        places.push(match (known.get(&number), &entry.key) {
            (Some(sequence), _) => EntryPosition::Known(*sequence),
            (None, None) => place(),
            // One batch may have the same key twice, from callers that do not know of each other.
            (None, Some(key)) => *by_key.entry((&entry.topic, key)).or_insert_with(place),
        });
    }
    (new, places)
}

/// How many keys one call deletes at most, so that no transaction takes long.
const MAX_FORGOTTEN_KEYS: i64 = 5000;

/// Deletes keys older than each of these ages, in milliseconds. Returns how many; if it is not 0, there may
/// be more.
pub(crate) async fn forget(transaction: &mut Transaction<'_>, ages: &[i64]) -> SqlResult<Vec<u64>> {
    let mut forgotten = Vec::with_capacity(ages.len());
    for age in ages {
        let before = clock_steps::before(transaction, *age).await?;
        let sql = format!(
            "DELETE FROM entry_keys WHERE (topic, key) IN \
             (SELECT topic, key FROM entry_keys WHERE at < $1 ORDER BY at LIMIT {MAX_FORGOTTEN_KEYS})"
        );
        forgotten.push(transaction.sql.execute(sql, &[before.into()]).await?);
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(topic: &str, key: Option<&str>) -> NewStoredEntry {
        NewStoredEntry {
            topic: topic.to_owned(),
            key: key.map(str::to_owned),
            body: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_new_once_in_each_topic() {
        let entries = [
            entry("a", Some("1")),
            entry("a", Some("2")),
            entry("b", Some("2")),
            entry("a", Some("2")),
            entry("a", None),
            entry("a", None),
        ];
        let (new, places) = split(&entries, &HashMap::from([(0, 7)]));
        assert_eq!(new.len(), 4);
        assert_eq!(
            places,
            [
                EntryPosition::Known(7),
                EntryPosition::New(0),
                EntryPosition::New(1),
                EntryPosition::New(0),
                EntryPosition::New(2),
                EntryPosition::New(3),
            ]
        );
    }
}
