//! Failover: asks several name servers for the answer of any of them.
//!
//! The name servers are numbers here. The preferred one is asked at once, and each further one after a delay, or
//! as soon as an earlier one has failed. One that may answer soon is asked again after a pause, until the
//! request has to end. Therefore every request must be safe to repeat. One that must not be carried out late, after
//! its answer, is sent to one name server at a time.

use crate::backoff::Backoff;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// A name server that has not answered a quick request within this time may be frozen: the next one is asked in
/// parallel.
const STAGGER: Duration = Duration::from_millis(500);

/// The timeout of one name server for a request that it can answer at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before a name server is asked again.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The minimum throughput of the network, the database and the disk, in bytes per second. A slower
/// transfer times out.
const SLOWEST_BYTES_PER_SECOND: usize = 4 << 20;

/// Less time than this before the end is not enough for another answer.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);

/// What the failure of one name server means for the request. The first ones say most about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Next {
    /// Every name server would give the same error. The request ends although another one may be carrying it out.
    End,
    /// Another name server may give another answer. If none does, this one counts.
    Elsewhere,
    /// This name server cannot answer, now or later. Another one may.
    Unable,
    /// A retry may succeed soon, at this name server or another one.
    Later,
    /// Nobody listens there now. A name server that restarts is back in a moment.
    Absent,
}

impl Next {
    /// Whether the same name server may answer later.
    pub(crate) fn may_change(self) -> bool {
        matches!(self, Self::Later | Self::Absent)
    }
}

/// Why a name server did not answer a request, and how the request continues.
#[derive(Debug)]
pub(crate) struct NoAnswer<E> {
    pub(crate) error: E,
    pub(crate) next: Next,
    /// When the name server failed.
    pub(crate) at: Instant,
    /// Whether the name server itself has said so.
    is_answer: bool,
}

impl<E> NoAnswer<E> {
    pub(crate) fn new(next: Next, error: E) -> Self {
        Self {
            error,
            next,
            at: Instant::now(),
            is_answer: false,
        }
    }

    /// The same, said by the name server itself.
    #[must_use]
    pub(crate) fn answered(self) -> Self {
        Self {
            is_answer: true,
            ..self
        }
    }
}

/// The errors of a request that no name server answered: the one that ended it, or the last one of each.
#[derive(Debug)]
pub(crate) struct Unanswered<E>(pub(crate) Vec<NoAnswer<E>>);

impl<E> Unanswered<E> {
    /// The error with the greatest weight, and of several such errors the last one in time. `None` if there is no
    /// name server.
    pub(crate) fn weightiest<W: Ord>(self, weight: impl Fn(&NoAnswer<E>) -> W) -> Option<E> {
        let failures = self.0.into_iter();
        let told = failures.max_by_key(|failure| (weight(failure), failure.at));
        told.map(|failure| failure.error)
    }
}

/// How long a request is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// Each name server is asked once.
    Never,
    /// Until each name server has failed once and this time has passed. The time is counted from the first request;
    /// that of a long poll from the moment at which each name server has failed once.
    For(Duration),
    /// Until a deadline.
    Until(Instant),
}

/// The times of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimes {
    /// How long a name server may wait before it answers: the time of a long poll.
    pub(crate) wait: Duration,
    /// How long the transfer of the request may take.
    pub(crate) transfer: Duration,
    pub(crate) repeat: Repeat,
    /// Whether a name server is asked only after the one before it has failed, which takes up to the timeout of an
    /// answer.
    pub(crate) one_at_a_time: bool,
    /// How long to repeat the request while no name server listens; `None` if as long as otherwise.
    pub(crate) absence: Option<Duration>,
}

impl RequestTimes {
    /// The times of a small request that a name server can answer at once.
    pub(crate) const fn quick(repeat: Repeat) -> Self {
        Self {
            wait: Duration::ZERO,
            transfer: Duration::ZERO,
            repeat,
            one_at_a_time: false,
            absence: None,
        }
    }

    /// The times of the same request, sent to one name server at a time.
    #[must_use]
    pub(crate) fn one_at_a_time(self) -> Self {
        Self {
            one_at_a_time: true,
            ..self
        }
    }

    /// The times of a request with this much content.
    #[must_use]
    pub(crate) fn carrying(self, bytes: usize) -> Self {
        let millis = bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND;
        Self {
            transfer: Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)),
            ..self
        }
    }

    /// The deadline of an attempt that starts now.
    pub(crate) fn attempt_deadline(&self) -> Instant {
        let end = Instant::now() + ANSWER_TIMEOUT + self.wait + self.transfer;
        match self.repeat {
            Repeat::Until(deadline) => end.min(deadline),
            Repeat::Never | Repeat::For(_) => end,
        }
    }
}

