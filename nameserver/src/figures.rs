//! The figures of calls that workers report, summed in memory.

use crate::tasks::TaskCounters;
use pyroxene_common::{
    host::OpenConnections,
    identity::Role,
    interfaces::{
        directory::MAX_NAME,
        figures::{
            FigureSums, FiguresError, LATENCY_BUCKETS, MAX_ROWS, MethodFigures, NameServerFigures,
            StoreFigures, figures,
        },
    },
};
use pyroxene_store::Store;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::time::Instant;

/// The most workers, and the most methods, whose figures are kept. Those of further ones are dropped.
const MAX_WORKERS: usize = 4096;
const MAX_METHODS: usize = 4096;

/// The most rows of one worker.
const MAX_WORKER_ROWS: usize = 1024;

/// After this time without a report nothing of a worker counts as in flight.
const SILENT: Duration = Duration::from_secs(10);

/// After this time without a report a worker is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60);

/// The object `figures`.
#[derive(Clone, Debug, Default)]
pub(crate) struct FiguresService {
    state: Arc<Mutex<FigureState>>,
    leases_expired: Arc<AtomicU64>,
    own: Arc<OnceLock<OwnFigures>>,
}

/// Where the figures of the name server itself are.
#[derive(Debug)]
pub(crate) struct OwnFigures {
    pub(crate) connections: OpenConnections,
    pub(crate) tasks: Option<Arc<TaskCounters>>,
    pub(crate) store: Option<Store>,
}

impl OwnFigures {
    fn read(&self) -> NameServerFigures {
        let tasks = self.tasks.as_ref();
        NameServerFigures {
            connections: self.connections.count() as u64,
            task_attempts: tasks.map(|tasks| tasks.attempts()).unwrap_or_default(),
            task_waits: tasks.map(|tasks| tasks.waits()).unwrap_or_default(),
            store: self.store.as_ref().map(|store| {
                let figures = store.write_figures();
                StoreFigures {
                    written: figures.written,
                    failed: figures.failed,
                    time_us: u64::try_from(figures.time.as_micros()).unwrap_or(u64::MAX),
                    is_failing: figures.is_failing,
                }
            }),
        }
    }
}

/// The sums, without I/O.
#[derive(Debug, Default)]
struct FigureState {
    workers: HashMap<String, ReportedWorker>,
    methods: BTreeMap<(String, String), MethodFigures>,
}

/// What a worker has reported last.
#[derive(Debug)]
struct ReportedWorker {
    incarnation: u64,
    at: Instant,
    rows: HashMap<(String, String), MethodFigures>,
    sum: MethodFigures,
}

impl FigureState {
    fn report(&mut self, worker: &str, incarnation: u64, rows: Vec<MethodFigures>, now: Instant) {
        self.workers.retain(|_, known| now < known.at + FORGOTTEN);
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(worker) {
            return;
        }
        let known = self
            .workers
            .entry(worker.to_owned())
            .or_insert_with(|| ReportedWorker {
                incarnation,
                at: now,
                rows: HashMap::new(),
                sum: MethodFigures {
                    object: worker.to_owned(),
                    ..MethodFigures::default()
                },
            });
        // Reports of one worker may overtake each other when it is restarted.
        if incarnation < known.incarnation {
            return;
        }
        if incarnation > known.incarnation {
            known.rows.clear();
            known.incarnation = incarnation;
        }
        known.at = now;
        for row in rows {
            let key = (row.object.clone(), row.method.clone());
            let earlier = known.rows.get(&key);
            if earlier.is_none() && known.rows.len() >= MAX_WORKER_ROWS {
                continue;
            }
            let mut more = match earlier {
                Some(earlier) => row.since(earlier),
                None => row.clone(),
            };
            more.in_flight = 0;
            known.sum.add(&more);
            known.rows.insert(key.clone(), row);
            if self.methods.len() < MAX_METHODS || self.methods.contains_key(&key) {
                let sum = self
                    .methods
                    .entry(key)
                    .or_insert_with_key(|(object, method)| MethodFigures {
                        object: object.clone(),
                        method: method.clone(),
                        ..MethodFigures::default()
                    });
                sum.add(&more);
            }
        }
    }

