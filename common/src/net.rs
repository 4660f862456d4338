//! Sockets and listeners for every kind of [`Endpoint`], without TLS.

mod dial;
mod forward;
mod local_address;
mod memory;

pub use dial::dial;
pub(crate) use forward::forward;
pub use local_address::address_for_others;
pub use memory::{MemoryFaults, MemoryListener, memory_address};

use crate::{endpoint::Endpoint, private_file};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::{
    fmt,
    fs::Permissions,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr, TcpStream as StdTcpStream},
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// How many connections to a Unix socket may wait for being accepted.
const BACKLOG: i32 = 1024;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Within this process, for tests.
    Memory(DuplexStream),
}

/// Lets written bytes leave at once.
///
/// It turns off Nagle's delay and, between processes of one machine, pacing. Where BBR is the default
/// congestion control, Linux sends bytes about as fast as the connection carried them before, also on the
/// loopback interface. So when many answers gather on a connection that carried little before, they leave
/// slowly. There is no congestion within a machine, and Reno, which every Linux has, does no pacing.
fn disable_send_delays(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // If the peer has hung up already, there is no address. Errors are ignored, because the socket works
    // without this.
    #[cfg(target_os = "linux")]
    if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr())
        && here.ip() == there.ip()
    {
        let _ = rustix::net::sockopt::set_tcp_congestion(stream, "reno");
    }
    Ok(())
}

/// An end of a connection.
#[derive(Clone, Copy)]
pub(crate) enum SocketEnd {
    Local,
    Remote,
}

impl Socket {
    /// Registers the socket with the current runtime instead of its former one.
    pub(crate) fn register_again(&mut self) -> io::Result<()> {
        // The copy is the same non-blocking socket; the original is closed.
        *self = match self {
            Self::Memory(_) => return Ok(()),
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

    /// The address of one end, as text. Within one machine both ends see the same text. It is empty if there
    /// is no address.
    pub(crate) fn address(&self, end: SocketEnd) -> String {
        let address = match (self, end) {
            (Self::Tcp(stream), SocketEnd::Local) => stream.local_addr().map(canonical),
            (Self::Tcp(stream), SocketEnd::Remote) => stream.peer_addr().map(canonical),
            (Self::Unix(stream), SocketEnd::Local) => {
                stream.local_addr().map(|address| path_of(&address))
            }
            (Self::Unix(stream), SocketEnd::Remote) => {
                stream.peer_addr().map(|address| path_of(&address))
            }
            (Self::Memory(_), _) => return String::new(),
        };
        address.unwrap_or_default()
    }

    /// Acknowledges at once what was received over TCP.
    pub(crate) fn acknowledge_at_once(&self) {
        // An error only means that the acknowledgement comes later.
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        }
    }

    /// Two sockets within this process that are connected to each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::Unix(one), Self::Unix(other)))
    }
}

/// The text of an IPv4 address is the same for IPv4 and IPv6 sockets.
fn canonical(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

fn path_of(address: &tokio::net::unix::SocketAddr) -> String {
    let path = address.as_pathname();
    path.map_or_else(String::new, |path| format!("unix:{}", path.display()))
}

forward!(Socket { Tcp | Unix | Memory });

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// From an address.
    Ip(SocketAddr),
    /// From a process on this machine.
    Unix {
        /// The user id of the process.
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

/// A listening socket. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// The path of the socket.
        path: PathBuf,
    },
    /// Within this process, for tests.
    Memory(MemoryListener),
}

impl Listener {
    /// Listens on an endpoint. Port zero takes any free port. The file of a Unix socket without a listener is
    /// replaced.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => TcpListener::bind((host.as_str(), *port))
                .await
                .map(Self::Tcp),
            Endpoint::Unix(path) if memory::is_memory(path) => {
                MemoryListener::bind(path).map(Self::Memory)
            }
            Endpoint::Unix(path) => {
                let listener = match listen_privately(path) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        if UnixStream::connect(path).await.is_ok() {
                            return Err(error);
                        }
                        std::fs::remove_file(path)?;
                        listen_privately(path)?
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

    /// The address where it listens, with the actual port.
    pub fn local_endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Endpoint::from),
            Self::Unix { path, .. } => Ok(Endpoint::Unix(path.clone())),
            Self::Memory(listener) => Ok(Endpoint::Unix(listener.path().to_owned())),
        }
    }

    /// The next connection, and its origin.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                disable_send_delays(&stream)?;
                Ok((Socket::Tcp(stream), Peer::Ip(address)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
            Self::Memory(listener) => {
                let uid = rustix::process::getuid().as_raw();
                let stream = listener.accept().await?;
                Ok((Socket::Memory(stream), Peer::Unix { uid }))
            }
        }
    }
}

/// Listens on a Unix socket that only processes of this user may connect to, independent of the process's
/// umask. Nobody can connect between the two steps, because the socket does not listen yet.
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(private_file::MODE))?;
    listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // It may have been removed already, and the error cannot be reported.
            let _ = std::fs::remove_file(path);
        }
    }
}