/// The way in which several name servers are asked.
#[derive(Debug)]
pub(crate) struct Failover<'a, S> {
    targets: &'a [S],
    /// The index of the name server that is asked first, modulo their number.
    preferred: Option<&'a AtomicUsize>,
    /// After this time the next name server is asked in parallel. With zero all are asked at once.
    stagger: Duration,
    times: RequestTimes,
    /// Whether each one waits until no other one is being asked.
    one_at_a_time: bool,
}

impl<'a, S> Failover<'a, S> {
    /// Asks all of them at once.
    pub(crate) fn race(targets: &'a [S], repeat: Repeat) -> Self {
        Self {
            targets,
            preferred: None,
            stagger: Duration::ZERO,
            times: RequestTimes::quick(repeat),
            one_at_a_time: false,
        }
    }

    /// Asks one after the other, each after a delay. The first one is that which answered last.
    pub(crate) fn staggered(
        targets: &'a [S],
        preferred: &'a AtomicUsize,
        times: &RequestTimes,
    ) -> Self {
        let mut stagger = STAGGER + times.transfer;
        if let Repeat::Until(deadline) = times.repeat {
            // A name server that is silent leaves time for each of the others.
            let left = deadline.saturating_duration_since(Instant::now() + times.wait);
            let shares = u32::try_from(targets.len() + 1).unwrap_or(u32::MAX);
            stagger = stagger.min(left / shares);
        }
        Self {
            targets,
            preferred: Some(preferred),
            stagger: times.wait + stagger,
            times: *times,
            one_at_a_time: times.one_at_a_time,
        }
    }