    fn sums(&self, now: Instant) -> FigureSums {
        let mut methods = self.methods.clone();
        let mut workers = Vec::with_capacity(self.workers.len());
        for known in self.workers.values() {
            let mut worker = known.sum.clone();
            if now < known.at + SILENT {
                for (key, row) in &known.rows {
                    worker.in_flight += row.in_flight;
                    if let Some(method) = methods.get_mut(key) {
                        method.in_flight += row.in_flight;
                    }
                }
            }
            workers.push(worker);
        }
        workers.sort_by(|one, other| one.object.cmp(&other.object));
        FigureSums {
            methods: methods.into_values().collect(),
            workers,
            leases_expired: 0,
        }
    }
}

impl FiguresService {
    fn lock(&self) -> MutexGuard<'_, FigureState> {
        // Plain sums: valid even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the figures of the name server itself are, once it listens.
    pub(crate) fn set_own(&self, own: OwnFigures) {
        // It is set once; a second time would change nothing.
        let _ = self.own.set(own);
    }

    /// Counts the leases that have ended.
    pub(crate) fn expired_leases(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.leases_expired)
    }
}

impl figures::Figures for FiguresService {
    async fn report(
        self,
        _: Context,
        worker: String,
        incarnation: u64,
        rows: Vec<MethodFigures>,
    ) -> Result<(), FiguresError> {
        let invalid = |text: &str| Err(FiguresError::Invalid(text.to_owned()));
        if rows.len() > MAX_ROWS {
            return invalid("the report has too many rows");
        }
        let is_long = |row: &MethodFigures| {
            row.object.len() > MAX_NAME
                || row.method.len() > MAX_NAME
                || row.latency.len() > LATENCY_BUCKETS
        };
        if worker.len() > MAX_NAME || rows.iter().any(is_long) {
            return invalid("a name or a histogram in the report is too long");
        }
        self.lock()
            .report(&worker, incarnation, rows, Instant::now());
        Ok(())
    }

    async fn read(self, _: Context) -> FigureSums {
        let sums = self.lock().sums(Instant::now());
        FigureSums {
            leases_expired: self.leases_expired.load(Ordering::Relaxed),
            ..sums
        }
    }

    async fn nameserver(self, _: Context) -> NameServerFigures {
        self.own.get().map(OwnFigures::read).unwrap_or_default()
    }
}

/// Which roles may call a method.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    method != "report" || matches!(role, Role::Admin | Role::Worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(calls: u64, in_flight: u64) -> MethodFigures {
        MethodFigures {
            object: "echo".to_owned(),
            method: "sleep".to_owned(),
            calls,
            in_flight,
            latency: vec![calls],
            ..MethodFigures::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sums_only_grow_whatever_becomes_of_the_workers() {
        let mut state = FigureState::default();
        let began = Instant::now();
        state.report("w1", 1, vec![row(10, 1)], began);
        state.report("w2", 1, vec![row(5, 2)], began);
        // The first worker was restarted, and a late report of its earlier life comes after that.
        state.report("w1", 2, vec![row(3, 0)], began);
        state.report("w1", 1, vec![row(11, 1)], began);
        let sums = state.sums(began);
        assert_eq!((sums.methods[0].calls, sums.methods[0].in_flight), (18, 2));
        assert_eq!(sums.methods[0].latency[0], 18);
        assert_eq!((sums.workers[0].calls, sums.workers[1].calls), (13, 5));
        let sums = state.sums(began + SILENT);
        assert_eq!((sums.methods[0].calls, sums.methods[0].in_flight), (18, 0));
    }
}
