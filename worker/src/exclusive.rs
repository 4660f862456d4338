//! The exclusive names that this worker holds. A name is held only while the lease that granted it is
//! valid, so that a worker that was cut off stops serving before another worker gets the name.

use parking_lot::Mutex;
use pyroxene_common::message::{Refusal, RefusalReason};
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// The exclusive names of a worker, with the grant of each name server.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldExclusiveNames(Arc<Mutex<HashMap<String, HashMap<usize, NameGrant>>>>);

/// The grant of a name by one name server.
#[derive(Clone, Copy, Debug)]
struct NameGrant {
    fence: u64,
    until: Instant,
}

impl HeldExclusiveNames {
    /// Records the names that a name server grants until `until`. Earlier grants of that name server that
    /// it does not list any more are removed.
    pub(crate) fn record_grants(&self, nameserver: usize, names: &[(String, u64)], until: Instant) {
        let mut held = self.0.lock();
        for grants in held.values_mut() {
            grants.remove(&nameserver);
        }
        for (name, fence) in names {
            let grants = held.entry(name.clone()).or_default();
            let fence = *fence;
            grants.insert(nameserver, NameGrant { fence, until });
        }
        held.retain(|_, grants| !grants.is_empty());
    }

    /// The current fence of an exclusive object, the highest one if name servers differ. Refuses the call
    /// if the worker does not hold the name.
    pub(crate) fn check(&self, object: &str, now: Instant) -> Result<u64, Refusal> {
        let held = self.0.lock();
        let grants = held.get(object).into_iter().flat_map(HashMap::values);
        let living = grants.filter(|grant| now < grant.until);
        let fence = living.map(|grant| grant.fence).max();
        fence.ok_or_else(|| Refusal {
            reason: RefusalReason::NotHolder,
            retry_after_ms: 0,
            message: format!("this worker does not hold the exclusive name '{object}' now"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_is_held_while_a_lease_that_grants_it_lives() {
        let holdings = HeldExclusiveNames::default();
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let printer = [("printer".to_owned(), 1)];
        assert!(holdings.check("printer", now).is_err());
        holdings.record_grants(0, &printer, at(3));
        assert!(holdings.check("printer", at(2)).is_ok());
        assert!(holdings.check("printer", at(3)).is_err());
        holdings.record_grants(1, &printer, at(5));
        holdings.record_grants(0, &[], at(6));
        assert!(
            holdings.check("printer", at(4)).is_ok(),
            "the other grant lives"
        );
        holdings.record_grants(1, &[], at(6));
        assert!(holdings.check("printer", at(4)).is_err());
    }
}
