//! A second attempt in parallel to one that takes long.

use super::{Proxy, call::ProxyCall, connecting::ConnectedInstance};
use crate::instance::ObjectInstance;
use futures::future::{Either, select};
use pyroxene_common::{channel::AttemptError, interface::Interface};
use std::{pin::pin, sync::Arc};
use tokio::time::{Instant, sleep_until, timeout_at};

impl<I: Interface> Proxy<I> {
    /// Makes an attempt, and a second one in parallel if the first takes too long.
    pub(super) async fn attempt_and_hedge(
        &self,
        call: &mut ProxyCall<'_, I>,
        reached: ConnectedInstance<I::Response>,
    ) -> (
        Result<I::Response, AttemptError>,
        Arc<ObjectInstance<I::Response>>,
    ) {
        let delay = self.options.hedge_after.unwrap_or_default();
        let instance = Arc::clone(&reached.instance);
        let first = pin!(self.attempt(call, &reached));
        let first = match select(first, pin!(sleep_until(Instant::now() + delay))).await {
            Either::Left((outcome, _)) => return (outcome, instance),
            Either::Right(((), first)) => first,
        };
        let mut tried = call.tried.clone();
        tried.push(Arc::clone(&instance));
        let now = Instant::now();
        let Ok(other) = self.pick(call, &tried, now) else {
            return (first.await, instance);
        };
        if !self.budget.withdraw_retry(now) {
            return (first.await, instance);
        }
        let second = pin!(self.connect_and_attempt(call, &other));
        match select(first, second).await {
            Either::Left((Ok(response), _)) => (Ok(response), instance),
            Either::Right((Ok(response), _)) => (Ok(response), Arc::clone(&other)),
            // One attempt failed; the other may still answer.
            Either::Left((Err(_), second)) => (second.await, Arc::clone(&other)),
            Either::Right((Err(_), first)) => (first.await, instance),
        }
    }

    async fn connect_and_attempt(
        &self,
        call: &ProxyCall<'_, I>,
        instance: &Arc<ObjectInstance<I::Response>>,
    ) -> Result<I::Response, AttemptError> {
        let connection = timeout_at(call.deadline, instance.connection()).await;
        let late = |_| AttemptError::DeadlineExceeded { sent: false };
        let reached = ConnectedInstance {
            instance: Arc::clone(instance),
            connection: connection.map_err(late)??,
            _slot: None,
        };
        self.attempt(call, &reached).await
    }
}
