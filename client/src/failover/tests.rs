use super::*;
use std::cell::RefCell;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(10);

/// Name servers that answer according to a script, and record the time of each request.
struct Desks {
    favourite: AtomicUsize,
    count: usize,
    began: Instant,
    deadline: Option<Instant>,
    one_at_a_time: bool,
    absence: Option<Duration>,
    asked: RefCell<Vec<(usize, u128)>>,
}

impl Desks {
    fn new(count: usize) -> Self {
        Self {
            favourite: AtomicUsize::new(0),
            count,
            began: Instant::now(),
            deadline: None,
            one_at_a_time: false,
            absence: None,
            asked: RefCell::default(),
        }
    }

    /// Asks. `script` gets the index of the name server and the number of earlier requests to it.
    async fn ask<F>(
        &self,
        script: impl Fn(usize, usize) -> F,
    ) -> Result<&'static str, Vec<&'static str>>
    where
        F: Future<Output = Result<&'static str, NoAnswer<&'static str>>>,
    {
        let repeat = self.deadline.map_or(Repeat::For(PATIENCE), Repeat::Until);
        let times = RequestTimes {
            one_at_a_time: self.one_at_a_time,
            absence: self.absence,
            ..RequestTimes::quick(repeat)
        };
        let desks: Vec<usize> = (0..self.count).collect();
        let failover = Failover::staggered(&desks, &self.favourite, &times);
        let answer = failover.first(|&index| {
            let mut asked = self.asked.borrow_mut();
            let times = asked.iter().filter(|(who, _)| *who == index).count();
            asked.push((index, self.began.elapsed().as_millis()));
            script(index, times)
        });
        let answer = answer.await;
        answer.map_err(|Unanswered(failures)| {
            failures.into_iter().map(|failure| failure.error).collect()
        })
    }

    fn asked(&self) -> Vec<(usize, u128)> {
        self.asked.take()
    }
}

fn later() -> NoAnswer<&'static str> {
    NoAnswer::new(Next::Later, "down")
}

fn unknown() -> NoAnswer<&'static str> {
    NoAnswer::new(Next::Elsewhere, "unknown")
}

