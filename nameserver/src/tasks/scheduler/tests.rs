//! The scheduler with the orders of events that matter, without a store, workers or a clock.

use super::*;
use crate::tasks::queue::tests::{limiter, taken};
use pyroxene_store::ClaimedTask;

/// A scheduler with the lease 7 and workers that run `CAPACITY` calls at once, and its time.
struct Machine {
    scheduler: Scheduler,
    now: Instant,
}

const CAPACITY: u32 = 4;
const OWNER: Fence = 7;

/// So many tasks of an unknown duration are sent to the workers.
const SENT: usize = 8;

fn key() -> TaskQueueKey {
    ("o".to_owned(), None)
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("it is away".to_owned()))
}

fn task(id: StoredTaskId) -> ClaimedTask {
    taken(0, id).task
}

fn tasks(count: usize) -> Vec<ClaimedTask> {
    (0..count).map(|_| task(StoredTaskId::generate())).collect()
}

fn attempt(id: StoredTaskId) -> AttemptKey {
    taken(0, id).running(OWNER)
}

fn records(actions: &[Action]) -> Vec<(AttemptKey, AttemptEnding)> {
    let record = |action: &Action| match action {
        Action::Record(ended) => Some((ended.running, ended.ending.clone())),
        _ => None,
    };
    actions.iter().filter_map(record).collect()
}

fn started(actions: &[Action]) -> Vec<AttemptKey> {
    let start = |action: &Action| match action {
        Action::Start(running, _) => Some(*running),
        _ => None,
    };
    actions.iter().filter_map(start).collect()
}

fn claims(actions: &[Action]) -> usize {
    let is_claim = |action: &&Action| matches!(action, Action::Claim(..));
    actions.iter().filter(is_claim).count()
}

type Checked = (Vec<AttemptKey>, bool, UnbrokenLease);

fn checks(actions: &[Action]) -> Vec<Checked> {
    let check = |action: &Action| match action {
        Action::Check {
            attempts,
            complete,
            lease,
        } => Some((attempts.clone(), *complete, *lease)),
        _ => None,
    };
    actions.iter().filter_map(check).collect()
}

impl Machine {
    fn without_lease() -> Self {
        let now = Instant::now();
        let capacity = |_: &TaskQueueKey| CAPACITY;
        Self {
            scheduler: Scheduler::new(capacity, Arc::new(limiter()), now),
            now,
        }
    }

    /// A machine that has claimed these tasks and sent as many as there are workers for.
    fn with(ids: &[StoredTaskId]) -> Self {
        let mut machine = Self::without_lease();
        machine.lease(OWNER, machine.now);
        assert_eq!(claims(&machine.queued()), 1);
        let sent = machine.claimed(ids.iter().map(|id| task(*id)).collect());
        assert_eq!(started(&sent).len(), ids.len().min(SENT));
        machine
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.on(Event::Tick)
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.handle(event, self.now);
        self.scheduler.proceed(self.now);
        std::iter::from_fn(|| self.scheduler.next_action()).collect()
    }

    fn lease(&mut self, fence: Fence, since: Instant) -> Vec<Action> {
        self.on(Event::Lease(Some(HeldLease {
            fence,
            until: self.now + Duration::from_secs(60),
            since,
        })))
    }

    fn queued(&mut self) -> Vec<Action> {
        self.on(Event::Hint(Hint::Queued(Arc::new([key().0]))))
    }

    fn claimed_under(&mut self, owner: Fence, tasks: Vec<ClaimedTask>) -> Vec<Action> {
        let claimed = ClaimedQueue {
            tasks,
            limited: false,
            last_submitter: None,
        };
        self.on(Event::Claimed {
            answer: Ok(Ok(vec![claimed])),
            owner,
            queues: vec![key()],
            at: self.now,
        })
    }

    fn claimed(&mut self, tasks: Vec<ClaimedTask>) -> Vec<Action> {
        self.claimed_under(OWNER, tasks)
    }

    /// The store answers a question that was asked under the present lease.
    fn checked(
        &mut self,
        answer: Result<Vec<AttemptKey>, StoreError>,
        complete: bool,
    ) -> Vec<Action> {
        let lease = self.scheduler.unbroken_lease().unwrap();
        self.checked_under(lease, answer, complete)
    }

