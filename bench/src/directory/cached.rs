//! Resolving a name that the client has cached: the bytes and connections that this takes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use pyroxene_client::Client;
use pyroxene_objects::interfaces::echo::Echo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use super::worker_sessions::object_name;
use crate::figure::{Figure, FigureTarget, Figures};

/// The number of resolutions. They take less time than the interval after which a silent connection
/// sends a keepalive, whose bytes would be counted too.
const TIMES: u32 = 1_000_000;

/// The client's watch of the name has begun after this time.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// Resolves a name through a relay that counts connections and bytes.
pub(super) async fn measure(nameserver: SocketAddr, figures: &mut Figures) -> Result<()> {
    let (address, counts) = relay(nameserver).await?;
    let client = Client::connect(&address.to_string()).await?;
    let name = object_name(7);
    client.proxy::<Echo>(&name).await?;
    // The client starts a watch after the first answer.
    sleep(SETTLE_TIME).await;
    let first = counts.totals();
    let start = Instant::now();
    for _ in 0..TIMES {
        client.proxy::<Echo>(&name).await?;
    }
    let elapsed = start.elapsed();
    let after = counts.totals();
    figures.add(Figure::new(
        "resolve of a new name, and the watch that follows: bytes both ways",
        first.bytes as f64,
        "B",
    ));
    figures.add(
        Figure::new(
            format!("resolve of a cached name, {TIMES} times: bytes both ways"),
            (after.bytes - first.bytes) as f64,
            "B",
        )
        .target(FigureTarget::AtMost(0.0)),
    );
    figures.add(
        Figure::new(
            format!("resolve of a cached name, {TIMES} times: new connections"),
            (after.connections - first.connections) as f64,
            "",
        )
        .target(FigureTarget::AtMost(0.0)),
    );
    figures.add(Figure::new(
        "resolve of a cached name",
        elapsed.as_nanos() as f64 / f64::from(TIMES),
        "ns",
    ));
    Ok(())
}

/// The connections and bytes that the relay has forwarded.
#[derive(Default)]
struct RelayCounters {
    connections: AtomicU64,
    bytes: AtomicU64,
}

struct RelayTotals {
    connections: u64,
    bytes: u64,
}

impl RelayCounters {
    fn totals(&self) -> RelayTotals {
        RelayTotals {
            connections: self.connections.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
        }
    }
}

/// Starts a relay that forwards connections to `target` and counts their bytes.
async fn relay(target: SocketAddr) -> Result<(SocketAddr, Arc<RelayCounters>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr().context("the relay has no address")?;
    let counts = Arc::<RelayCounters>::default();
    let counting = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(target).await else {
                return;
            };
            counting.connections.fetch_add(1, Ordering::SeqCst);
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(forward(near_read, far_write, Arc::clone(&counting)));
            tokio::spawn(forward(far_read, near_write, Arc::clone(&counting)));
        }
    });
    Ok((address, counts))
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counts: Arc<RelayCounters>,
) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        counts.bytes.fetch_add(count as u64, Ordering::SeqCst);
        to.write_all(buffer.get(..count).unwrap_or_default())
            .await?;
    }
}
