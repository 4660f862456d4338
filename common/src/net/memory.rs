//! Connections within a process, without sockets, for tests. What they carry can be delayed and lost.
//!
//! Their addresses are paths below `/dev/null`, where no file can be. So whatever knows the addresses of Unix
//! sockets knows them too.

use bytes::{Bytes, BytesMut};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Where the addresses are.
const ROOT: &str = "/dev/null/pyroxene";

/// How many bytes an end may write before the other end reads.
const BUFFER: usize = 64 * 1024;

/// How many pieces of bytes may be on their way in one direction.
const ON_THEIR_WAY: usize = 256;

/// How many connections may wait for being accepted.
const BACKLOG: usize = 1024;

/// The hosts that listen, by address.
static HOSTS: Mutex<BTreeMap<PathBuf, ListeningHost>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct ListeningHost {
    connections: mpsc::Sender<DuplexStream>,
    faults: MemoryFaults,
}

fn hosts() -> MutexGuard<'static, BTreeMap<PathBuf, ListeningHost>> {
    // Plain data: valid even if a holder of the lock panicked.
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of a host within this process, which is unique in it.
pub fn memory_address(network: u64, host: &str) -> String {
    format!("unix:{ROOT}/{network}/{host}")
}

/// Whether this is the address of a host within a process.
pub(super) fn is_memory(path: &Path) -> bool {
    path.starts_with(ROOT)
}

/// What happens to the bytes of the connections of one host. Clones share it.
///
/// ```
/// use pyroxene_common::net::MemoryFaults;
/// use std::time::Duration;
///
/// let faults = MemoryFaults::default();
/// faults.delay(Duration::from_millis(20));
/// faults.loss(0.01);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryFaults(Arc<MemoryFaultState>);

#[derive(Debug, Default)]
struct MemoryFaultState {
    delay_micros: AtomicU64,
    /// The bits of an `f64`.
    loss: AtomicU64,
}

impl MemoryFaults {
    /// Bytes take this long in each direction from now on.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.0.delay_micros.store(micros, Ordering::Relaxed);
    }

    /// From now on each piece of bytes is lost with this probability, from 0 to 1. A connection that has lost a
    /// piece carries no more in that direction, and stays open.
    pub fn loss(&self, probability: f64) {
        self.0.loss.store(probability.to_bits(), Ordering::Relaxed);
    }

    /// The faults of the host that listens at an address.
    pub fn of(path: &Path) -> Option<Self> {
        hosts().get(path).map(|host| host.faults.clone())
    }

    fn arrival(&self) -> Instant {
        let micros = self.0.delay_micros.load(Ordering::Relaxed);
        Instant::now() + Duration::from_micros(micros)
    }

    fn loses(&self) -> bool {
        let loss = f64::from_bits(self.0.loss.load(Ordering::Relaxed));
        loss > 0.0 && rand::random_bool(loss.clamp(0.0, 1.0))
    }
}

/// A host that listens. It is gone when this is dropped.
#[derive(Debug)]
pub struct MemoryListener {
    path: PathBuf,
    connections: tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>,
}

impl MemoryListener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let mut hosts = hosts();
        if hosts.contains_key(path) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let host = ListeningHost {
            connections: sender,
            faults: MemoryFaults::default(),
        };
        hosts.insert(path.to_owned(), host);
        Ok(Self {
            path: path.to_owned(),
            connections: tokio::sync::Mutex::new(receiver),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<DuplexStream> {
        let mut connections = self.connections.lock().await;
        let connection = connections.recv().await;
        connection.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        hosts().remove(&self.path);
    }
}

/// Connects to a host of this process.
pub(super) fn connect(path: &Path) -> io::Result<DuplexStream> {
    let (connections, faults) = match hosts().get(path) {
        Some(host) => (host.connections.clone(), host.faults.clone()),
        None => return Err(io::ErrorKind::ConnectionRefused.into()),
    };
    let (ours, from_us) = duplex(BUFFER);
    let (theirs, from_them) = duplex(BUFFER);
    let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
    connections.try_send(theirs).map_err(refused)?;
    let (from_us, to_us) = split(from_us);
    let (from_them, to_them) = split(from_them);
    tokio::spawn(carry(from_us, to_them, faults.clone()));
    tokio::spawn(carry(from_them, to_us, faults));
    Ok(ours)
}

/// Carries the bytes of one direction, until either end is closed.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    faults: MemoryFaults,
) {
    let (sender, mut carried) = mpsc::channel::<(Instant, Bytes)>(ON_THEIR_WAY);
    let reading = async move {
        let mut is_broken = false;
        loop {
            let mut piece = BytesMut::with_capacity(BUFFER);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            is_broken |= faults.loses();
            if !is_broken
                && sender
                    .send((faults.arrival(), piece.freeze()))
                    .await
                    .is_err()
            {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((arrival, piece)) = carried.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other end may be gone already.
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::Endpoint,
        net::{Listener, dial},
    };

    fn endpoint(host: &str) -> Endpoint {
        memory_address(rand::random(), host).parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_as_long_as_they_are_delayed() {
        let endpoint = endpoint("a");
        let listener = Listener::bind(&endpoint).await.unwrap();
        let Endpoint::Unix(path) = &endpoint else {
            panic!("it is a path");
        };
        MemoryFaults::of(path)
            .unwrap()
            .delay(Duration::from_secs(3));
        let began = Instant::now();
        let ours = dial(&endpoint, async |mut socket| {
            socket.write_all(b"hello").await.map(|()| socket)
        });
        let mut ours = ours.await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let mut heard = [0; 5];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(
            (&heard, began.elapsed()),
            (b"hello", Duration::from_secs(3))
        );
        drop(theirs);
        assert_eq!(ours.read(&mut heard).await.unwrap(), 0, "it is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_never_arrives_and_the_connection_stays_open() {
        let endpoint = endpoint("b");
        let listener = Listener::bind(&endpoint).await.unwrap();
        let Endpoint::Unix(path) = &endpoint else {
            panic!("it is a path");
        };
        let faults = MemoryFaults::of(path).unwrap();
        faults.loss(1.0);
        let ours = dial(&endpoint, async |mut socket| {
            socket.write_all(b"hello").await.map(|()| socket)
        });
        let _ours = ours.await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let reading = tokio::time::timeout(Duration::from_secs(60), theirs.read_u8());
        assert!(reading.await.is_err(), "nothing arrives");
    }

    #[tokio::test]
    async fn an_address_is_free_again_when_its_listener_is_gone() {
        let endpoint = endpoint("c");
        let refused = dial(&endpoint, async |socket| io::Result::Ok(socket)).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let listener = Listener::bind(&endpoint).await.unwrap();
        let again = Listener::bind(&endpoint).await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(Listener::bind(&endpoint).await.is_ok());
    }
}
