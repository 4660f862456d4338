//! The memory that a name server needs for idle connections.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_client::DirectProxy;
use pyroxene_common::interfaces::directory::{Cursor, Directory, directory::DirectoryClient};
use tarpc::context;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::worker_sessions::{connect, connect_many};
use crate::{
    figure::{Figure, FigureTarget, Figures},
    program::{NameServerProcess, PyroxeneProgram},
};

/// The name server has finished its remaining work after this time.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Connects many clients to an otherwise empty name server, and reads its memory three times: after
/// their hello, after one call of each, and while each watches an object.
pub(super) async fn measure(
    program: &PyroxeneProgram,
    clients: usize,
    figures: &mut Figures,
) -> Result<()> {
    let nameserver = NameServerProcess::start(program).await?;
    let note = |figures: &mut Figures, what: &str, target: Option<FigureTarget>| -> Result<()> {
        let resident = nameserver.resident_memory()?;
        let what = format!("{clients} {what}: resident memory");
        let figure = Figure::new(what, resident.megabytes(), "MB");
        figures.add(match target {
            Some(target) => figure.target(target),
            None => figure,
        });
        Ok(())
    };
    let target = Some(FigureTarget::AtMost(200.0));
    let address = nameserver.server.address();
    let lines = connect_many(address, clients).await?;
    sleep(SETTLE_TIME).await;
    note(figures, "clients that said hello", target)?;

    let looking = stream::iter(lines.iter().cloned()).map(|line| async move {
        let name = "nobody".to_owned();
        let watched = line.watch(context::current(), name, None, 0).await??;
        anyhow::Ok(watched.cursor)
    });
    let cursors: Vec<Cursor> = looking.buffer_unordered(64).try_collect().await?;
    sleep(SETTLE_TIME).await;
    note(figures, "idle clients after a call each", target)?;

    let mut watching = JoinSet::new();
    for (line, cursor) in lines.iter().cloned().zip(cursors) {
        watching.spawn(watch(line, cursor));
    }
    sleep(SETTLE_TIME).await;
    ensure!(watching.try_join_next().is_none(), "a watch ended early");
    note(figures, "clients that watch an object each", None)?;
    watching.shutdown().await;
    drop(lines);
    // The name server must still answer.
    let status = connect(address).await?.status(context::current()).await?;
    ensure!(status.workers == 0, "the name server has workers");
    nameserver.server.stop().await
}

async fn watch(line: DirectoryClient<DirectProxy<Directory>>, cursor: Cursor) -> Result<()> {
    let mut context = context::current();
    context.deadline = (Instant::now() + Duration::from_secs(90)).into_std();
    let name = "nobody".to_owned();
    line.watch(context, name, Some(cursor), 60_000).await??;
    Ok(())
}