    /// Asks until one name server answers, or none of them will, or the time is over.
    pub(crate) async fn first<T, E, F>(
        &self,
        question: impl Fn(&'a S) -> F,
    ) -> Result<T, Unanswered<E>>
    where
        F: Future<Output = Result<T, NoAnswer<E>>>,
    {
        // Held by the name server that is being asked.
        let turn = self.one_at_a_time.then(|| Mutex::new(()));
        let turn = turn.as_ref();
        let ask = |index, target, at| ask_at(&question, turn, index, target, at);
        let mut request = Request::new(self, ask);
        let mut failures: Vec<Option<NoAnswer<E>>> = Vec::new();
        failures.resize_with(self.targets.len(), || None);
        while let Some((index, outcome)) = request.next().await {
            let failure = match outcome {
                Ok(answer) => {
                    self.prefer(index);
                    return Ok(answer);
                }
                Err(failure) if failure.next == Next::End => return Err(Unanswered(vec![failure])),
                Err(failure) => failure,
            };
            self.avoid(index);
            let is_over = request.end().is_some_and(|end| end <= failure.at);
            // That the time was too short for another answer says less than the last answer.
            let says_less = |known: &NoAnswer<E>| known.is_answer && is_over && !failure.is_answer;
            if let Some(slot) = failures.get_mut(index)
                && !slot.as_ref().is_some_and(says_less)
            {
                *slot = Some(failure);
            }
            let mut known = failures.iter().flatten();
            if failures.iter().all(Option::is_some) && known.any(|one| one.next == Next::Elsewhere)
            {
                break;
            }
        }
        Err(Unanswered(failures.into_iter().flatten().collect()))
    }

    /// Asks for the answer of every name server. Those that have not answered within `grace` after the first
    /// answer are left out, and so are those that have not answered at the deadline.
    pub(crate) async fn all<T, E, F>(
        &self,
        deadline: Instant,
        grace: Duration,
        question: impl Fn(&'a S) -> F,
    ) -> Vec<Option<Result<T, E>>>
    where
        F: Future<Output = Result<T, NoAnswer<E>>>,
    {
        let ask = |index, target, at| ask_at(&question, None, index, target, at);
        let mut request = Request::new(self, ask);
        let mut answers: Vec<Option<Result<T, E>>> = Vec::new();
        answers.resize_with(self.targets.len(), || None);
        let mut until = deadline;
        while let Ok(Some((index, answer))) = timeout_at(until, request.next()).await {
            if answer.is_ok() {
                until = until.min(Instant::now() + grace);
            }
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(answer.map_err(|failure| failure.error));
            }
            let any_ok = answers.iter().flatten().any(Result::is_ok);
            if any_ok && answers.iter().all(Option::is_some) {
                break;
            }
        }
        answers
    }

    /// Remembers which name server has answered.
    fn prefer(&self, index: usize) {
        if let Some(preferred) = self.preferred {
            preferred.store(index, Ordering::Relaxed);
        }
    }

    /// Requests that begin from now on do not start with this name server.
    fn avoid(&self, index: usize) {
        let count = self.targets.len();
        let next = |first: usize| {
            let is_first = first.checked_rem(count) == Some(index);
            is_first.then(|| index + 1)
        };
        if let Some(preferred) = self.preferred {
            let _ = preferred.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        }
    }
}

/// Asks a name server at a time, or now, when it is its turn. Returns its index with the outcome.
async fn ask_at<'a, S, F: Future>(
    question: &impl Fn(&'a S) -> F,
    turn: Option<&Mutex<()>>,
    index: usize,
    target: &'a S,
    at: Option<Instant>,
) -> (usize, F::Output) {
    if let Some(at) = at {
        sleep_until(at).await;
    }
    let _held = match turn {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    (index, question(target).await)
}

/// A request that is being sent to one name server after the other.
struct Request<'a, S, A, F> {
    targets: &'a [S],
    /// Asks a name server at a time.
    ask: A,
    asked: FuturesUnordered<F>,
    first: usize,
    /// The positions after the first one of the name servers that were not asked yet.
    unasked: Range<usize>,
    stagger: Duration,
    times: RequestTimes,
    began: Instant,
    /// How often each name server has failed.
    failures: Vec<u32>,
    /// Whether nobody listened at each name server when it was asked last.
    absent: Vec<bool>,
    /// Since when nobody has listened at any of them.
    absent_since: Option<Instant>,
    /// When the request ends, once that is known.
    end: Option<Instant>,
    /// Whether a name server was not asked again because there was too little time.
    out_of_time: bool,
}

impl<'a, S, A, F, T, E> Request<'a, S, A, F>
where
    A: Fn(usize, &'a S, Option<Instant>) -> F,
    F: Future<Output = (usize, Result<T, NoAnswer<E>>)>,
{
    fn new(failover: &Failover<'a, S>, ask: A) -> Self {
        let first = failover.preferred;
        let mut request = Self {
            targets: failover.targets,
            ask,
            asked: FuturesUnordered::new(),
            first: first.map_or(0, |first| first.load(Ordering::Relaxed)),
            unasked: 0..failover.targets.len(),
            stagger: failover.stagger,
            times: failover.times,
            began: Instant::now(),
            failures: vec![0; failover.targets.len()],
            absent: vec![false; failover.targets.len()],
            absent_since: None,
            end: match failover.times.repeat {
                Repeat::Until(deadline) => Some(deadline),
                Repeat::Never | Repeat::For(_) => None,
            },
            out_of_time: false,
        };
        request.ask_next();
        if failover.stagger.is_zero() {
            while !request.unasked.is_empty() {
                request.ask_next();
            }
        }
        request
    }

    /// The next outcome. `None` when no name server is asked any more.
    async fn next(&mut self) -> Option<F::Output> {
        let outcome = loop {
            if self.unasked.is_empty() {
                break self.asked.next().await;
            }
            match timeout(self.stagger, self.asked.next()).await {
                Ok(outcome) => break outcome,
                Err(_) => self.ask_next(),
            }
        };
        match &outcome {
            Some((index, Err(failure))) => {
                self.failed(*index, failure.next);
                self.ask_next();
            }
            Some((_, Ok(_))) => {}
            None => {
                if let Some(end) = self.end().filter(|_| self.out_of_time) {
                    sleep_until(end).await;
                }
            }
        }
        outcome
    }

    /// Asks the next name server that was not asked yet, if there is one.
    fn ask_next(&mut self) {
        let position = self
            .unasked
            .next()
            .map(|step| self.first.wrapping_add(step));
        if let Some(index) = position.and_then(|at| at.checked_rem(self.targets.len())) {
            self.ask(index, None);
        }
    }

    fn ask(&mut self, index: usize, at: Option<Instant>) {
        let target = self.targets.get(index);
        self.asked
            .extend(target.map(|target| (self.ask)(index, target, at)));
    }

    /// Records that a name server has failed, and asks it again if that may help.
    fn failed(&mut self, index: usize, next: Next) {
        let now = Instant::now();
        let (Some(failures), Some(absent)) =
            (self.failures.get_mut(index), self.absent.get_mut(index))
        else {
            return;
        };
        let pause = PAUSE.wait(*failures, rand::random());
        *failures = failures.saturating_add(1);
        *absent = next == Next::Absent;
        let nobody_listens = self.absent.iter().all(|absent| *absent);
        self.absent_since = nobody_listens.then(|| self.absent_since.unwrap_or(now));
        if let Repeat::For(time) = self.times.repeat
            && self.failures.iter().all(|&failures| failures > 0)
        {
            let end = match self.times.wait.is_zero() {
                true => now.max(self.began + self.times.transfer + time),
                false => now + time,
            };
            self.end.get_or_insert(end);
        }
        if !next.may_change() || matches!(self.times.repeat, Repeat::Never) {
            return;
        }
        match self.end().map(|end| end.saturating_duration_since(now)) {
            Some(left) if left < SHORTEST_ATTEMPT => self.out_of_time = true,
            // The last attempt has time for an answer.
            Some(left) => self.ask(index, Some(now + pause.min(left / 2))),
            None => self.ask(index, Some(now + pause)),
        }
    }

    /// When the request ends, as far as that is known: earlier while no name server listens.
    fn end(&self) -> Option<Instant> {
        let absence = self.times.absence;
        let absent = self.absent_since.zip(absence);
        let absent = absent.map(|(since, absence)| since + absence);
        [self.end, absent].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
