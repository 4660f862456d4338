//! The limits and usage that callers may see.

use super::TicketAuthority;
use crate::limits::{Limiter, name_of};
use pyroxene_common::{
    identity::{Identity, Role},
    interfaces::access::{AccessError, LimitInUse, LimitsReport},
    limits::{Limit, UNLIMITED},
};
use pyroxene_store::{Store, StoreError, TaskUsage};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// The timeout of the store.
const USAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// What a user has in the store.
#[derive(Clone, Copy, Debug)]
struct StoreUsage {
    tasks: TaskUsage,
    schedules: i64,
}

/// Reports limits and usage.
#[derive(Clone, Debug)]
pub(crate) struct LimitsReporter {
    limiter: Arc<Limiter>,
    store: Option<Store>,
}

/// A value, unless it is unlimited.
fn bounded(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value != UNLIMITED)
}

impl LimitsReporter {
    pub(crate) fn new(limiter: Arc<Limiter>, store: Option<Store>) -> Self {
        Self { limiter, store }
    }

    /// The values of a caller's limits.
    pub(super) fn values(&self, caller: Option<&Identity>) -> Vec<(Limit, Option<u64>)> {
        let limits = self.limiter.limits_of(caller);
        let values = limits.iter();
        values
            .map(|(limit, value)| (limit, bounded(value)))
            .collect()
    }

    /// A user's limits and usage, by default the caller's own.
    pub(super) async fn report(
        &self,
        authority: Option<&TicketAuthority>,
        caller: Option<&Identity>,
        user: Option<String>,
    ) -> Result<LimitsReport, AccessError> {
        let is_admin = caller.is_none_or(|caller| caller.role == Role::Admin);
        let own = name_of(caller);
        let name = user.as_deref().unwrap_or(own);
        if name != own && !is_admin {
            return Err(AccessError::NotAdmin);
        }
        if authority.is_some() && name != own && !self.limiter.knows(name) {
            let name = name.chars().take(64).collect();
            return Err(AccessError::UnknownUser { name });
        }
        let values = match name == own {
            true => self.limiter.limits_of(caller),
            false => self.limiter.limits_of_user(name),
        };
        let stored = self.usage(name).await?;
        let in_use = |limit| {
            let of = |usage: StoreUsage| match limit {
                Limit::Tasks => u64::try_from(usage.tasks.tasks).ok(),
                Limit::TaskBytes => u64::try_from(usage.tasks.bytes).ok(),
                Limit::Schedules => u64::try_from(usage.schedules).ok(),
                _ => None,
            };
            let (used, all) = stored.map_or((None, None), |(own, all)| (of(own), of(all)));
            let is_counted = authority.is_some() || limit != Limit::Connections;
            let total_used = all.or_else(|| self.limiter.used_by_all(limit).filter(|_| is_counted));
            LimitInUse {
                limit,
                value: bounded(values.get(limit)),
                used: used.or_else(|| self.limiter.used(limit, name)),
                total: bounded(self.limiter.totals().get(limit)),
                // Only admins see the usage of all users.
                total_used: total_used.filter(|_| is_admin),
            }
        };
        Ok(LimitsReport {
            user: Some(name.to_owned()).filter(|name| !name.is_empty()),
            limits: Limit::ALL.map(in_use).to_vec(),
        })
    }

    async fn usage(&self, name: &str) -> Result<Option<(StoreUsage, StoreUsage)>, AccessError> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let asking = async {
            let (tasks, schedules) = (store.usage(name).await?, store.schedule_counts(name).await?);
            let usage = |tasks, schedules| StoreUsage { tasks, schedules };
            Ok::<_, StoreError>((usage(tasks.0, schedules.0), usage(tasks.1, schedules.1)))
        };
        match timeout(USAGE_TIMEOUT, Box::pin(asking)).await {
            Ok(Ok(usage)) => Ok(Some(usage)),
            Ok(Err(error)) => Err(AccessError::Unavailable(error.to_string())),
            Err(_) => Err(AccessError::Unavailable(
                "the store does not answer".to_owned(),
            )),
        }
    }
}
