//! Who was here: people, task clients and workers, with the times when they were seen first and last.

use super::{
    model::{StoredVisitor, StoredVisitorKind},
    sql::{ColumnType, Relation, SqlConnection, SqlResult},
    transaction::Transaction,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many of each kind are kept. Those that were not seen for the longest time are forgotten.
pub(super) const MAX_VISITORS: i64 = 1000;

/// Records visitors. Of their first times the earliest counts, of their last times and places the latest.
pub(super) async fn see(
    transaction: &mut Transaction<'_>,
    visitors: &[StoredVisitor],
) -> SqlResult<Vec<()>> {
    // One row for each, and all transactions take the rows in the same order.
    let mut merged: BTreeMap<(i64, &str), StoredVisitor> = BTreeMap::new();
    for visitor in visitors {
        let key = (visitor.kind as i64, visitor.name.as_str());
        let known = merged.entry(key).or_insert_with(|| visitor.clone());
        if visitor.last_seen >= known.last_seen {
            known.place.clone_from(&visitor.place);
            known.last_seen = visitor.last_seen;
        }
        known.first_seen = known.first_seen.min(visitor.first_seen);
    }
    let mut relation = Relation::new([
        ("kind", ColumnType::Int),
        ("name", ColumnType::Text),
        ("place", ColumnType::Text),
        ("first_seen", ColumnType::Int),
        ("last_seen", ColumnType::Int),
    ]);
    for ((kind, name), visitor) in &merged {
        relation.push([
            (*kind).into(),
            (*name).into(),
            visitor.place.as_str().into(),
            visitor.first_seen.into(),
            visitor.last_seen.into(),
        ]);
    }
    let sql = |u: &str| {
        format!(
            "INSERT INTO visitors (kind, name, place, first_seen, last_seen) \
             SELECT kind, name, place, first_seen, last_seen FROM {u} WHERE true \
             ON CONFLICT (kind, name) DO UPDATE SET \
             place = CASE WHEN excluded.last_seen >= visitors.last_seen \
             THEN excluded.place ELSE visitors.place END, \
             first_seen = CASE WHEN excluded.first_seen < visitors.first_seen \
             THEN excluded.first_seen ELSE visitors.first_seen END, \
             last_seen = CASE WHEN excluded.last_seen > visitors.last_seen \
             THEN excluded.last_seen ELSE visitors.last_seen END"
        )
    };
    transaction.sql.execute_with(&relation, &[], sql).await?;
    let kinds: BTreeSet<i64> = merged.keys().map(|(kind, _)| *kind).collect();
    // Rows that another name server writes now are left to it: two that waited for each other would wait for ever.
    let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
    let forget = format!(
        "DELETE FROM visitors WHERE kind = $1 AND name IN (SELECT name FROM visitors \
         WHERE kind = $1 AND last_seen < (SELECT last_seen FROM visitors WHERE kind = $1 \
         ORDER BY last_seen DESC LIMIT 1 OFFSET $2) ORDER BY name{skip_locked})"
    );
    for kind in kinds {
        let of_kind = [kind.into(), (MAX_VISITORS - 1).into()];
        transaction.sql.execute(forget.clone(), &of_kind).await?;
    }
    Ok(vec![(); visitors.len()])
}

/// All of them, those first that were seen last.
pub(super) async fn list(sql: &mut SqlConnection<'_>) -> SqlResult<Vec<StoredVisitor>> {
    let statement = "SELECT kind, name, place, first_seen, last_seen FROM \
                     (SELECT kind, name, place, first_seen, last_seen, ROW_NUMBER() OVER \
                     (PARTITION BY kind ORDER BY last_seen DESC, name) AS number FROM visitors) AS numbered \
                     WHERE number <= $1 ORDER BY last_seen DESC, kind, name";
    let rows = sql.rows(statement, &[MAX_VISITORS.into()]).await?;
    let mut visitors = Vec::with_capacity(rows.len());
    for row in rows {
        visitors.push(StoredVisitor {
            kind: StoredVisitorKind::from_number(row.int(0)?)?,
            name: row.text(1)?,
            place: row.text(2)?,
            first_seen: row.int(3)?,
            last_seen: row.int(4)?,
        });
    }
    Ok(visitors)
}
