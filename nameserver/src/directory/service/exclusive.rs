//! Exclusive names that name servers have in common: what this one says of them to the arbiter, and
//! what it hears.
//!
//! The arbiter keeps, for each name, which name servers stand up for which holder. This one stands up
//! for a worker of which it has a session, under a lease of its own that it renews whatever the
//! number of names; when the session ends it stands down. All of that is beside heartbeats and calls,
//! which are answered from what was heard last.
//!
//! **While the arbiter cannot be reached** nobody can give a name to anybody, so who has one keeps it
//! for as long as the session lives. That goes for a name server that the arbiter alone cannot hear,
//! too: if its lease ends and none of the others has a session with the holder, they give the name to
//! another, and until the first one is back or the holder is cut off from it, both believe that
//! the name is theirs. Their fences tell them apart.
//!
//! **A name server that stood still** has said nothing in that time, and takes all names from their
//! holders before it answers anything ([`Directory::grants_are_over`](super::Directory)).

use super::DirectoryService;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// For how long a name server that says nothing keeps names for their holders.
pub(crate) const TTL: Duration = Duration::from_secs(3);

/// How often it says something.
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often one asks again for a name that another has.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Two rounds are so far apart at least, if something others did is what they are for.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether the arbiter knows what this name server believes.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// How many names are asked for at once.
const PAGE: usize = 500;

/// Who gives names away.
pub(crate) trait Arbiter: Send {
    /// Why it does not answer.
    type Error: Display + Send;

    /// Begins the name server's lease, or goes on with the one that has this number. Gives the
    /// number, or nothing if the lease is lost.
    fn go_on(
        &mut self,
        lease: Option<i64>,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<i64>, Self::Error>> + Send;

    /// Claims names. Answers each in its turn.
    fn claim(
        &mut self,
        lease: i64,
        claims: Vec<Claim>,
    ) -> impl Future<Output = Result<Vec<Answer>, Self::Error>> + Send;

    /// Stands down for names.
    fn leave(
        &mut self,
        lease: i64,
        names: Vec<String>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The names for whose holders this name server stands up.
    fn stands_up_for(
        &mut self,
        lease: i64,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// Resolves when others may have stood down for a name.
    fn news(&mut self) -> impl Future<Output = ()> + Send;
}

/// A name, and which worker it is claimed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) holder: String,
}

/// What comes of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The name is the worker's, with this fence.
    Held(u64),
    /// It is this one's.
    Taken(String),
    /// The name server's own lease has ended.
    LeaseLost,
}

/// The name server's own lease.
#[derive(Clone, Copy, Debug)]
struct Lease {
    number: i64,
    /// When it was last renewed, or that was tried.
    renewed: Instant,
    /// Nobody takes names over before then.
    until: Instant,
}

/// Keeps the directory and the arbiter in agreement.
#[derive(Debug)]
struct Keeper<A> {
    service: DirectoryService,
    arbiter: A,
    lease: Option<Lease>,
    /// For whom this name server stands up, or may do: a claim whose answer was lost counts.
    standing_up: HashMap<String, String>,
    compared: Instant,
    /// Names of which something is to be said.
    pending: BTreeSet<Arc<str>>,
}

/// What a step came to.
enum Step {
    /// There is nothing to do before something changes, or then.
    Until(Option<Instant>),
    /// The lease is lost, and with it every name.
    Again,
}

impl DirectoryService {
    /// Shares exclusive names from now on. To be called before there are sessions, and followed by
    /// [`follow_exclusive_names`](Self::follow_exclusive_names).
    pub(crate) fn share_exclusive_names(&mut self) {
        self.change(super::Directory::share_exclusive_names);
    }

    /// Gives exclusive names away as the arbiter says, until `shutdown` resolves.
    pub(crate) async fn follow_exclusive_names(
        self,
        arbiter: impl Arbiter,
        shutdown: impl Future<Output = ()>,
    ) {
        let keeper = Keeper {
            service: self,
            arbiter,
            lease: None,
            standing_up: HashMap::new(),
            compared: Instant::now(),
            pending: BTreeSet::new(),
        };
        tokio::select! {
            () = keeper.run() => {}
            () = shutdown => {}
        }
    }
}

impl<A: Arbiter> Keeper<A> {
    async fn run(mut self) {
        let unsettled = Arc::clone(&self.service.unsettled);
        loop {
            let begun = Instant::now();
            let Step::Until(next) = self.step().await else {
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
                () = self.arbiter.news(), if waiting => sleep_until(begun + PAUSE).await,
            }
        }
    }

    async fn step(&mut self) -> Step {
        let unsettled = self.service.change(super::Directory::take_unsettled);
        self.pending.extend(unsettled);
        if self.pending.is_empty() && self.standing_up.is_empty() {
            return Step::Until(None);
        }
        match self.keep_lease().await {
            Ok(true) => {}
            Ok(false) => return Step::Again,
            Err(again) => return Step::Until(Some(again)),
        }
        self.compare().await;
        let (leave, claims) = self.plan();
        if self.leave(leave).await && self.claim(claims).await {
            let renewal = self.lease.map(|lease| lease.renewed + RENEW_EVERY);
            let again = (!self.pending.is_empty()).then(|| Instant::now() + ASK_AGAIN);
            return Step::Until(renewal.into_iter().chain(again).min());
        }
        self.lost();
        Step::Again
    }