    fn checked_under(
        &mut self,
        lease: UnbrokenLease,
        answer: Result<Vec<AttemptKey>, StoreError>,
        complete: bool,
    ) -> Vec<Action> {
        self.on(Event::Checked {
            answer,
            complete,
            lease,
        })
    }

    fn owned(
        &mut self,
        owner: Fence,
        answer: Option<Result<Vec<AttemptKey>, StoreError>>,
    ) -> Vec<Action> {
        self.on(Event::Owned { answer, owner })
    }

    fn submitted(&mut self, tasks: Vec<(Fence, OwnedTask)>, lost: bool) -> Vec<Action> {
        self.on(Event::Submitted { tasks, lost })
    }

    /// The answer to a claim is lost, and after a while the store is asked what is owned.
    fn claim_lost(&mut self) -> Vec<Action> {
        assert_eq!(claims(&self.queued()), 1);
        let lost = Event::Claimed {
            answer: away(),
            owner: OWNER,
            queues: vec![key()],
            at: self.now,
        };
        assert_eq!(self.on(lost), []);
        assert_eq!(self.free(), 0);
        self.now += CLAIM_RETRY_DELAY;
        self.on(Event::Superseded(Vec::new()))
    }

    fn ended(&mut self, running: AttemptKey) -> Vec<Action> {
        self.on(Event::Ended {
            running,
            worker: Some("w1".to_owned()),
            took: Duration::from_secs(1),
            ending: AttemptEnding::Succeeded { result: Vec::new() },
        })
    }

    /// How many new tasks can start at once.
    fn free(&mut self) -> usize {
        let (owner, _, queues) = self.scheduler.free_capacity(self.now);
        let free = queues.map(|(_, free, _)| free).sum();
        owner.map_or(0, |_| free)
    }
}

fn ids(count: usize) -> Vec<StoredTaskId> {
    (0..count).map(|_| StoredTaskId::generate()).collect()
}

#[test]
fn nothing_is_claimed_or_sent_without_a_lease() {
    let mut machine = Machine::without_lease();
    assert_eq!(claims(&machine.queued()), 0);
    assert_eq!(machine.free(), 0);
    assert_eq!(claims(&machine.lease(OWNER, machine.now)), 1);
    // The lease is not renewed in time.
    machine.now += Duration::from_secs(60);
    assert_eq!(started(&machine.claimed(tasks(1))), []);
}

#[test]
fn one_claim_is_made_at_a_time_and_none_is_needed_after_the_last_task() {
    let mut machine = Machine::without_lease();
    machine.lease(OWNER, machine.now);
    assert_eq!(claims(&machine.queued()), 1);
    assert_eq!(claims(&machine.queued()), 0);
    // A task was queued during the claim.
    assert_eq!(claims(&machine.claimed(tasks(1))), 1);
    assert_eq!(claims(&machine.claimed(Vec::new())), 0);
    assert_eq!(machine.free(), SENT + 2 - 1);
}

#[test]
fn an_attempt_that_ends_is_written_once_and_makes_room_for_the_next() {
    let ids = ids(SENT + 1);
    let mut machine = Machine::with(&ids);
    let actions = machine.ended(attempt(ids[0]));
    assert_eq!(records(&actions).len(), 1);
    assert_eq!(started(&actions), [attempt(ids[SENT])]);
    assert_eq!(machine.ended(attempt(ids[0])), []);
}

#[test]
fn an_attempt_that_is_cancelled_is_aborted_and_its_end_is_not_written() {
    let ids = ids(SENT + 1);
    let mut machine = Machine::with(&ids);
    let hint = Hint::TasksEnded(Arc::new([ids[0], ids[SENT], StoredTaskId::generate()]));
    let both = vec![attempt(ids[0]), attempt(ids[SENT])];
    let asked = machine.on(Event::Hint(hint));
    let lease = machine.scheduler.unbroken_lease().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(checks(&asked), [(both.clone(), false, lease)]);
    let actions = machine.checked(Ok(both), false);
    assert_eq!(actions, [Action::Abort(attempt(ids[0]))]);
    assert_eq!(machine.ended(attempt(ids[0])), []);
}

