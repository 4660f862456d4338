//! `GET /v1/nameservers`: the name servers of the domain.

use super::{answered, json};
use crate::{
    caller::{context_of, short_context},
    extract::Caller,
    problem::Problem,
    query::NoQuery,
};
use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json as value};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// How long another name server may take to accept a connection.
const REACH_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) async fn list(Caller(caller): Caller, NoQuery: NoQuery) -> Result<Response, Problem> {
    let own = caller.nameserver()?;
    let status = answered(own.directory().status(short_context()).await)?;
    let address = own.endpoint().to_string();
    let mut nameservers = vec![value!({
        "address": address,
        "self": true,
        "state": "ready",
        "epoch": status.epoch.to_string(),
        "version": status.version,
        "uptime_ms": status.uptime_ms,
        "workers": status.workers,
        "objects": status.objects,
        "instances": status.instances,
    })];
    let peers = answered(own.directory().peers(context_of(REACH_TIMEOUT)).await)?;
    let others = peers.addresses.iter().filter(|other| **other != address);
    nameservers.extend(futures::future::join_all(others.map(|other| reached(other))).await);
    json(StatusCode::OK, &nameservers)
}

/// Another name server, and whether it can be reached from here.
async fn reached(address: &str) -> Value {
    let connected = timeout(REACH_TIMEOUT, TcpStream::connect(address)).await;
    let state = match connected {
        Ok(Ok(_)) => "ready",
        _ => "unreachable",
    };
    value!({"address": address, "self": false, "state": state})
}
