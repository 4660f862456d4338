//! Static names, and their changes in the order in which they were made.
//!
//! Every change takes the next revision, whose row stays locked until the change is committed. So a reader
//! that has seen a revision has seen all before it.

use super::{
    model::{NameChangeOutcome, NameChanges, StaticName},
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// For how many revisions the removal of a name is remembered.
const REMEMBERED_REVISIONS: i64 = 1_000;

/// A change of a static name.
#[derive(Clone, Debug)]
pub(super) enum StoredNameChange {
    Put(StaticName),
    /// As `Put`, unless another address or a worker has the name, and one of the two registrations is
    /// exclusive.
    Register(StaticName),
    Remove(String),
}

/// Makes changes. Returns the result of each.
pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[StoredNameChange],
) -> SqlResult<Vec<NameChangeOutcome>> {
    let mut revisions = Vec::with_capacity(changes.len());
    for change in changes {
        revisions.push(change_one(transaction, change).await?);
    }
    Ok(revisions)
}

async fn change_one(
    transaction: &mut Transaction<'_>,
    change: &StoredNameChange,
) -> SqlResult<NameChangeOutcome> {
    let (name, entry) = match change {
        StoredNameChange::Put(entry) | StoredNameChange::Register(entry) => {
            let json = serde_json::to_string(entry);
            let json = json.map_err(|error| sqlx::Error::Encode(error.into()))?;
            (entry.name.as_str(), Some(json))
        }
        StoredNameChange::Remove(name) => (name.as_str(), None),
    };
    let revision = super::next_number(transaction, "static_names").await?;
    let known = "SELECT entry FROM static_names WHERE name = $1";
    let known = transaction.sql.row(known, &[name.into()]).await?;
    let known = known.map(|row| row.optional_text(0)).transpose()?.flatten();
    if known == entry {
        return Ok(NameChangeOutcome::Unchanged);
    }
    if let (StoredNameChange::Register(_), None) = (change, &known) {
        // The counter of static names is locked already. There is no deadlock: claims of exclusive names lock
        // only their own counter, and read this table.
        super::exclusive_names::lock(transaction).await?;
        if let Some(holder) = super::exclusive_names::holder(transaction, name).await? {
            return Ok(NameChangeOutcome::Taken(holder));
        }
    }
    if let (StoredNameChange::Register(wanted), Some(known)) = (change, &known) {
        let known: StaticName =
            serde_json::from_str(known).map_err(|error| sqlx::Error::Decode(error.into()))?;
        if known.uri != wanted.uri && (known.exclusive || wanted.exclusive) {
            return Ok(NameChangeOutcome::Taken(known.uri));
        }
    }
    transaction
        .sql
        .execute(
            "INSERT INTO static_names (name, entry, revision) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET entry = excluded.entry, revision = excluded.revision",
            &[name.into(), entry.as_deref().into(), revision.into()],
        )
        .await?;
    forget_removed(transaction, revision.saturating_sub(REMEMBERED_REVISIONS)).await?;
    transaction.effects.names = true;
    Ok(NameChangeOutcome::Changed(revision))
}

async fn forget_removed(transaction: &mut Transaction<'_>, floor: i64) -> SqlResult<()> {
    if floor <= 0 {
        return Ok(());
    }
    let sql = "DELETE FROM static_names WHERE entry IS NULL AND revision <= $1";
    if transaction.sql.execute(sql, &[floor.into()]).await? > 0 {
        let sql = "UPDATE counters SET value = $1 WHERE name = 'static_names_floor'";
        transaction.sql.execute(sql, &[floor.into()]).await?;
    }
    Ok(())
}

/// The changes after a revision; 0 asks for all names.
pub(super) async fn changes(sql: &mut SqlConnection<'_>, after: i64) -> SqlResult<NameChanges> {
    // One statement, so that the floor is consistent with the rows.
    let statement = "SELECT c.value, n.name, n.entry, n.revision FROM counters c LEFT JOIN \
                     static_names n ON n.revision > $1 OR $1 < c.value \
                     WHERE c.name = 'static_names_floor' ORDER BY n.revision";
    let mut changes = NameChanges {
        revision: after,
        ..NameChanges::default()
    };
    for row in sql.rows(statement, &[after.into()]).await? {
        changes.reset = after == 0 || after < row.int(0)?;
        let Some(revision) = row.optional_int(3)? else {
            continue;
        };
        changes.revision = changes.revision.max(revision);
        match row.optional_text(2)? {
            Some(entry) => {
                let entry = serde_json::from_str(&entry);
                changes
                    .put
                    .push(entry.map_err(|error| sqlx::Error::Decode(error.into()))?);
            }
            None => changes.removed.push(row.text(1)?),
        }
    }
    if changes.reset {
        changes.removed.clear();
    }
    Ok(changes)
}