#[test]
fn a_lost_lease_ends_everything_and_what_arrives_under_it_is_not_started() {
    let ids = ids(SENT + 1);
    let mut machine = Machine::with(&ids);
    machine.queued();
    for id in &ids[..SENT] {
        machine.ended(attempt(*id));
    }
    machine.scheduler.pending_requests.claim = true;
    assert_eq!(machine.on(Event::Lease(None)), [Action::AbortAll]);
    assert!(machine.scheduler.is_idle());
    assert_eq!(machine.ended(attempt(ids[SENT])), []);
    // The answers to what was asked under the old lease come only now.
    assert_eq!(claims(&machine.lease(OWNER + 1, machine.now)), 0);
    let actions = machine.claimed_under(OWNER, tasks(2));
    assert_eq!((started(&actions).len(), claims(&actions)), (0, 1));
    assert_eq!(
        machine.submitted(vec![(OWNER, taken(0, ids[0]))], false),
        []
    );
    assert!(machine.scheduler.is_idle());
}

#[test]
fn after_a_gap_in_the_lease_attempts_are_checked_before_anything_is_sent() {
    let ids = ids(SENT + 1);
    let mut machine = Machine::with(&ids);
    let begun = machine.now;
    machine.now += Duration::from_secs(5);
    assert_eq!(machine.lease(OWNER, begun), []);
    assert_eq!(machine.lease(OWNER, machine.now), []);
    let actions = machine.ended(attempt(ids[0]));
    assert_eq!((started(&actions).len(), machine.free()), (0, 0));
    let asked = checks(&machine.pass(Duration::ZERO));
    assert_eq!(asked.len(), 1);
    let (attempts, complete, _) = &asked[0];
    assert_eq!((attempts.len(), *complete), (SENT, true));
    // An answer about fewer attempts changes nothing, nor does one that does not come.
    assert_eq!(started(&machine.checked(Ok(Vec::new()), false)), []);
    assert_eq!(started(&machine.checked(away(), true)), []);
    let superseded = vec![attempt(ids[1])];
    let actions = machine.checked(Ok(superseded), true);
    assert_eq!(started(&actions), [attempt(ids[SENT])]);
}

#[test]
fn a_check_from_before_a_gap_in_the_lease_does_not_count_as_one_after_it() {
    let ids = ids(SENT + 1);
    let mut machine = Machine::with(&ids);
    machine.now += Duration::from_secs(1);
    machine.lease(OWNER, machine.now);
    let first = checks(&machine.pass(Duration::ZERO)).remove(0);
    machine.now += Duration::from_secs(1);
    machine.lease(OWNER, machine.now);
    assert_eq!(checks(&machine.pass(Duration::ZERO)), []);
    // What it found out is taken note of.
    let actions = machine.checked_under(first.2, Ok(vec![attempt(ids[0])]), true);
    assert_eq!(actions, [Action::Abort(attempt(ids[0]))]);
    let second = checks(&machine.pass(Duration::ZERO)).remove(0);
    assert_ne!(second.2, first.2);
    assert!(second.1);
    let actions = machine.checked_under(second.2, Ok(Vec::new()), true);
    assert_eq!(started(&actions), [attempt(ids[SENT])]);
}

#[test]
fn a_check_under_an_earlier_lease_does_not_count_as_one_under_the_new_lease() {
    let mut machine = Machine::with(&ids(1));
    machine.now += Duration::from_secs(1);
    machine.lease(OWNER, machine.now);
    let first = checks(&machine.pass(Duration::ZERO)).remove(0);
    machine.on(Event::Lease(None));
    machine.lease(OWNER + 1, machine.now);
    let again = taken(0, StoredTaskId::generate());
    let actions = machine.submitted(vec![(OWNER + 1, again)], false);
    assert_eq!(started(&actions).len(), 1);
    machine.now += Duration::from_secs(1);
    machine.lease(OWNER + 1, machine.now);
    machine.checked_under(first.2, Ok(Vec::new()), true);
    assert!(machine.scheduler.needs_check);
    assert_eq!(checks(&machine.pass(Duration::ZERO)).len(), 1);
    machine.checked(Ok(Vec::new()), true);
    assert!(!machine.scheduler.needs_check);
}

