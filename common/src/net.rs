//! Streams and listeners over every kind of [`Endpoint`].

mod dial;

pub use dial::dial;

use crate::{endpoint::Endpoint, tls::TlsClient};
use std::{
    fmt,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdTcpStream, UdpSocket},
    os::{fd::AsFd, unix::net::UnixStream as StdUnixStream},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Lets what is written leave at once.
///
/// Without Nagle's delay; and, between processes of one machine, without pacing. Where BBR is the default
/// for congestion control, Linux lets bytes leave about as fast as the connection carried them before, on
/// the loopback interface too: when many answers gather on a connection that had little to carry, they
/// trickle. There is no congestion within a machine, and Reno, which every Linux has, paces nothing.
fn make_prompt(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Whoever has hung up already has no address; and it works without.
    #[cfg(target_os = "linux")]
    if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr())
        && here.ip() == there.ip()
    {
        let _ = rustix::net::sockopt::set_tcp_congestion(stream, "reno");
    }
    Ok(())
}

/// A socket, perhaps with TLS over it.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Connects to an endpoint, with TLS if `tls` says how.
    pub async fn connect(endpoint: &Endpoint, tls: Option<&TlsClient>) -> io::Result<Self> {
        dial(endpoint, |socket| Self::over(socket, endpoint, tls)).await
    }

    /// What is said to an endpoint goes over a socket that is connected to it, with TLS if `tls` says
    /// how.
    pub async fn over(
        socket: Socket,
        endpoint: &Endpoint,
        tls: Option<&TlsClient>,
    ) -> io::Result<Self> {
        match tls {
            Some(tls) => tls.connect(socket, endpoint).await,
            None => Ok(Self::Plain(socket)),
        }
    }
}

impl Stream {
    /// Has the runtime that is entered now watch the socket, in the place of the one that did so
    /// until now.
    pub fn register_again(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.register_again(),
            Self::Tls(stream) => stream.get_mut().0.register_again(),
        }
    }
}

impl Socket {
    fn register_again(&mut self) -> io::Result<()> {
        // The copy is the same socket, so it does not block either; the original is closed.
        *self = match self {
            Self::Tcp(stream) => {
                let copy: StdTcpStream = stream.as_fd().try_clone_to_owned()?.into();
                Self::Tcp(TcpStream::from_std(copy)?)
            }
            Self::Unix(stream) => {
                let copy: StdUnixStream = stream.as_fd().try_clone_to_owned()?.into();
                Self::Unix(UnixStream::from_std(copy)?)
            }
        };
        Ok(())
    }

    /// Two sockets that are connected with each other, within this process.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::Unix(one), Self::Unix(other)))
    }
}

/// Forwards reading and writing to what a variant holds.
macro_rules! forward {
    ($name:ident { $($variant:ident)|+ }) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write(context, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write_vectored(context, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_flush(context),)+
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(context),)+
                }
            }
        }
    };
}

forward!(Socket { Tcp | Unix });
forward!(Stream { Plain | Tls });

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// From an address.
    Ip(SocketAddr),
    /// From a process of this machine.
    Unix {
        /// The user whose process it is.
        uid: u32,
    },
}

impl Peer {
    /// The address without the port.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { uid } => write!(f, "unix:uid={uid}"),
        }
    }
}

/// The address from which this machine reaches another one, if there is a way there. Nothing is sent.
pub fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // For a datagram socket this only looks up the route.
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// A listening socket. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Where it lies.
        path: PathBuf,
    },
}

impl Listener {
    /// Listens on an endpoint. Port zero takes any free one. The file of a Unix socket that nobody
    /// listens on any more is replaced.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => TcpListener::bind((host.as_str(), *port))
                .await
                .map(Self::Tcp),
            Endpoint::Unix(path) => {
                let listener = match UnixListener::bind(path) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        if UnixStream::connect(path).await.is_ok() {
                            return Err(error);
                        }
                        std::fs::remove_file(path)?;
                        UnixListener::bind(path)?
                    }
                    listener => listener?,
                };
                Ok(Self::Unix {
                    listener,
                    path: path.clone(),
                })
            }
        }
    }

    /// Where it listens, with the port that was chosen.
    pub fn local_endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Endpoint::from),
            Self::Unix { path, .. } => Ok(Endpoint::Unix(path.clone())),
        }
    }

    /// The next connection, and where it comes from.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                make_prompt(&stream)?;
                Ok((Socket::Tcp(stream), Peer::Ip(address)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // It may have been removed already; there is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}
