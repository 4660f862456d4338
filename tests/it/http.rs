//! HTTP and JSON on the name server's own port.

mod access;
mod browsers;
mod calls;
mod clients;
mod events;
mod figures;
mod generated_client;
mod listening;
mod schedules;
mod sessions;
mod streams;
mod tasks;

use crate::harness::{Broker, http::Request};

/// A request to the first name server of a broker.
pub(crate) fn request(broker: &Broker, method: &str, path: &str) -> Request {
    let addresses = broker.addresses();
    let first = addresses.split(',').next().unwrap();
    Request::new(first, method, path)
}