#[test]
fn a_claim_whose_answer_is_lost_is_followed_by_the_question_what_was_claimed() {
    let ids = ids(1);
    let mut machine = Machine::with(&ids);
    let list = [Action::ListOwned(OWNER)];
    assert_eq!(machine.claim_lost(), list);
    // Not while submissions are being written; and again after an answer that does not come.
    assert_eq!(machine.owned(OWNER, None), list);
    assert_eq!(machine.owned(OWNER, Some(away())), []);
    machine.now += CLAIM_RETRY_DELAY;
    assert_eq!(machine.on(Event::Superseded(Vec::new())), list);
    let unknown = attempt(StoredTaskId::generate());
    let actions = machine.owned(OWNER, Some(Ok(vec![attempt(ids[0]), unknown])));
    let written = records(&actions);
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].0, unknown);
    assert!(matches!(written[0].1, AttemptEnding::Refused { .. }));
    assert_eq!(claims(&actions), 1);
}

#[test]
fn what_was_owned_under_an_earlier_lease_does_not_answer_what_is_owned_under_the_new_one() {
    for answer_is_first in [false, true] {
        let mut machine = Machine::with(&ids(1));
        assert_eq!(machine.claim_lost(), [Action::ListOwned(OWNER)]);
        assert_eq!(machine.on(Event::Lease(None)), [Action::AbortAll]);
        assert_eq!(machine.lease(OWNER + 1, machine.now), []);
        let stale = Some(Ok(vec![attempt(StoredTaskId::generate())]));
        // The answer to a submission under the new lease is lost.
        let list = if answer_is_first {
            let actions = machine.owned(OWNER, stale);
            assert_eq!((records(&actions), claims(&actions)), (Vec::new(), 1));
            assert_eq!(machine.submitted(Vec::new(), true), []);
            machine.claimed_under(OWNER + 1, Vec::new())
        } else {
            assert_eq!(machine.submitted(Vec::new(), true), []);
            machine.owned(OWNER, stale)
        };
        assert_eq!(list, [Action::ListOwned(OWNER + 1)]);
        let unknown = taken(0, StoredTaskId::generate()).running(OWNER + 1);
        let actions = machine.owned(OWNER + 1, Some(Ok(vec![unknown])));
        let written = records(&actions);
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].0, unknown);
    }
}

#[test]
fn a_task_that_comes_back_frees_the_capacity_of_its_earlier_attempt() {
    let ids = ids(SENT);
    let mut machine = Machine::with(&ids);
    machine.ended(attempt(ids[1]));
    // It was taken over, queued and claimed again before this name server noticed.
    let again = ClaimedTask {
        attempt: 2,
        ..task(ids[0])
    };
    machine.queued();
    let actions = machine.claimed(vec![again]);
    let second = AttemptKey {
        attempt: 2,
        ..attempt(ids[0])
    };
    assert_eq!(started(&actions), [second]);
    assert_eq!(records(&machine.ended(attempt(ids[0]))), []);
    assert_eq!(records(&machine.ended(second)).len(), 1);
    for id in &ids[2..] {
        machine.ended(attempt(*id));
    }
    assert!(machine.scheduler.is_idle());
    let queue = machine.scheduler.queues.get(&key()).unwrap();
    assert_eq!(queue.fair_queue.sent(), 0);
}

#[test]
fn what_waits_too_long_or_when_the_name_server_stops_goes_back_to_the_store() {
    for stop in [false, true] {
        let ids = ids(SENT + 1);
        let mut machine = Machine::with(&ids);
        let actions = match stop {
            true => machine.on(Event::Stop),
            false => machine.pass(Duration::from_secs(6)),
        };
        let given_back = records(&actions);
        assert_eq!(given_back.len(), 1);
        assert_eq!(given_back[0].0, attempt(ids[SENT]));
    }
}

#[test]
fn a_queue_without_tasks_is_closed_after_a_while_and_one_without_workers_is_not_kept() {
    let mut machine = Machine::with(&ids(1));
    assert!(
        !machine
            .pass(Duration::from_secs(61))
            .contains(&Action::Close(key()))
    );
    let running = *machine
        .scheduler
        .sent
        .values()
        .map(|sent| &sent.running)
        .next()
        .unwrap();
    machine.ended(running);
    assert!(
        machine
            .pass(Duration::from_secs(1))
            .contains(&Action::Close(key()))
    );
    machine.scheduler.capacity = Box::new(|_| 0);
    machine.queued();
    assert!(machine.scheduler.queues.is_empty());
}
