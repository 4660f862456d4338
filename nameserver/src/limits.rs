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

pub(crate) use connections::ConnectionCounter;
pub(crate) use gauges::LimitPermit;

use crate::users::Users;
use arc_swap::ArcSwap;
use gauges::Gauges;
use parking_lot::Mutex;
use pyroxene_common::{
    identity::{Identity, Role},
    limits::{Limit, LimitClass, LimitExceeded, LimitOverrides, LimitOwner, Limits, UNLIMITED},
};
use pyroxene_store::Allowance;
use rates::RateLimits;
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// The name under which all callers are counted without authentication.
const ANONYMOUS: &str = "";

/// The name under which all callers are counted together. No user can have it.
const ALL_USERS: &str = "*";

/// Knows the limits of every user, and their usage at this name server.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The command line's limits of every user.
    defaults: LimitOverrides,
    totals: Limits,
    users: ArcSwap<HashMap<String, (Role, LimitOverrides)>>,
    gauges: Mutex<Gauges>,
    rates: Mutex<RateLimits>,
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
            totals: Limits::of(LimitClass::Total).with(totals),
            users: ArcSwap::default(),
            gauges: Mutex::default(),
            rates: Mutex::default(),
        }
    }

    /// Takes over the limits of a users file.
    pub(crate) fn set_users(&self, users: &Users) {
        let known = users.iter().map(|(name, user)| {
            let limits = (user.role(), user.limits().clone());
            (name.to_owned(), limits)
        });
        self.users.store(Arc::new(known.collect()));
    }

    fn limits(&self, class: LimitClass, name: &str) -> Limits {
        let limits = Limits::of(class).with(&self.defaults);
        match self.users.load().get(name) {
            Some((_, overrides)) => limits.with(overrides),
            None => limits,
        }
    }

    /// The limits of a caller.
    pub(crate) fn limits_of(&self, caller: Option<&Identity>) -> Limits {
        self.limits(LimitClass::of(caller), name_of(caller))
    }

    /// The limits of the submitter of a task, by name. A name that is not in the users file has the limits of
    /// a user.
    pub(crate) fn limits_of_user(&self, name: &str) -> Limits {
        let class = class_of(name, self.users.load().get(name));
        self.limits(class, name)
    }

    /// One limit of the submitter of a task, as in [`limits_of_user`](Self::limits_of_user).
    pub(crate) fn limit_of_user(&self, name: &str, limit: Limit) -> u64 {
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
        let own = self.limits_of(caller);
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Allowance {
            tasks: signed(own.get(Limit::Tasks)),
            bytes: signed(own.get(Limit::TaskBytes)),
            all_tasks: signed(self.totals.get(Limit::Tasks)),
            all_bytes: signed(self.totals.get(Limit::TaskBytes)),
        }
    }

    /// The error of a caller that would exceed a limit of its own.
    pub(crate) fn exceeded(&self, caller: Option<&Identity>, limit: Limit) -> LimitExceeded {
        LimitExceeded {
            limit,
            value: self.limits_of(caller).get(limit),
            user: limited_user(caller),
        }
    }

    /// The error of a caller where all users together would exceed a limit.
    pub(crate) fn exceeded_by_all(&self, limit: Limit) -> LimitExceeded {
        LimitExceeded {
            limit,
            value: self.totals.get(limit),
            user: LimitOwner::Everybody,
        }
    }

    /// Takes one unit of a limit until the returned value is dropped.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        caller: Option<&Identity>,
        limit: Limit,
    ) -> Result<LimitPermit, LimitExceeded> {
        self.acquire_many(caller, limit, 1)
    }

    /// Takes so many units of a limit until the returned value is dropped: all of them, or none.
    pub(crate) fn acquire_many(
        self: &Arc<Self>,
        caller: Option<&Identity>,
        limit: Limit,
        units: u64,
    ) -> Result<LimitPermit, LimitExceeded> {
        let most = self.limits_of(caller).get(limit);
        let most_of_all = self.totals.get(limit);
        let name = name_of(caller);
        let mut gauges = self.gauges.lock();
        if gauges.of(limit, ALL_USERS).saturating_add(units) > most_of_all {
            return Err(self.exceeded_by_all(limit));
        }
        if gauges.of(limit, name).saturating_add(units) > most {
            return Err(self.exceeded(caller, limit));
        }
        gauges.add(limit, name, units);
        gauges.add(limit, ALL_USERS, units);
        Ok(LimitPermit::new(Arc::clone(self), limit, name, units))
    }

    fn held_by_all(&self, limit: Limit) -> u64 {
        self.gauges.lock().of(limit, ALL_USERS)
    }

    fn release(&self, limit: Limit, name: &str, units: u64) {
        let mut gauges = self.gauges.lock();
        gauges.remove(limit, name, units);
        gauges.remove(limit, ALL_USERS, units);
    }

    /// Takes an amount from each of these rate limits: from all of them, or from none.
    pub(crate) fn spend(
        &self,
        caller: Option<&Identity>,
        amounts: &[(Limit, u64)],
    ) -> Result<(), LimitExceeded> {
        self.spend_as(
            name_of(caller),
            &self.limits_of(caller),
            limited_user(caller),
            amounts,
        )
    }

    /// As [`spend`](Self::spend), for a user on whose behalf another caller calls. The name is empty for an
    /// unauthenticated user.
    pub(crate) fn spend_for(
        &self,
        name: &str,
        amounts: &[(Limit, u64)],
    ) -> Result<(), LimitExceeded> {
        let whose = match name {
            ANONYMOUS => LimitOwner::Anonymous,
            name => LimitOwner::User(name.to_owned()),
        };
        self.spend_as(name, &self.limits_of_user(name), whose, amounts)
    }

    fn spend_as(
        &self,
        name: &str,
        limits: &Limits,
        user: LimitOwner,
        amounts: &[(Limit, u64)],
    ) -> Result<(), LimitExceeded> {
        let own = amounts.iter().map(|(limit, amount)| {
            let exceeded = LimitExceeded {
                limit: *limit,
                value: limits.get(*limit),
                user: user.clone(),
            };
            (name, *amount, exceeded)
        });
        let all = amounts.iter().map(|(limit, amount)| {
            let exceeded = self.exceeded_by_all(*limit);
            (ALL_USERS, *amount, exceeded)
        });
        let asked: Vec<_> = own
            .chain(all)
            .filter(|(.., exceeded)| exceeded.value != UNLIMITED)
            .collect();
        self.rates.lock().spend(asked, Instant::now())
    }

    /// How much of a limit a user holds here; none if the limit is not counted here.
    pub(crate) fn used(&self, limit: Limit, name: &str) -> Option<u64> {
        let is_counted = match limit {
            Limit::Polls | Limit::Watches => true,
            // The connections of unauthenticated callers are not counted.
            Limit::Connections => name != ANONYMOUS,
            _ => false,
        };
        is_counted.then(|| self.gauges.lock().of(limit, name))
    }

    /// How much of a limit all users together hold here.
    pub(crate) fn used_by_all(&self, limit: Limit) -> Option<u64> {
        self.used(limit, ALL_USERS)
    }
}

/// The class of a user, by the user's entry in the users file.
fn class_of(name: &str, known: Option<&(Role, LimitOverrides)>) -> LimitClass {
    match known {
        _ if name == ANONYMOUS => LimitClass::Anonymous,
        Some((Role::Admin | Role::Worker, _)) => LimitClass::Trusted,
        Some(_) | None => LimitClass::User,
    }
}

/// The name under which a caller is counted.
pub(crate) fn name_of(caller: Option<&Identity>) -> &str {
    caller.map_or(ANONYMOUS, |identity| &identity.name)
}

fn limited_user(caller: Option<&Identity>) -> LimitOwner {
    match caller {
        Some(identity) => LimitOwner::User(identity.name.clone()),
        None => LimitOwner::Anonymous,
    }
}

#[cfg(test)]
mod tests;
