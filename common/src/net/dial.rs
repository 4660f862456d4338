//! Connecting to a host that may have several addresses, some of which may be silent: "happy eyeballs"
//! (RFC 8305).
//!
//! The addresses are tried in turn, the two families alternately, each [`STAGGER`] after the one before
//! or as soon as that has failed, while the earlier ones go on. The first that gets through wins, and is
//! the first to be tried next time. What is said on a connection before it is of use is part of the
//! race: a host that accepts and says nothing is as silent as one that does not accept.

use super::{Socket, make_prompt};
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

/// How long after one address the next one is tried.
const STAGGER: Duration = Duration::from_millis(250);

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a name may take to be resolved. A resolver whose first server is dead asks the next one
/// after five seconds.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 16;

/// How many hosts it is remembered of which address worked.
const MAX_REMEMBERED: usize = 1024;

/// The addresses that worked last, by host and port, for the whole process: whoever connects next, for
/// whatever, had better begin with them.
static LAST_WORKED: Mutex<BTreeMap<(String, u16), SocketAddr>> = Mutex::new(BTreeMap::new());

/// Connects to an endpoint. `establish` says on a new connection what has to be said before it is of
/// use. If no address gets through, the error is that of one that accepted, if any did.
pub async fn dial<T, E, F>(endpoint: &Endpoint, establish: impl Fn(Socket) -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return establish(Socket::Unix(stream)).await;
        }
    };
    let resolving = timeout(RESOLVE_TIMEOUT, lookup_host((host.as_str(), port)));
    let resolved = resolving.await.unwrap_or_else(|_| {
        let sentence = format!("the name '{host}' was not resolved in time");
        Err(io::Error::new(io::ErrorKind::TimedOut, sentence))
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
        // It costs them a few hundred milliseconds once.
        known.clear();
    }
    known.insert(key, address);
}

/// The addresses in the order in which they are tried: the one that worked last, then the families
/// alternately, beginning with that of the resolver's first choice.
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
    make_prompt(&stream)?;
    Ok(Socket::Tcp(stream))
}

/// The first success, and which attempt it was; all errors, if there is none.
async fn race<A, T, E, F>(
    candidates: impl IntoIterator<Item = A>,
    attempt: impl Fn(A) -> F,
) -> Result<(A, T), Vec<E>>
where
    A: Copy,
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = candidates.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        if let Some(candidate) = waiting.next() {
            let outcome = attempt(candidate);
            running.push(async move { (candidate, outcome.await) });
        }
        let ended = match waiting.peek() {
            Some(_) => timeout(STAGGER, running.next()).await,
            None => Ok(running.next().await),
        };
        match ended {
            Ok(Some((candidate, Ok(value)))) => return Ok((candidate, value)),
            Ok(Some((_, Err(error)))) => errors.push(error),
            Ok(None) => return Err(errors),
            // It takes its time: the next one runs beside it.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
