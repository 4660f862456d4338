//! The limits of users of this name server, and their usage.
//!
//! - [`Limiter`] knows the limits of every user: the defaults, the command line's values, and the values in
//!   the users file.
//! - `gauges` counts what a user holds at a time, such as waiting calls.
//! - `connections` counts authenticated connections.
//! - `rates` counts what a user does per time, such as entries that are added to topics.
//!
//! Gauges and rates count at this name server only. The tasks and bytes of a user in the store are counted
//! there ([`Usage`](pyroxene_store::Usage)), over all name servers.

mod connections;
mod gauges;
mod rates;

pub(crate) use connections::Connections;
pub(crate) use gauges::Held;

use crate::users::Users;
use arc_swap::ArcSwap;
use gauges::Gauges;
use pyroxene_common::access::{
    Class, Exceeded, Identity, Limit, LimitOverrides, Limits, Role, UNLIMITED, Whose,
};
use pyroxene_store::Allowance;
use rates::Rates;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// The name under which all callers are counted without authentication.
const ANONYMOUS: &str = "";

/// The name under which all callers are counted together. No user can have it.
const EVERYBODY: &str = "*";

/// Knows the limits of every user, and their usage at this name server.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The command line's limits of every user.
    defaults: LimitOverrides,
    totals: Limits,
    users: ArcSwap<HashMap<String, (Role, LimitOverrides)>>,
    gauges: Mutex<Gauges>,
    rates: Mutex<Rates>,
}

impl Default for Limiter {
    /// With the default limits.
    fn default() -> Self {
        Self::new(LimitOverrides::default(), &LimitOverrides::default())
    }
}

impl Limiter {
    /// With limits for every user and for all users together, in the place of the defaults.
    pub(crate) fn new(defaults: LimitOverrides, totals: &LimitOverrides) -> Self {
        Self {
            defaults,
            totals: Limits::of(Class::Total).with(totals),
            users: ArcSwap::default(),
            gauges: Mutex::default(),
            rates: Mutex::default(),
        }
    }

    /// Takes over the limits of a users file.
    pub(crate) fn learn(&self, users: &Users) {
        let known = users.iter().map(|(name, user)| {
            let limits = (user.role(), user.limits().clone());
            (name.to_owned(), limits)
        });
        self.users.store(Arc::new(known.collect()));
    }

    fn limits(&self, class: Class, name: &str) -> Limits {
        let limits = Limits::of(class).with(&self.defaults);
        match self.users.load().get(name) {
            Some((_, overrides)) => limits.with(overrides),
            None => limits,
        }
    }

    /// The limits of a caller.
    pub(crate) fn of(&self, caller: Option<&Identity>) -> Limits {
        self.limits(Class::of(caller), name_of(caller))
    }

    /// The limits of the submitter of a task, by name. A name that is not in the users file has the limits of
    /// a user.
    pub(crate) fn of_name(&self, name: &str) -> Limits {
        let class = class_of(name, self.users.load().get(name));
        self.limits(class, name)
    }

    /// One limit of the submitter of a task, as in [`of_name`](Self::of_name).
    pub(crate) fn one_of_name(&self, name: &str, limit: Limit) -> u64 {
        let users = self.users.load();
        let known = users.get(name);
        let said = known.and_then(|(_, overrides)| overrides.get(limit));
        let said = said.or_else(|| self.defaults.get(limit));
        said.unwrap_or_else(|| limit.default_for(class_of(name, known)))
    }