    /// Renews the lease if it is time. Whether it still is ours, or when to try again.
    async fn keep_lease(&mut self) -> Result<bool, Instant> {
        let asked = Instant::now();
        if let Some(lease) = self.lease
            && asked < lease.renewed + RENEW_EVERY
        {
            return Ok(true);
        }
        let number = self.lease.map(|lease| lease.number);
        let answer = timeout(PATIENCE, self.arbiter.go_on(number, TTL)).await;
        let now = Instant::now();
        let unbroken = self.lease.filter(|lease| now < lease.until);
        match answer {
            Ok(Ok(Some(number))) => {
                let lease = Lease {
                    number,
                    renewed: asked,
                    // Whoever watches the lease counts from later.
                    until: asked + TTL,
                };
                self.lease = Some(lease);
                self.last_until(lease.until);
                return Ok(true);
            }
            Ok(Ok(None)) => {
                tracing::warn!("exclusive names were taken over from this name server");
                self.lost();
                return Ok(false);
            }
            Ok(Err(error)) => tracing::debug!(%error, "exclusive names stay as they are"),
            Err(_) => tracing::debug!("no answer; exclusive names stay as they are"),
        }
        if let Some(lease) = &mut self.lease {
            lease.renewed = asked;
            if unbroken.is_some() {
                lease.until = now + TTL;
                let until = lease.until;
                self.last_until(until);
            }
        }
        Err(now + RENEW_EVERY)
    }

    /// Finds what requests did whose answers were lost, and that came to the arbiter after later
    /// ones.
    async fn compare(&mut self) {
        let now = Instant::now();
        let Some(lease) = self.lease else { return };
        if now < self.compared + COMPARE_EVERY {
            return;
        }
        self.compared = now;
        let asking = self.arbiter.stands_up_for(lease.number);
        let Ok(Ok(names)) = timeout(PATIENCE, asking).await else {
            return;
        };
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let missing = self.standing_up.keys();
        let missing = missing.filter(|name| !known.contains(name.as_str()));
        self.pending
            .extend(missing.map(|name| Arc::from(name.as_str())));
        for name in &names {
            if !self.standing_up.contains_key(name) {
                // For whoever it is, it is nobody whom this name server wants.
                self.standing_up.insert(name.clone(), String::new());
                self.pending.insert(Arc::from(name.as_str()));
            }
        }
    }

    fn last_until(&self, until: Instant) {
        self.service
            .change(|directory| directory.grants_last_until(until));
    }

    /// Forgets everything that was under the lease.
    fn lost(&mut self) {
        self.lease = None;
        self.service.change(super::Directory::withdraw_all);
        // Those without a candidate are found out to be so.
        let names = self.standing_up.drain().map(|(name, _)| Arc::from(name));
        self.pending.extend(names);
    }

    /// For which names to stand down, and which to claim.
    fn plan(&mut self) -> (Vec<String>, Vec<Claim>) {
        let (mut leave, mut claims) = (Vec::new(), Vec::new());
        let (pending, standing_up) = (&mut self.pending, &self.standing_up);
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
                    claims.push(Claim { name, holder });
                }
                is_wanted
            });
        });
        (leave, claims)
    }

    /// Stands down. Whether the lease still is ours.
    async fn leave(&mut self, names: Vec<String>) -> bool {
        let Some(lease) = self.lease else {
            return false;
        };
        for page in names.chunks(PAGE) {
            let leaving = self.arbiter.leave(lease.number, page.to_vec());
            match timeout(PATIENCE, leaving).await {
                Ok(Ok(())) => {
                    for name in page {
                        self.standing_up.remove(name);
                    }
                }
                // They stay pending, and their successors are not claimed.
                Ok(Err(error)) => tracing::debug!(%error, "cannot give up exclusive names"),
                Err(_) => tracing::debug!("no answer about exclusive names to give up"),
            }
        }
        true
    }

    /// Claims names, and those that another has for that one if it can be. Whether the lease still
    /// is ours.
    async fn claim(&mut self, claims: Vec<Claim>) -> bool {
        let mut others = Vec::new();
        if !self.claim_all(claims, Some(&mut others)).await {
            return false;
        }
        self.claim_all(others, None).await
    }

    async fn claim_all(
        &mut self,
        mut claims: Vec<Claim>,
        mut others: Option<&mut Vec<Claim>>,
    ) -> bool {
        let Some(lease) = self.lease else {
            return false;
        };
        claims.retain(|claim| {
            let now = self.standing_up.get(&claim.name);
            now.is_none_or(|now| *now == claim.holder)
        });
        for page in claims.chunks(PAGE) {
            let named = page.iter().cloned();
            self.standing_up
                .extend(named.map(|claim| (claim.name, claim.holder)));
            let claiming = self.arbiter.claim(lease.number, page.to_vec());
            let answers = match timeout(PATIENCE, claiming).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "cannot claim exclusive names");
                    continue;
                }
                Err(_) => {
                    tracing::debug!("no answer about exclusive names that are wanted");
                    continue;
                }
            };
            for (claim, answer) in page.iter().zip(answers) {
                match answer {
                    Answer::Held(fence) => self.granted(claim, fence),
                    Answer::Taken(by) => self.taken(claim, by, others.as_deref_mut()),
                    Answer::LeaseLost => return false,
                }
            }
        }
        true
    }

    fn granted(&mut self, claim: &Claim, fence: u64) {
        let Claim { name, holder } = claim;
        let granted = self
            .service
            .change(|directory| directory.grant(name, holder, fence, Instant::now()));
        if granted {
            self.pending.remove(name.as_str());
        }
    }

    fn taken(&mut self, claim: &Claim, by: String, others: Option<&mut Vec<Claim>>) {
        let name = claim.name.clone();
        self.standing_up.remove(&name);
        let could_hold = self.service.change(|directory| {
            directory.withdraw(&name);
            directory.could_hold(&name, &by)
        });
        if let Some(others) = others
            && could_hold
        {
            others.push(Claim { name, holder: by });
        }
    }
}

#[cfg(test)]
mod tests;
