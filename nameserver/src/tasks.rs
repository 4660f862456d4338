//! Durable tasks: the object `tasks`, and the dispatcher that runs them.
//!
//! - `service` answers the interface, and `batches` that of batches; `permission` decides who may do what; `convert` translates between the
//!   interface and the store.
//! - `scheduler` decides which tasks are claimed from the store, as many as the workers have capacity for
//!   (`window`), and which are sent: a pure state machine. `queue` has the tasks of one object that are here,
//!   in the order of `fair_queue`, and `backlog` what is known of those in the store.
//! - `dispatcher` does what the scheduler decides, and calls the tasks (`attempt`) as any client would.
//! - `lease` keeps the lease under which tasks are claimed; `result_writer` writes the results of attempts,
//!   `attempt_log` their progress; `maintenance` does what depends on time.
//! - `direct_capacity` lets a new task start without being queued in the store.
//!
//! **At least once.** A task is called again when it is unknown whether an attempt ran, because its worker or
//! its name server is gone. The record takes one result at most: everything that is written about an attempt
//! carries the fence of the dispatcher's lease and the attempt's number, and counts only while both are still
//! the task's.
//!
//! **With the rights of the submitter** at the time when the task runs: a task does not run if its submitter
//! was removed or revoked meanwhile, or may no longer call the method (`access/delegation.rs`). Workers see a
//! ticket that is valid for this object, method and worker only, and that only the name server can use.
//!
//! **Several name servers** over one store each run a dispatcher, each under its own lease. When a lease
//! ends, any other name server takes over its tasks.

mod attempt;
mod attempt_log;
mod backlog;
mod batches;
mod cached_counts;
mod convert;
mod counters;
mod direct_capacity;
mod dispatcher;
mod fair_queue;
#[cfg(test)]
pub(crate) mod fixture;
mod lease;
mod maintenance;
mod owned_task;
mod permission;
mod queue;
mod result_writer;
mod running;
mod scheduler;
mod service;
mod trace;
mod window;

pub(crate) use batches::{BatchesService, may_call as may_call_batches};
pub(crate) use convert::{new_task, store_failed, task, task_id};
pub(crate) use counters::TaskCounters;
pub(crate) use permission::{TaskVisibility, check_submission, may_call, visible_submitter};
pub(crate) use service::{TasksService, limited};

use crate::{
    access::TicketAuthority, directory::DirectoryService, limits::Limiter, visitors::VisitorLog,
};
use cached_counts::CachedCounts;
use direct_capacity::DirectCapacity;
use dispatcher::Dispatcher;
use lease::TaskLeaseStatus;
use maintenance::Maintenance;
use pyroxene_client::Client;
use pyroxene_common::scope::Caller;
use pyroxene_store::Store;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long tasks that have ended are kept by default.
pub const DEFAULT_TASK_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The state that the service and the dispatcher share.
#[derive(Clone, Debug)]
pub(crate) struct TaskContext {
    store: Store,
    maintenance: Arc<Maintenance>,
    lease_status: Arc<TaskLeaseStatus>,
    direct_capacity: Arc<DirectCapacity>,
    limiter: Arc<Limiter>,
    cached_counts: Arc<CachedCounts>,
    counters: Arc<TaskCounters>,
    /// Notes who submits.
    visitors: VisitorLog,
    /// Decides which rights a submitter has; none without authentication.
    authority: Option<Arc<TicketAuthority>>,
}

impl TaskContext {
    pub(crate) fn new(
        store: Store,
        limiter: Arc<Limiter>,
        authority: Option<Arc<TicketAuthority>>,
        visitors: VisitorLog,
    ) -> Self {
        Self {
            store,
            limiter,
            cached_counts: Arc::default(),
            counters: Arc::default(),
            maintenance: Arc::default(),
            lease_status: Arc::default(),
            direct_capacity: Arc::default(),
            visitors,
            authority,
        }
    }

    /// What became of tasks here.
    pub(crate) fn counters(&self) -> Arc<TaskCounters> {
        Arc::clone(&self.counters)
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Knows the limits of users.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Decides which rights a submitter has; none without authentication.
    pub(crate) fn authority(&self) -> Option<&TicketAuthority> {
        self.authority.as_deref()
    }

    /// Notes that a caller submits.
    fn saw_submitter(&self, caller: &Caller) {
        self.visitors.saw_submitter(caller);
    }

    /// Notes that a new task may become due.
    pub(crate) fn added_delayed_task(&self) {
        self.maintenance.look_soon();
    }

    /// The object `tasks`.
    pub(crate) fn service(&self) -> TasksService {
        TasksService(self.clone())
    }
}

/// The running dispatcher and its background tasks. Dropping it ends them at once.
#[derive(Debug)]
pub(crate) struct DispatcherHandle {
    stop: CancellationToken,
    dispatcher: AbortOnDropHandle<()>,
    _others: Vec<AbortOnDropHandle<()>>,
}

impl DispatcherHandle {
    /// Starts to dispatch. `client` follows this name server; `directory` gives the capacity of the workers.
    pub(crate) fn start(
        shared: TaskContext,
        client: Client,
        directory: DirectoryService,
        retention: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let spawn = |work: futures::future::BoxFuture<'static, ()>| {
            AbortOnDropHandle::new(tokio::spawn(work))
        };
        let keeper = lease::keep(Arc::clone(&shared.lease_status), shared.store.clone());
        let chores = maintenance::run(shared.clone(), retention);
        let dispatcher = Dispatcher::new(shared, client, directory);
        Self {
            dispatcher: spawn(Box::pin(dispatcher.run(stop.clone()))),
            _others: vec![spawn(Box::pin(keeper)), spawn(Box::pin(chores))],
            stop,
        }
    }

    /// Starts nothing more, waits a short time for running attempts, and gives the other tasks back to the
    /// store.
    pub(crate) async fn stop(mut self, drain_timeout: Duration) {
        self.stop.cancel();
        // Tasks that were not given back in time are taken over when the lease ends.
        let _ = timeout(drain_timeout + dispatcher::WRAP_UP, &mut self.dispatcher).await;
    }
}