    /// Whether the users file has a user of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.users.load().contains_key(name)
    }

    /// The limits of all users together.
    pub(crate) fn totals(&self) -> &Limits {
        &self.totals
    }

    /// The store's quotas for a caller's submissions.
    pub(crate) fn allowance(&self, caller: Option<&Identity>) -> Allowance {
        let own = self.of(caller);
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Allowance {
            tasks: signed(own.get(Limit::Tasks)),
            bytes: signed(own.get(Limit::TaskBytes)),
            all_tasks: signed(self.totals.get(Limit::Tasks)),
            all_bytes: signed(self.totals.get(Limit::TaskBytes)),
        }
    }

    /// The error of a caller that would exceed a limit of its own.
    pub(crate) fn exceeded(&self, caller: Option<&Identity>, limit: Limit) -> Exceeded {
        Exceeded {
            limit,
            value: self.of(caller).get(limit),
            user: whose(caller),
        }
    }

    /// The error of a caller where all users together would exceed a limit.
    pub(crate) fn exceeded_by_all(&self, limit: Limit) -> Exceeded {
        Exceeded {
            limit,
            value: self.totals.get(limit),
            user: Whose::Everybody,
        }
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        // The counters stay consistent even if a thread that held the lock panicked.
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one unit of a limit until the returned value is dropped.
    pub(crate) fn hold(
        self: &Arc<Self>,
        caller: Option<&Identity>,
        limit: Limit,
    ) -> Result<Held, Exceeded> {
        let most = self.of(caller).get(limit);
        let most_of_all = self.totals.get(limit);
        let name = name_of(caller);
        let mut gauges = self.gauges();
        if gauges.of(limit, EVERYBODY) >= most_of_all {
            return Err(self.exceeded_by_all(limit));
        }
        if gauges.of(limit, name) >= most {
            return Err(self.exceeded(caller, limit));
        }
        gauges.add(limit, name);
        gauges.add(limit, EVERYBODY);
        Ok(Held::new(Arc::clone(self), limit, name))
    }

    fn release(&self, limit: Limit, name: &str) {
        let mut gauges = self.gauges();
        gauges.remove(limit, name);
        gauges.remove(limit, EVERYBODY);
    }

    /// Takes an amount from each of these rate limits: from all of them, or from none.
    pub(crate) fn spend(
        &self,
        caller: Option<&Identity>,
        amounts: &[(Limit, u64)],
    ) -> Result<(), Exceeded> {
        self.spend_as(name_of(caller), &self.of(caller), whose(caller), amounts)
    }

    /// As [`spend`](Self::spend), for a user on whose behalf another caller calls. The name is empty for an
    /// unauthenticated user.
    pub(crate) fn spend_for(&self, name: &str, amounts: &[(Limit, u64)]) -> Result<(), Exceeded> {
        let whose = match name {
            ANONYMOUS => Whose::Anonymous,
            name => Whose::User(name.to_owned()),
        };
        self.spend_as(name, &self.of_name(name), whose, amounts)
    }

    fn spend_as(
        &self,
        name: &str,
        limits: &Limits,
        user: Whose,
        amounts: &[(Limit, u64)],
    ) -> Result<(), Exceeded> {
        let own = amounts.iter().map(|(limit, amount)| {
            let exceeded = Exceeded {
                limit: *limit,
                value: limits.get(*limit),
                user: user.clone(),
            };
            (name, *amount, exceeded)
        });
        let all = amounts.iter().map(|(limit, amount)| {
            let exceeded = self.exceeded_by_all(*limit);
            (EVERYBODY, *amount, exceeded)
        });
        let asked: Vec<_> = own
            .chain(all)
            .filter(|(.., exceeded)| exceeded.value != UNLIMITED)
            .collect();
        self.rates().spend(asked, Instant::now())
    }

    /// How much of a limit a user holds here; none if the limit is not counted here.
    pub(crate) fn used(&self, limit: Limit, name: &str) -> Option<u64> {
        let is_counted = match limit {
            Limit::Polls | Limit::Watches => true,
            // The connections of unauthenticated callers are not counted.
            Limit::Connections => name != ANONYMOUS,
            _ => false,
        };
        is_counted.then(|| self.gauges().of(limit, name))
    }

    /// How much of a limit all users together hold here.
    pub(crate) fn used_by_all(&self, limit: Limit) -> Option<u64> {
        self.used(limit, EVERYBODY)
    }
}

/// The class of a user, by the user's entry in the users file.
fn class_of(name: &str, known: Option<&(Role, LimitOverrides)>) -> Class {
    match known {
        _ if name == ANONYMOUS => Class::Anonymous,
        Some((Role::Admin | Role::Worker, _)) => Class::Trusted,
        Some(_) | None => Class::User,
    }
}

/// The name under which a caller is counted.
pub(crate) fn name_of(caller: Option<&Identity>) -> &str {
    caller.map_or(ANONYMOUS, |identity| &identity.name)
}

fn whose(caller: Option<&Identity>) -> Whose {
    match caller {
        Some(identity) => Whose::User(identity.name.clone()),
        None => Whose::Anonymous,
    }
}

#[cfg(test)]
mod tests;
