//! Durable tasks: the object `tasks`, and the dispatcher that runs them.
//!
//! - `service` answers the interface; `permission` says who may; `convert` translates between the
//!   interface and the store; `watched` wakes those who wait for news of a task.
//! - `dispatcher` takes tasks from the store, as many as the workers have places for (`window`), and
//!   calls them (`attempt`) as any client would; `lane` is what it knows of one object's tasks, and
//!   `turns` whose turn it is.
//! - `lease` keeps the right to do so; `outcomes` writes what became of attempts, `notes` how far
//!   they are; `chores` does what time brings.
//! - `places` let a new task begin without being queued.
//!
//! **At least once.** A task is called again when nobody can tell whether an attempt ran: its worker
//! or its name server is gone. The record takes one result at most: everything that is written about
//! an attempt carries the fence of the dispatcher's lease and the attempt's number, and counts only
//! while both are the task's.
//!
//! **With the rights of the submitter**, as they are when it runs: who was removed or revoked meanwhile,
//! or may not call the method any more, has no task run (`access/delegation.rs`). Workers see a ticket
//! that is good for this object, method and worker alone, and that the name server alone can show.
//!
//! **Several name servers** over one store each run a dispatcher, under a lease of its own. What one
//! had when its lease ended is taken over by any of the others.

mod attempt;
mod chores;
mod convert;
mod counted;
mod dispatcher;
mod lane;
mod lease;
mod notes;
mod outcomes;
mod permission;
mod places;
mod running;
mod service;
mod turns;
mod watched;
mod window;

pub(crate) use permission::may_call;
pub(crate) use service::TasksService;

use crate::{access::Authority, directory::DirectoryService, limits::Limiter};
use chores::Chores;
use counted::Counted;
use dispatcher::Dispatcher;
use lease::Ownership;
use places::Places;
use pyroxene_client::Client;
use pyroxene_store::Store;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use watched::Watched;

/// For how long tasks that have ended are kept unless something else is asked for.
pub const DEFAULT_TASK_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the service and the dispatcher tell each other.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    store: Store,
    watched: Arc<Watched>,
    chores: Arc<Chores>,
    ownership: Arc<Ownership>,
    places: Arc<Places>,
    limiter: Arc<Limiter>,
    counted: Arc<Counted>,
    /// Who says who somebody is, if anybody is asked.
    authority: Option<Arc<Authority>>,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        limiter: Arc<Limiter>,
        authority: Option<Arc<Authority>>,
    ) -> Self {
        Self {
            store,
            limiter,
            counted: Arc::default(),
            watched: Arc::default(),
            chores: Arc::default(),
            ownership: Arc::default(),
            places: Arc::default(),
            authority,
        }
    }

    /// The object `tasks`.
    pub(crate) fn service(&self) -> TasksService {
        TasksService(self.clone())
    }
}

/// The running dispatcher with all that belongs to it. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Dispatching {
    stop: CancellationToken,
    dispatcher: AbortOnDropHandle<()>,
    _others: Vec<AbortOnDropHandle<()>>,
}

impl Dispatching {
    /// Starts to dispatch. `client` follows this name server; `directory` tells what places there
    /// are.
    pub(crate) fn start(
        shared: Shared,
        client: Client,
        directory: DirectoryService,
        retention: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let spawn = |work: futures::future::BoxFuture<'static, ()>| {
            AbortOnDropHandle::new(tokio::spawn(work))
        };
        let keeper = lease::keep(Arc::clone(&shared.ownership), shared.store.clone());
        let chores = chores::run(shared.clone(), retention);
        let dispatcher = Dispatcher::new(shared, client, directory);
        Self {
            dispatcher: spawn(Box::pin(dispatcher.run(stop.clone()))),
            _others: vec![spawn(Box::pin(keeper)), spawn(Box::pin(chores))],
            stop,
        }
    }

    /// Begins nothing more, waits a little for what runs, and gives the rest back.
    pub(crate) async fn stop(mut self, patience: Duration) {
        self.stop.cancel();
        // What it gave up on is taken over when its lease ends.
        let _ = timeout(patience + dispatcher::WRAP_UP, &mut self.dispatcher).await;
    }
}
