//! `POST /v1/objects/echo/echo` beside a hand-written handler that echoes the same JSON.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{WebBenchOptions, connection::HttpConnection};
use crate::{
    daemon::ANY_PORT,
    figure::{Figure, FigureTarget},
    load::{self, LoadOperation, Measurement},
    process::{self, ChildServer},
};

/// The path of both servers.
const PATH: &str = "/v1/objects/echo/echo";

/// 64 bytes of JSON: the one argument of `echo`.
const BODY: &str = r#"["012345678901234567890123456789012345678901234567890123456789"]"#;

/// Serves the handler that the name server is compared with.
pub(crate) async fn serve_peer() -> Result<()> {
    let router = Router::new().route(PATH, post(echo));
    let listener = TcpListener::bind(ANY_PORT).await?;
    process::print_ready_line(listener.local_addr()?)?;
    axum::serve(listener, router).await.context("cannot serve")
}

async fn echo(arguments: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let unreadable = |_| StatusCode::BAD_REQUEST;
    let mut arguments: Vec<Value> = serde_json::from_slice(&arguments).map_err(unreadable)?;
    let answer = arguments.pop().unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, answer.to_string()))
}

/// One connection with one request in flight.
struct EchoOverHttp {
    connection: HttpConnection,
    request: Vec<u8>,
}

impl LoadOperation for EchoOverHttp {
    async fn once(&mut self) -> Result<()> {
        let head = self.connection.send(&self.request).await?;
        let answer = self.connection.body(&head).await?;
        let sent = BODY.as_bytes();
        ensure!(
            sent.get(1..sent.len() - 1) == Some(&answer),
            "another answer"
        );
        Ok(())
    }
}

async fn load(address: SocketAddr, options: &WebBenchOptions) -> Result<Measurement> {
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut operations = Vec::new();
    for _ in 0..options.connections {
        operations.push(EchoOverHttp {
            connection: HttpConnection::open(address).await?,
            request: request.clone().into_bytes(),
        });
    }
    load::run(operations, options.seconds / 5, options.seconds).await
}

/// The two servers take turns; of each, the round with the median throughput counts.
pub(super) async fn measure(
    nameserver: SocketAddr,
    options: &WebBenchOptions,
) -> Result<Vec<Figure>> {
    let peer = ChildServer::start_this_program(&["serve", "web-peer"]).await?;
    let (mut of_peer, mut of_broker) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds.max(1) {
        of_peer.push(load(peer.address(), options).await?);
        of_broker.push(load(nameserver, options).await?);
    }
    peer.stop().await?;
    let peer = median(of_peer).context("no round")?;
    let broker = median(of_broker).context("no round")?;
    let what = format!("echo over HTTP, {} connections", options.connections);
    let rate = broker.per_second() / peer.per_second();
    let tail = broker.latency_us(0.99) / peer.latency_us(0.99);
    Ok(vec![
        Figure::new(format!("{what}: axum alone"), peer.per_second(), "calls/s"),
        Figure::new(format!("{what}: broker"), broker.per_second(), "calls/s"),
        Figure::new(format!("{what}: broker ÷ axum"), rate, "").target(FigureTarget::AtLeast(0.6)),
        Figure::new(format!("{what}: p99 of axum"), peer.latency_us(0.99), "µs"),
        Figure::new(
            format!("{what}: p99 of broker"),
            broker.latency_us(0.99),
            "µs",
        ),
        Figure::new(format!("{what}: p99, broker ÷ axum"), tail, "")
            .target(FigureTarget::AtMost(2.0)),
    ])
}

fn median(mut rounds: Vec<Measurement>) -> Option<Measurement> {
    rounds.sort_by(|one, other| one.per_second().total_cmp(&other.per_second()));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_size_that_the_results_name() {
        assert_eq!(BODY.len(), 64);
    }
}
