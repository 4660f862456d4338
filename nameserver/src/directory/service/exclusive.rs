//! Exclusive names that several name servers share: keeps the directory and the name store in agreement.
//!
//! The name store keeps, for each name, which name servers claim it for which holder. This name server claims
//! a name for a worker with a session here, under one lease of its own, which it renews whatever the number
//! of names; when the session ends, it releases the name. Heartbeats and calls do not wait for any of this:
//! they are answered from the last known state.
//!
//! **While the name store cannot be reached** no name can be granted, so a holder keeps its name for as long
//! as its session lives. That is also true of a name server that alone cannot reach the name store: if its
//! lease ends and no other name server has a session with the holder, the others grant the name to another
//! worker. Until the first name server is back or the holder is cut off from it, both workers believe that
//! the name is theirs. Their fences tell them apart.
//!
//! **A name server that was suspended** renewed nothing in that time. It withdraws all names from their
//! holders before it answers anything ([`InstanceDirectory::grants_are_over`](super::InstanceDirectory)).

use super::DirectoryService;
use pyroxene_store::{Fence, LeaseKeeper, LeaseRenewal, NameClaim, NameClaimOutcome, RENEW_EVERY};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a name server that does not renew its lease keeps names for their holders.
pub(crate) const NAME_LEASE_TTL: Duration = Duration::from_secs(3);

/// The timeout of a request to the name store.
const NAME_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a name that another worker holds is claimed again.
const CLAIM_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The shortest time between two rounds that are caused by releases of others.
const MIN_ROUND_INTERVAL: Duration = Duration::from_millis(50);

/// How often the claims in the name store are compared with those known here.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// How many names are claimed or released in one request.
const PAGE: usize = 500;

/// Grants exclusive names.
pub(crate) trait NameStore: Send {
    /// Why a request failed.
    type Error: Display + Send;

