//! A bad network between a client and a worker: a TCP proxy whose behaviour changes at run time.

use crate::harness::{eventually, in_time, seconds};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// What the network does to bytes. A change also holds for connections that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing bad.
    Pass,
    /// Every piece arrives this much later.
    Delay(Duration),
    /// Nothing arrives any more, and nobody is told.
    Blackhole,
    /// Both sides' connections are reset.
    Reset,
    /// New connections are accepted and closed at once, as by a balancer with nobody behind it.
    HangUp,
    /// So many more bytes reach the client; then both sides' connections are reset.
    CutAnswersAfter(usize),
}

/// A running proxy. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accept: Option<AbortOnDropHandle<()>>,
}

/// Tells a proxy where connections go.
#[derive(Debug)]
pub(crate) struct Signpost(Arc<Shared>);

impl Signpost {
    /// Where connections go from now on.
    pub(crate) fn lead_to(&self, target: &str) {
        self.0.target.send_replace(Some(target.to_owned()));
    }
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    /// Where connections go. The proxy is there before its target, which has to know its address.
    target: watch::Sender<Option<String>>,
    /// How many connections are open.
    connections: watch::Sender<usize>,
    /// How many connections were closed as soon as they were there.
    hung_up: watch::Sender<usize>,
}

impl FaultProxy {
    /// A proxy without a target: connections wait until it has one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            mode: watch::Sender::new(Mode::Pass),
            target: watch::Sender::new(None),
            connections: watch::Sender::new(0),
            hung_up: watch::Sender::new(0),
        });
        Self {
            address: listener.local_addr().unwrap(),
            accept: Some(accept(listener, Arc::clone(&shared))),
            shared,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where connections go from now on.
    pub(crate) fn lead_to(&self, target: &str) {
        self.signpost().lead_to(target);
    }

    /// What tells it so, from elsewhere.
    pub(crate) fn signpost(&self) -> Signpost {
        Signpost(Arc::clone(&self.shared))
    }

    /// What happens from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// How many connections were closed as soon as they were there.
    pub(crate) fn hung_up(&self) -> usize {
        *self.shared.hung_up.borrow()
    }

    /// Waits until so many connections were closed as soon as they were there.
    pub(crate) async fn hangs_up(&self, times: usize) {
        let mut hung_up = self.shared.hung_up.subscribe();
        let what = format!("{times} connections that are closed at once");
        let reached = hung_up.wait_for(|count| *count >= times);
        in_time(seconds(30), &what, reached).await.unwrap();
    }

    /// Resets every connection, and refuses new ones from now on.
    pub(crate) async fn refuse(&mut self) {
        self.accept = None;
        self.set(Mode::Reset);
        eventually("the proxy refuses connections", || async {
            let open = *self.shared.connections.borrow();
            match TcpStream::connect(self.address).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && open == 0 => {
                    Ok(())
                }
                outcome => Err(format!(
                    "{open} connections are open; a new one: {outcome:?}"
                )),
            }
        })
        .await;
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                shared.connections.send_modify(|open| *open += 1);
                // Whatever ends it, both sides see it.
                let _ = shared.carry(client).await;
                shared.connections.send_modify(|open| *open -= 1);
            });
        }
    }))
}

impl Shared {
    async fn carry(&self, mut client: TcpStream) -> io::Result<()> {
        if *self.mode.borrow() == Mode::HangUp {
            self.hung_up.send_modify(|count| *count += 1);
            return Ok(());
        }
        let mut target = self.target.subscribe();
        let target = target.wait_for(Option::is_some).await.unwrap().clone();
        let mut server = TcpStream::connect(target.unwrap()).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut reset = self.mode.subscribe();
        {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            tokio::select! {
                _ = reset.wait_for(|mode| *mode == Mode::Reset) => {}
                // An error in one direction ends the other.
                _ = async {
                    tokio::try_join!(
                        self.forward(from_client, to_server, false),
                        self.forward(from_server, to_client, true),
                    )
                } => {}
            }
        }
        // Bytes that are under way are lost with it: it is a cable that is cut.
        client.set_zero_linger()?;
        server.set_zero_linger()
    }

    async fn forward(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        answers: bool,
    ) -> io::Result<()> {
        let mut mode = self.mode.subscribe();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut piece).await?;
            let now = *mode
                .wait_for(|mode| *mode != Mode::Blackhole)
                .await
                .map_err(io::Error::other)?;
            if length == 0 {
                return to.shutdown().await;
            }
            let piece = &piece[..length];
            match now {
                Mode::Delay(time) => sleep(time).await,
                Mode::CutAnswersAfter(left) if answers => {
                    to.write_all(&piece[..left.min(length)]).await?;
                    let left = left.saturating_sub(length);
                    self.set_unless_reset(Mode::CutAnswersAfter(left));
                    if left == 0 {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    continue;
                }
                _ => {}
            }
            to.write_all(piece).await?;
        }
    }

    fn set_unless_reset(&self, next: Mode) {
        self.mode.send_if_modified(|mode| {
            let cuts = matches!(mode, Mode::CutAnswersAfter(_));
            if cuts {
                *mode = next;
            }
            cuts
        });
    }
}
