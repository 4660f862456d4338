//! Connecting to a host that may have several addresses, some of which may not respond: "happy eyeballs" (RFC
//! 8305).
//!
//! The addresses are tried in turn, alternating between the two families. Each attempt starts some time after
//! the previous one, or as soon as that has failed; earlier attempts continue. The last address is tried
//! [`LAST_ADDRESS_AFTER`] after the first one at the latest, however many there are. The first success wins,
//! and its address is tried first the next time. The handshake on a new connection is part of the attempt,
//! because a host that accepts and does not answer is as useless as one that does not accept.

use super::{Socket, disable_send_delays, memory};
use crate::endpoint::Endpoint;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};

/// When the last address is tried at the latest; the others are spread evenly before it. An attempt is shared
/// by callers with different deadlines, so the time cannot be derived from one of them. A fixed delay between
/// two addresses would leave the last of many to callers who have seconds. With [`MAX_ADDRESSES`] the delay is
/// more than the 10 ms that RFC 8305 demands.
const LAST_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The timeout of connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of resolving a name. A resolver whose first server is dead asks the next one after five
/// seconds.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 16;

/// For how many hosts the working address is remembered.
const MAX_REMEMBERED: usize = 1024;

/// The addresses that worked last, by host and port. All connections of the process share them.
static LAST_WORKED: Mutex<BTreeMap<(String, u16), SocketAddr>> = Mutex::new(BTreeMap::new());

/// Connects to an endpoint. `establish` makes the handshake on a new connection. If no address succeeds, the
/// error of an address that accepted the connection is preferred.
pub async fn dial<T, E, F>(endpoint: &Endpoint, establish: impl Fn(Socket) -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Unix(path) if memory::is_memory(path) => {
            return establish(Socket::Memory(memory::connect(path)?)).await;
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return establish(Socket::Unix(stream)).await;
        }
    };
    let resolving = timeout(RESOLVE_TIMEOUT, lookup_host((host.as_str(), port)));
    let resolved = resolving.await.unwrap_or_else(|_| {
        let message = format!("the name '{host}' was not resolved in time");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    });
    let addresses: Vec<SocketAddr> = resolved?.take(MAX_ADDRESSES).collect();
    let key = (host.clone(), port);
    let before = last_worked().get(&key).copied();
    let (address, established) = dial_any(in_order(addresses, before), establish).await?;
    remember(key, before, address);
    Ok(established)
}

fn last_worked() -> std::sync::MutexGuard<'static, BTreeMap<(String, u16), SocketAddr>> {
    // Plain data: valid even if a holder of the lock panicked.
    LAST_WORKED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(key: (String, u16), before: Option<SocketAddr>, address: SocketAddr) {
    if before == Some(address) {
        return;
    }
    let mut known = last_worked();
    if known.len() >= MAX_REMEMBERED {
        // Forgetting costs each host a few hundred milliseconds once.
        known.clear();
    }
    known.insert(key, address);
}

/// The addresses in the order of the attempts: the one that worked last, then alternating between the
/// families, beginning with the family of the resolver's first address.
fn in_order(addresses: Vec<SocketAddr>, last_worked: Option<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = last_worked.filter(|address| addresses.contains(address));
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let others = addresses
        .into_iter()
        .filter(|address| Some(*address) != preferred);
    let (first, second): (Vec<_>, Vec<_>) =
        others.partition(|address| address.is_ipv6() == begins_with_v6);
    let mut second = second.into_iter();
    let mut order: Vec<_> = preferred.into_iter().collect();
    for address in first {
        order.push(address);
        order.extend(second.next());
    }
    order.extend(second);
    order
}

async fn dial_any<T, E, F>(
    addresses: Vec<SocketAddr>,
    establish: impl Fn(Socket) -> F,
) -> Result<(SocketAddr, T), E>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    let attempt = |address| {
        let establish = &establish;
        async move {
            let socket = connect(address)
                .await
                .map_err(|error| (false, E::from(error)))?;
            establish(socket).await.map_err(|error| (true, error))
        }
    };
    match race(addresses, attempt).await {
        Ok(won) => Ok(won),
        Err(errors) => {
            let furthest = errors.into_iter().max_by_key(|(accepted, _)| *accepted);
            let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            Err(furthest.map_or_else(|| nowhere().into(), |(_, error)| error))
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<Socket> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    disable_send_delays(&stream)?;
    Ok(Socket::Tcp(stream))
}

/// The first success and its candidate; all errors, if no attempt succeeds.
async fn race<A, T, E, F>(
    candidates: impl IntoIterator<Item = A, IntoIter: ExactSizeIterator>,
    attempt: impl Fn(A) -> F,
) -> Result<(A, T), Vec<E>>
where
    A: Copy,
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = candidates.into_iter();
    let steps = waiting.len().saturating_sub(1).max(1);
    let step = LAST_ADDRESS_AFTER / u32::try_from(steps).unwrap_or(u32::MAX);
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        if let Some(candidate) = waiting.next() {
            let outcome = attempt(candidate);
            running.push(async move { (candidate, outcome.await) });
        }
        let ended = match waiting.len() {
            0 => Ok(running.next().await),
            _ => timeout(step, running.next()).await,
        };
        match ended {
            Ok(Some((candidate, Ok(value)))) => return Ok((candidate, value)),
            Ok(Some((_, Err(error)))) => errors.push(error),
            Ok(None) => return Err(errors),
            // The attempt is slow: the next one runs concurrently.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
