//! Renewals: the number of workers' heartbeats that a name server answers per second.

use std::time::Duration;

use anyhow::Result;
use pyroxene_common::{interfaces::directory::SessionId, message::Load};
use tarpc::context;

use super::worker_sessions::{DirectoryConnection, WorkerSessions, connect_many};
use crate::{
    figure::{Figure, FigureTarget, Figures},
    load::{self, LoadOperation},
};

/// Connections that carry the heartbeats of all sessions.
const SHARED: usize = 8;
/// Heartbeats in flight on each of them.
const IN_FLIGHT: usize = 64;

/// Renews its sessions in turn.
struct SessionRenewer {
    line: DirectoryConnection,
    sessions: Vec<SessionId>,
    next: usize,
}

impl LoadOperation for SessionRenewer {
    async fn once(&mut self) -> Result<()> {
        let session = self.sessions.get(self.next % self.sessions.len());
        self.next += 1;
        if let Some(session) = session {
            let load = Load::default();
            self.line
                .renew(context::current(), *session, load)
                .await??;
        }
        Ok(())
    }
}

/// Renews as fast as the name server answers: first all sessions over a few connections, then each
/// session over its own connection.
pub(super) async fn measure(
    population: &WorkerSessions,
    measured: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let sessions = population.sessions();
    let shared = connect_many(population.nameserver(), SHARED).await?;
    let multiplexed = (0..IN_FLIGHT).flat_map(|turn| {
        shared
            .iter()
            .enumerate()
            .map(move |(number, line)| SessionRenewer {
                line: line.clone(),
                sessions: sessions.to_vec(),
                next: turn * SHARED + number,
            })
    });
    let what = format!("renewals over {SHARED} connections");
    measure_renewals(multiplexed.collect(), &what, measured, figures).await?;

    let own = connect_many(population.nameserver(), sessions.len()).await?;
    let alone = own
        .into_iter()
        .zip(sessions)
        .map(|(line, session)| SessionRenewer {
            line,
            sessions: vec![*session],
            next: 0,
        });
    let what = "renewals, each worker over its own connection";
    measure_renewals(alone.collect(), what, measured, figures).await
}

async fn measure_renewals(
    operations: Vec<SessionRenewer>,
    what: &str,
    measured: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let measurement = load::run(operations, measured / 5, measured).await?;
    figures.add(
        Figure::new(what, measurement.per_second(), "1/s").target(FigureTarget::AtLeast(50_000.0)),
    );
    let p99 = measurement.latency_us(0.99) / 1e3;
    figures.add(Figure::new(format!("{what}: p99"), p99, "ms"));
    Ok(())
}