#[tokio::test(start_paused = true)]
async fn who_answered_last_is_asked_first() {
    let desks = Desks::new(3);
    let script = async |index, _| match index {
        0 => Err(later()),
        _ => Ok("done"),
    };
    assert_eq!(desks.ask(script).await, Ok("done"));
    assert_eq!(desks.asked(), [(0, 0), (1, 0)]);
    assert_eq!(desks.ask(script).await, Ok("done"));
    assert_eq!(desks.asked(), [(1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn beside_one_that_is_frozen_the_next_is_asked_too() {
    let desks = Desks::new(2);
    let answer = desks.ask(async |index, _| match index {
        0 => std::future::pending().await,
        _ => Ok("done"),
    });
    assert_eq!(answer.await, Ok("done"));
    assert_eq!(desks.asked(), [(0, 0), (1, 500)]);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_nobody_is_asked_while_another_one_is() {
    let mut desks = Desks::new(2);
    desks.one_at_a_time = true;
    let being_asked = AtomicUsize::new(0);
    let answer = desks.ask(async |index, times| {
        assert_eq!(being_asked.fetch_add(1, Ordering::Relaxed), 0);
        sleep(3 * STAGGER).await;
        being_asked.fetch_sub(1, Ordering::Relaxed);
        match (index, times) {
            (1, 1) => Ok("done"),
            _ => Err(later()),
        }
    });
    assert_eq!(answer.await, Ok("done"));
    let asked = desks.asked();
    let begun = asked.iter().map(|(index, millis)| (*index, *millis / 1500));
    let expected = [(0, 0), (1, 1), (0, 2), (1, 3)];
    assert_eq!(begun.collect::<Vec<_>>(), expected, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_still_counts_after_another_has_failed() {
    for next in [Next::Later, Next::Unable, Next::Elsewhere] {
        let desks = Desks::new(2);
        let answer = desks.ask(async |index, _| match index {
            0 => {
                sleep(2 * STAGGER).await;
                Ok("slow")
            }
            _ => Err(NoAnswer::new(next, "not here")),
        });
        assert_eq!(answer.await, Ok("slow"), "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_does_not_know_another_may() {
    let desks = Desks::new(2);
    let answer = desks.ask(async |index, _| match index {
        0 => Err(unknown()),
        _ => Ok("found"),
    });
    assert_eq!(answer.await, Ok("found"));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_told_at_once_also_if_one_is_down() {
    let desks = Desks::new(3);
    let answer = desks.ask(async |index, _| match index {
        1 => Err(later()),
        _ => Err(unknown()),
    });
    assert_eq!(answer.await, Err(vec!["unknown", "down", "unknown"]));
    assert_eq!(desks.asked(), [(0, 0), (1, 0), (2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_final_word_is_not_discussed() {
    let desks = Desks::new(3);
    let answer = desks.ask(async |_, _| Err(NoAnswer::new(Next::End, "no")));
    assert_eq!(answer.await, Err(vec!["no"]));
    assert_eq!(desks.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_answer_now_is_asked_again_until_the_patience_ends() {
    let desks = Desks::new(2);
    let answer = desks.ask(async |_, _| Err(later()));
    assert_eq!(answer.await, Err(vec!["down", "down"]));
    let passed = desks.began.elapsed();
    assert!(
        (PATIENCE..PATIENCE + STAGGER).contains(&passed),
        "{passed:?}"
    );

    let answer = desks.ask(async |_, times| match times {
        0..20 => Err(later()),
        _ => Ok("up again"),
    });
    assert_eq!(answer.await, Ok("up again"));
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_no_tasks_is_waited_for_only_beside_one_that_may() {
    let none = || NoAnswer::new(Next::Unable, "takes none");
    let desks = Desks::new(2);
    let answer = desks.ask(async |_, _| Err(none())).await;
    assert_eq!(answer, Err(vec!["takes none"; 2]));
    assert_eq!(desks.began.elapsed(), Duration::ZERO);
    let answer = desks.ask(async |index, times| match (index, times) {
        (0, _) => Err(none()),
        (_, 0..3) => Err(later()),
        (_, _) => Ok("up again"),
    });
    desks.asked();
    assert_eq!(answer.await, Ok("up again"));
}

#[tokio::test(start_paused = true)]
async fn with_a_deadline_a_request_is_repeated_until_then_and_no_longer() {
    for seconds in [1, 30] {
        let time = Duration::from_secs(seconds);
        let mut desks = Desks::new(2);
        desks.deadline = Some(desks.began + time);
        let answer = desks.ask(async |_, _| Err(later()));
        assert_eq!(answer.await, Err(vec!["down", "down"]));
        assert_eq!(desks.began.elapsed(), time);
        // The last request has time for an answer, and the pauses grow to a second.
        let asked = desks.asked();
        let millis = time.as_millis();
        let last = asked.last().unwrap().1;
        assert!(
            last < millis && last > millis.saturating_sub(1500),
            "{last} of {millis}"
        );
        assert!(
            asked.len() > seconds as usize && asked.len() < 300,
            "{asked:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_listens_a_request_ends_earlier_than_where_somebody_is_silent() {
    let absent = || NoAnswer::new(Next::Absent, "refused");
    let mut desks = Desks::new(2);
    desks.absence = Some(3 * STAGGER);
    let answer = desks.ask(async |_, _| Err(absent()));
    assert_eq!(answer.await, Err(vec!["refused", "refused"]));
    assert_eq!(desks.began.elapsed(), 3 * STAGGER);
    // One that comes back is asked in that time.
    desks.asked();
    let answer = desks.ask(async |index, times| match (index, times) {
        (1, 2) => Ok("back"),
        _ => Err(absent()),
    });
    assert_eq!(answer.await, Ok("back"));

    let mut desks = Desks::new(2);
    desks.absence = Some(3 * STAGGER);
    let answer = desks.ask(async |index, _| match index {
        0 => Err(later()),
        _ => Err(absent()),
    });
    assert_eq!(answer.await, Err(vec!["down", "refused"]));
    assert_eq!(desks.began.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_is_counted_from_its_beginning() {
    let desks = Desks::new(1);
    let answer = desks.ask(async |_, _| {
        sleep(ANSWER_TIMEOUT).await;
        Err(later())
    });
    assert_eq!(answer.await, Err(vec!["down"]));
    let passed = desks.began.elapsed();
    let most = PATIENCE + ANSWER_TIMEOUT;
    assert!((PATIENCE..=most).contains(&passed), "{passed:?}");
    assert_eq!(desks.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_name_server_said_is_told_rather_than_that_the_time_was_too_short_to_ask_again() {
    let mut desks = Desks::new(1);
    desks.deadline = Some(desks.began + PATIENCE);
    let deadline = desks.began + PATIENCE;
    let answer = desks.ask(async |_, times| match times {
        0 => Err(NoAnswer::new(Next::Later, "the store is locked").answered()),
        _ => {
            sleep_until(deadline).await;
            Err(NoAnswer::new(Next::Later, "the deadline passed"))
        }
    });
    assert_eq!(answer.await, Err(vec!["the store is locked"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_late_before_the_deadline_is_answered() {
    let mut desks = Desks::new(1);
    desks.deadline = Some(desks.began + 3 * PATIENCE);
    let began = desks.began;
    let answer = desks.ask(async |_, _| match began.elapsed() > 2 * PATIENCE {
        true => Ok("done"),
        false => Err(later()),
    });
    assert_eq!(answer.await, Ok("done"));
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_up_is_asked_again_while_another_is_silent() {
    let desks = Desks::new(2);
    let answer = desks.ask(async |index, times| match (index, times) {
        (0, _) => std::future::pending().await,
        (_, 0..3) => Err(later()),
        (_, _) => Ok("up again"),
    });
    assert_eq!(answer.await, Ok("up again"));
    assert!(desks.began.elapsed() < STAGGER + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_race_asks_all_at_once_and_a_collection_waits_a_moment_for_the_others() {
    let began = Instant::now();
    let times = [1, 2, 9].map(Duration::from_secs);
    let race = Failover::race(&times, Repeat::Never);
    let slow = async |time: &Duration| {
        sleep(*time).await;
        Ok::<_, NoAnswer<()>>(time.as_secs())
    };
    assert_eq!(race.first(slow).await.unwrap(), 1);
    assert_eq!(began.elapsed(), times[0]);
    let answers = race.all(began + 20 * times[0], 3 * times[0], slow).await;
    assert_eq!(answers, [Some(Ok(1)), Some(Ok(2)), None]);
    assert_eq!(began.elapsed(), 5 * times[0]);
}

#[tokio::test(start_paused = true)]
async fn of_several_errors_the_weightiest_is_told_or_else_the_last_one_in_time() {
    let failures = [(1_u64, "refused"), (9, "silent"), (3, "down")];
    let race = Failover::race(&failures, Repeat::Never);
    let fail = |&(seconds, error): &(u64, &'static str)| async move {
        sleep(Duration::from_secs(seconds)).await;
        Err::<(), _>(NoAnswer::new(Next::Unable, error))
    };
    for (weighty, told) in [("refused", "refused"), ("unheard of", "silent")] {
        let unanswered = race.first(fail).await.unwrap_err();
        let error = unanswered.weightiest(|failure| failure.error == weighty);
        assert_eq!(error, Some(told));
    }
}

#[test]
fn a_large_request_has_time_in_proportion() {
    let transfer = |bytes| RequestTimes::quick(Repeat::Never).carrying(bytes).transfer;
    assert_eq!(transfer(100), Duration::ZERO);
    let most = Duration::from_secs(50);
    assert_eq!(transfer(50 * SLOWEST_BYTES_PER_SECOND), most);
}
