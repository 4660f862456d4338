//! Attempts that no longer count, tasks that have waited too long, and the shutdown.

use super::{CHECK_EVERY, Dispatcher, Event, running};
use crate::tasks::{attempt::Taken, lease::Held, notes};
use pyroxene_store::{Ending, Finish, Running, TaskId};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// How long the last writes may take at the shutdown.
pub(in crate::tasks) const WRAP_UP: Duration = Duration::from_secs(2);

/// Younger attempts are not checked: a cancellation at this name server comes with a hint.
const CHECK_AGE: Duration = Duration::from_millis(100);

/// A task that has waited this long for capacity goes back to the store, for another name server.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);

/// A queue without tasks is removed after this time.
const LANE_KEPT: Duration = Duration::from_secs(60);

/// How long running attempts may go on when the name server stops.
const LAST_MOMENT: Duration = Duration::from_millis(300);

impl Dispatcher {
    /// Those of these tasks that wait here for capacity.
    pub(super) fn waiting_of(&self, ids: &[TaskId]) -> Vec<Running> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let Some(held) = self.held else {
            return Vec::new();
        };
        let ids: HashSet<TaskId> = ids.iter().copied().collect();
        let waiting = self
            .lanes
            .values()
            .flat_map(|lane| lane.turns.all_waiting());
        let here = waiting.filter(|taken| ids.contains(&taken.task.id));
        here.map(|taken| running(&taken.task, held)).collect()
    }

    pub(super) fn drop_superseded(&mut self, superseded: &[Running]) {
        for running in superseded {
            let task = running.id;
            if let Some(sent) = self.sent.remove(*running) {
                tracing::debug!(%task, "cancelled, or taken over");
                if let Some(lane) = self.lanes.get_mut(&sent.lane) {
                    lane.ended(&sent.submitter, None, Instant::now());
                }
                continue;
            }
            if self.held.is_none_or(|held| held.fence != running.owner) {
                continue;
            }
            for lane in self.lanes.values_mut() {
                if lane.forget(*running) {
                    self.waiting -= 1;
                }
            }
        }
    }

    /// Gives back the tasks that the store lists as this dispatcher's but that are not here. The results of
    /// ended attempts are written before.
    pub(super) fn give_back_unknown(&mut self, owned: &[Running]) {
        self.unsure = false;
        let Some(held) = self.held else { return };
        let waiting = self
            .lanes
            .values()
            .flat_map(|lane| lane.turns.all_waiting());
        let waiting: Vec<Running> = waiting.map(|taken| running(&taken.task, held)).collect();
        for running in owned {
            let sent = self.sent.get(running.id);
            if sent.is_some_and(|sent| sent.running == *running) || waiting.contains(running) {
                continue;
            }
            self.outcomes.add(Finish {
                running: *running,
                worker: None,
                ending: Ending::Refused {
                    reason: "the answer to the claim was lost".to_owned(),
                },
            });
        }
    }

    /// Asks which of these attempts no longer count; `complete` if they are all that are here.
    pub(super) fn check(&mut self, running: Vec<Running>, complete: bool) {
        if running.is_empty() {
            return;
        }
        if self.under_way.check {
            self.check_at = Instant::now();
            return;
        }
        self.under_way.check = true;
        let store = self.shared.store.clone();
        self.spawn(async move { Event::Superseded(store.superseded(&running).await, complete) });
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.scan(now);
        if now >= self.check_at && !self.under_way.check {
            self.checked = now;
            self.check_at = now + CHECK_EVERY;
            let age = if self.doubtful {
                Duration::ZERO
            } else {
                CHECK_AGE
            };
            let mut all = self.sent.older_than(age, now);
            if self.doubtful {
                all.extend(self.all_waiting());
            }
            if all.is_empty() {
                self.doubtful = false;
            }
            self.check(all, self.doubtful);
        }
        if !self.under_way.notes {
            let news = self.sent.news(now);
            if !news.is_empty() {
                self.under_way.notes = true;
                let shared = self.shared.clone();
                self.spawn(async move { Event::Noted(notes::write(shared, news).await) });
            }
        }
        self.give_back_stale(now);
        self.lanes.retain(|key, lane| {
            let is_kept = !lane.is_idle(now, LANE_KEPT);
            if !is_kept {
                self.shared.places.close(key);
            }
            is_kept
        });
    }

    pub(super) fn all_waiting(&self) -> Vec<Running> {
        let Some(held) = self.held else {
            return Vec::new();
        };
        let waiting = self
            .lanes
            .values()
            .flat_map(|lane| lane.turns.all_waiting());
        waiting.map(|taken| running(&taken.task, held)).collect()
    }

    /// Gives back tasks that have waited too long: the workers became slower, or are gone.
    pub(super) fn give_back_stale(&mut self, now: Instant) {
        let Some(held) = self.held else { return };
        for lane in self.lanes.values_mut() {
            let is_stale = |taken: &Taken| now.saturating_duration_since(taken.at) > WAIT_AT_MOST;
            if !lane.turns.all_waiting().any(is_stale) {
                continue;
            }
            self.waiting -= lane.turns.waiting();
            for taken in lane.turns.drain_waiting() {
                self.outcomes
                    .add(unsent(&taken, held, "no worker had free capacity"));
            }
        }
    }

    /// Withdraws the capacity, and waits for the submissions that are being written.
    async fn places_returned(&mut self) {
        let places = Arc::clone(&self.shared.places);
        places.offer(None, 0, std::iter::empty());
        let end = Instant::now() + LAST_MOMENT;
        while places.taken() > 0 && timeout_at(end, places.news()).await.is_ok() {}
        self.arrive();
    }

    /// Lets running attempts end within a short time, and gives back the other tasks.
    pub(super) async fn wrap_up(mut self) {
        let Some(held) = self.held else { return };
        self.places_returned().await;
        let waiting = self
            .lanes
            .values_mut()
            .flat_map(|lane| lane.turns.drain_waiting());
        for taken in waiting {
            self.outcomes
                .add(unsent(&taken, held, "the name server was stopped"));
        }
        let end = Instant::now() + LAST_MOMENT;
        while !self.sent.is_empty() {
            match timeout_at(end, self.events.recv()).await {
                Ok(Some(event)) => self.handle(event),
                _ => break,
            }
        }
        for sent in self.sent.drain() {
            let reason = "the name server that had it was stopped".to_owned();
            self.outcomes.add(Finish {
                running: sent.running,
                worker: sent.at.worker(),
                ending: Ending::Lost { reason },
            });
        }
        let store = self.shared.store.clone();
        let outcomes = self.outcomes;
        let _ = timeout(WRAP_UP, async {
            outcomes.written().await;
            store.release(held.fence).await
        })
        .await;
    }
}

/// The end of an attempt that was never sent.
fn unsent(taken: &Taken, held: Held, reason: &str) -> Finish {
    Finish {
        running: running(&taken.task, held),
        worker: None,
        ending: Ending::Refused {
            reason: reason.to_owned(),
        },
    }
}
