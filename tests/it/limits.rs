//! What one user can take from the others, and what is refused beyond that.

mod attempts;
mod chat;
mod connections;
mod fairness;
mod logins;
mod logs;
mod tasks;
mod waiting;

use crate::harness::SecuredBroker;
use pyroxene_client::DirectProxy;
use pyroxene_common::interfaces::tasks::{OBJECT, Tasks, tasks::TasksClient};

/// The tasks object of a name server, as a user sees it.
async fn desk_of(broker: &SecuredBroker, user: &str) -> TasksClient<DirectProxy<Tasks>> {
    let config = broker.config(user);
    let endpoint = config.endpoints()[0].clone();
    let direct = DirectProxy::<Tasks>::connect_with(&endpoint, OBJECT, &config).await;
    direct.unwrap().client()
}