    /// Starts the name server's lease, or renews the one with this number. Returns its number, or none if the
    /// lease is lost.
    fn renew_or_begin(
        &mut self,
        lease: Option<i64>,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<i64>, Self::Error>> + Send;

    /// Claims names. Returns one answer per claim, in the same order.
    fn claim(
        &mut self,
        claims: Vec<NameClaim>,
    ) -> impl Future<Output = Result<Vec<NameClaimOutcome>, Self::Error>> + Send;

    /// Releases names.
    fn release(
        &mut self,
        lease: i64,
        names: Vec<String>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The names that this name server claims.
    fn claimed_names(
        &mut self,
        lease: i64,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// Resolves when another name server may have released a name.
    fn names_released(&mut self) -> impl Future<Output = ()> + Send;
}

/// Keeps the directory and the name store in agreement.
#[derive(Debug)]
struct ExclusiveNameReconciler<A> {
    service: DirectoryService,
    name_store: A,
    lease: LeaseKeeper,
    /// The names that are claimed here, with their holders. A claim whose answer was lost counts.
    claimed_for: HashMap<String, String>,
    last_comparison: Instant,
    /// Names that have to be claimed or released.
    pending: BTreeSet<Arc<str>>,
}

/// The result of a round.
enum ReconcileStep {
    /// Nothing to do before the next change, or before this time.
    WaitUntil(Option<Instant>),
    /// The lease is lost, and with it every name: start again.
    Again,
}

impl DirectoryService {
    /// Shares exclusive names from now on. Call it before there are sessions, and then
    /// [`follow_exclusive_names`](Self::follow_exclusive_names).
    pub(crate) fn share_exclusive_names(&mut self) {
        self.change(super::InstanceDirectory::share_exclusive_names);
    }

    /// Grants exclusive names as the name store decides, until `shutdown` resolves.
    pub(crate) async fn follow_exclusive_names(
        self,
        arbiter: impl NameStore,
        shutdown: impl Future<Output = ()>,
    ) {
        let keeper = ExclusiveNameReconciler {
            service: self,
            name_store: arbiter,
            lease: LeaseKeeper::new(NAME_LEASE_TTL, NAME_STORE_TIMEOUT),
            claimed_for: HashMap::new(),
            last_comparison: Instant::now(),
            pending: BTreeSet::new(),
        };
        tokio::select! {
            () = keeper.run() => {}
            () = shutdown => {}
        }
    }
}

impl<A: NameStore> ExclusiveNameReconciler<A> {
    async fn run(mut self) {
        let unsettled = Arc::clone(&self.service.names_pending);
        loop {
            let begun = Instant::now();
            let ReconcileStep::WaitUntil(next) = self.step().await else {
                continue;
            };
            let next = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => pending().await,
                }
            };
            let waiting = !self.pending.is_empty();
            tokio::select! {
                () = unsettled.notified() => {}
                () = next => {}
                () = self.name_store.names_released(), if waiting => sleep_until(begun + MIN_ROUND_INTERVAL).await,
            }
        }
    }

    async fn step(&mut self) -> ReconcileStep {
        let unsettled = self.service.change(super::InstanceDirectory::take_pending);
        self.pending.extend(unsettled);
        if self.pending.is_empty() && self.claimed_for.is_empty() {
            return ReconcileStep::WaitUntil(None);
        }
        match self.keep_lease().await {
            Ok(true) => {}
            Ok(false) => return ReconcileStep::Again,
            Err(again) => return ReconcileStep::WaitUntil(Some(again)),
        }
        self.compare().await;
        let (leave, claims) = self.plan();
        if self.release_names(leave).await && self.claim(claims).await {
            let again = (!self.pending.is_empty()).then(|| Instant::now() + CLAIM_RETRY_INTERVAL);
            return ReconcileStep::WaitUntil(self.lease.next().into_iter().chain(again).min());
        }
        self.drop_all_claims();
        ReconcileStep::Again
    }

    /// Renews the lease if it is due. Returns whether the lease is still valid, or when to try again.
    async fn keep_lease(&mut self) -> Result<bool, Instant> {
        if self.lease.held().is_some() && self.lease.next() > Some(Instant::now()) {
            return Ok(true);
        }
        let store = &mut self.name_store;
        let renewal = self
            .lease
            .renew(|lease, ttl| store.renew_or_begin(lease, ttl));
        match renewal.await {
            LeaseRenewal::Held(lease) => {
                self.extend_directory_grants(lease.until);
                return Ok(true);
            }
            LeaseRenewal::Lost => {
                tracing::warn!("exclusive names were taken over from this name server");
                self.drop_all_claims();
                return Ok(false);
            }
            LeaseRenewal::Failed(error) => {
                tracing::debug!(%error, "exclusive names stay as they are");
            }
            LeaseRenewal::TimedOut => tracing::debug!("timeout; exclusive names stay as they are"),
        }
        if let Some(until) = self.lease.extend_unrenewed() {
            self.extend_directory_grants(until);
        }
        Err(Instant::now() + RENEW_EVERY)
    }

    /// Finds the effects of requests whose answers were lost and that reached the name store after later
    /// requests.
    async fn compare(&mut self) {
        let now = Instant::now();
        let Some(lease) = self.lease.held() else {
            return;
        };
        if now < self.last_comparison + COMPARE_EVERY {
            return;
        }
        self.last_comparison = now;
        let asking = self.name_store.claimed_names(lease.fence);
        let Ok(Ok(names)) = timeout(NAME_STORE_TIMEOUT, asking).await else {
            return;
        };
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let missing = self.claimed_for.keys();
        let missing = missing.filter(|name| !known.contains(name.as_str()));
        self.pending
            .extend(missing.map(|name| Arc::from(name.as_str())));
        for name in &names {
            if !self.claimed_for.contains_key(name) {
                // An unknown holder: the name has to be released in any case.
                self.claimed_for.insert(name.clone(), String::new());
                self.pending.insert(Arc::from(name.as_str()));
            }
        }
    }

    fn extend_directory_grants(&self, until: Instant) {
        self.service
            .change(|directory| directory.extend_grants(until));
    }

    /// Drops everything that depends on the lease.
    fn drop_all_claims(&mut self) {
        self.lease.drop_lease();
        self.service.change(super::InstanceDirectory::withdraw_all);
        // Names without a candidate are dropped in the next round.
        let names = self.claimed_for.drain().map(|(name, _)| Arc::from(name));
        self.pending.extend(names);
    }

    /// Which names to release, and which to claim.
    fn plan(&mut self) -> (Vec<String>, Vec<NameClaim>) {
        let (mut leave, mut claims) = (Vec::new(), Vec::new());
        let Some(lease) = self.lease.held() else {
            return (leave, claims);
        };
        let (pending, standing_up) = (&mut self.pending, &self.claimed_for);
        self.service.change(|directory| {
            pending.retain(|name| {
                let candidate = directory.candidate(name);
                let now = standing_up.get(&**name);
                if let Some(now) = now
                    && candidate.as_ref() != Some(now)
                {
                    directory.withdraw(name);
                    leave.push(name.as_ref().to_owned());
                }
                let is_wanted = candidate.is_some() || now.is_some();
                if let Some(holder) = candidate {
                    let name = name.as_ref().to_owned();
                    claims.push(NameClaim {
                        name,
                        holder,
                        nameserver: lease.fence,
                    });
                }
                is_wanted
            });
        });
        (leave, claims)
    }

    /// Releases names. Returns whether the lease is still valid.
    async fn release_names(&mut self, names: Vec<String>) -> bool {
        let Some(lease) = self.lease.held() else {
            return false;
        };
        for page in names.chunks(PAGE) {
            let leaving = self.name_store.release(lease.fence, page.to_vec());
            match timeout(NAME_STORE_TIMEOUT, leaving).await {
                Ok(Ok(())) => {
                    for name in page {
                        self.claimed_for.remove(name);
                    }
                }
                // These names stay pending, and are not claimed for their next holders yet.
                Ok(Err(error)) => tracing::debug!(%error, "cannot release exclusive names"),
                Err(_) => tracing::debug!("timeout while releasing exclusive names"),
            }
        }
        true
    }

    /// Claims names. Names that another worker holds are claimed for that worker, if it has a session here.
    /// Returns whether the lease is still valid.
    async fn claim(&mut self, claims: Vec<NameClaim>) -> bool {
        let mut others = Vec::new();
        if !self.claim_all(claims, Some(&mut others)).await {
            return false;
        }
        self.claim_all(others, None).await
    }

    async fn claim_all(
        &mut self,
        mut claims: Vec<NameClaim>,
        mut others: Option<&mut Vec<NameClaim>>,
    ) -> bool {
        claims.retain(|claim| {
            let now = self.claimed_for.get(&claim.name);
            now.is_none_or(|now| *now == claim.holder)
        });
        for page in claims.chunks(PAGE) {
            let named = page.iter().cloned();
            self.claimed_for
                .extend(named.map(|claim| (claim.name, claim.holder)));
            let claiming = self.name_store.claim(page.to_vec());
            let answers = match timeout(NAME_STORE_TIMEOUT, claiming).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "cannot claim exclusive names");
                    continue;
                }
                Err(_) => {
                    tracing::debug!("timeout while claiming exclusive names");
                    continue;
                }
            };
            for (claim, answer) in page.iter().zip(answers) {
                match answer {
                    NameClaimOutcome::Granted { fence } => self.granted(claim, fence),
                    NameClaimOutcome::Taken { holder: by } => {
                        self.claim_refused(claim, by, others.as_deref_mut())
                    }
                    NameClaimOutcome::LeaseLost => return false,
                }
            }
        }
        true
    }

    fn granted(&mut self, claim: &NameClaim, fence: Fence) {
        let NameClaim { name, holder, .. } = claim;
        let fence = u64::try_from(fence).unwrap_or(0);
        let granted = self
            .service
            .change(|directory| directory.grant(name, holder, fence, Instant::now()));
        if granted {
            self.pending.remove(name.as_str());
        }
    }

    fn claim_refused(
        &mut self,
        claim: &NameClaim,
        by: String,
        others: Option<&mut Vec<NameClaim>>,
    ) {
        let name = claim.name.clone();
        self.claimed_for.remove(&name);
        let could_hold = self.service.change(|directory| {
            directory.withdraw(&name);
            directory.could_hold(&name, &by)
        });
        if let Some(others) = others
            && could_hold
        {
            others.push(NameClaim {
                holder: by,
                ..claim.clone()
            });
        }
    }
}

#[cfg(test)]
mod tests;
