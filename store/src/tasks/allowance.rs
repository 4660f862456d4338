//! What submitters may still add, within their allowances.

use super::usage::{self, ALL_SUBMITTERS};
use crate::{
    model::{Allowance, Quota, TaskUsage},
    sql::SqlResult,
    transaction::Transaction,
};
use std::collections::{BTreeMap, BTreeSet};

/// The rest of allowances, as a batch uses them up.
#[derive(Debug)]
pub(super) struct RemainingAllowance(BTreeMap<String, TaskUsage>);

impl RemainingAllowance {
    /// From the cached usage, if all submitters are cached.
    pub(super) fn from_cache(
        transaction: &Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> Option<Self> {
        let usage = transaction.usage_cache.of(submitters)?;
        Some(Self::within(transaction, usage))
    }

    /// From the usage in the store.
    pub(super) async fn from_store(
        transaction: &mut Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> SqlResult<Self> {
        let usage = usage::read(&mut transaction.sql, submitters).await?;
        transaction.usage_cache.insert_all(submitters, &usage);
        Ok(Self::within(transaction, usage))
    }

    /// Includes the changes of the transaction so far.
    fn within(transaction: &Transaction<'_>, mut usage: BTreeMap<String, TaskUsage>) -> Self {
        transaction.usage.add_to(&mut usage);
        Self(usage)
    }

    /// Uses more of an allowance, or returns the quota that would be exceeded.
    pub(super) fn take(
        &mut self,
        submitter: &str,
        more: TaskUsage,
        allowance: &Allowance,
    ) -> Result<(), Quota> {
        let of = |name: &str| self.0.get(name).copied().unwrap_or_default();
        let (own, all) = (of(submitter), of(ALL_SUBMITTERS));
        let exceeds =
            |used: i64, more: i64, most: i64| more > 0 && used.saturating_add(more) > most;
        let quotas = [
            (Quota::Tasks, own.tasks, more.tasks, allowance.tasks),
            (Quota::Bytes, own.bytes, more.bytes, allowance.bytes),
            (Quota::AllTasks, all.tasks, more.tasks, allowance.all_tasks),
            (Quota::AllBytes, all.bytes, more.bytes, allowance.all_bytes),
        ];
        let exceeded = quotas
            .into_iter()
            .find(|(_, used, more, most)| exceeds(*used, *more, *most));
        if let Some((quota, ..)) = exceeded {
            return Err(quota);
        }
        for name in [submitter, ALL_SUBMITTERS] {
            let usage = self.0.entry(name.to_owned()).or_default();
            usage.tasks += more.tasks;
            usage.bytes += more.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_uses_up_what_its_submitters_and_all_together_may_have() {
        let mut room = RemainingAllowance(BTreeMap::new());
        let allowance = Allowance {
            tasks: 3,
            bytes: 1000,
            all_tasks: 4,
            all_bytes: i64::MAX,
        };
        let more = |tasks, bytes| TaskUsage { tasks, bytes };
        assert_eq!(room.take("ana", more(2, 100), &allowance), Ok(()));
        assert_eq!(
            room.take("ana", more(2, 100), &allowance),
            Err(Quota::Tasks)
        );
        assert_eq!(
            room.take("ana", more(1, 901), &allowance),
            Err(Quota::Bytes)
        );
        assert_eq!(
            room.take("bob", more(3, 1), &allowance),
            Err(Quota::AllTasks)
        );
        assert_eq!(room.take("bob", more(2, 1), &allowance), Ok(()));
        // A change that needs nothing is allowed even above the allowance.
        let less = Allowance {
            tasks: 1,
            ..allowance
        };
        assert_eq!(room.take("ana", more(0, 0), &less), Ok(()));
    }
}
