//! Streams and listeners over every kind of [`Endpoint`].

mod dial;
mod local_address;

pub use dial::dial;
pub use local_address::address_for_others;

use crate::{
    access::CHALLENGE_LEN,
    endpoint::Endpoint,
    private_file,
    tls::{MeteredSocket, TlsClient},
};
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
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::TlsStream;

/// The label of the channel binding `tls-exporter`.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// How many connections to a Unix socket may wait for being accepted.
const BACKLOG: i32 = 1024;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
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

/// A socket, perhaps with TLS over it.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream<MeteredSocket>>),
}

impl Stream {
    /// Connects to an endpoint, with TLS if `tls` is given.
    pub async fn connect(endpoint: &Endpoint, tls: Option<&TlsClient>) -> io::Result<Self> {
        dial(endpoint, |socket| Self::over(socket, endpoint, tls)).await
    }

    /// A stream over a socket that is connected to an endpoint, with TLS if `tls` is given.
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

    /// Acknowledges at once what was received over TCP.
    pub(crate) fn acknowledge_at_once(&self) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0.as_socket(),
        };
        // An error only means that the acknowledgement comes later.
        #[cfg(target_os = "linux")]
        if let Socket::Tcp(stream) = socket {
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        }
    }

    /// The channel binding `tls-exporter` (RFC 9266), which only the two ends know. `None` without TLS.
    pub fn exporter(&self) -> Option<[u8; CHALLENGE_LEN]> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let output = [0; CHALLENGE_LEN];
        let exported = match &**stream {
            TlsStream::Client(stream) => {
                let connection = stream.get_ref().1;
                connection.export_keying_material(output, EXPORTER_LABEL, Some(b""))
            }
            TlsStream::Server(stream) => {
                let connection = stream.get_ref().1;
                connection.export_keying_material(output, EXPORTER_LABEL, Some(b""))
            }
        };
        // It fails only before the end of the handshake, which is over.
        exported.ok()
    }

    /// The protocol that was negotiated inside TLS (ALPN, RFC 7301), if any.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The address of the peer, as the peer sees it. `None` over TLS, where it may differ between the two
    /// ends.
    pub fn remote_address(&self) -> Option<String> {
        match self {
            Self::Plain(socket) => Some(socket.address(SocketEnd::Remote)),
            Self::Tls(_) => None,
        }
    }

    /// The address of this end; `None` over TLS.
    pub fn local_address(&self) -> Option<String> {
        match self {
            Self::Plain(socket) => Some(socket.address(SocketEnd::Local)),
            Self::Tls(_) => None,
        }
    }

    /// Removes the limit of received bytes, because the peer is authenticated.
    pub(crate) fn lift_read_limit(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(stream) => stream.get_mut().0.lift_limit(),
        }
    }
}

/// An end of a connection.
#[derive(Clone, Copy)]
enum SocketEnd {
    Local,
    Remote,
}

impl Stream {
    /// Registers the socket with the current runtime instead of its former one.
    pub fn register_again(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.register_again(),
            Self::Tls(stream) => stream.get_mut().0.socket().register_again(),
        }
    }
}

impl Socket {
    fn register_again(&mut self) -> io::Result<()> {
        // The copy is the same non-blocking socket; the original is closed.
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

    /// The address of one end, as text. Within one machine both ends see the same text. It is empty if there
    /// is no address.
    fn address(&self, end: SocketEnd) -> String {
        let address = match (self, end) {
            (Self::Tcp(stream), SocketEnd::Local) => stream.local_addr().map(canonical),
            (Self::Tcp(stream), SocketEnd::Remote) => stream.peer_addr().map(canonical),
            (Self::Unix(stream), SocketEnd::Local) => {
                stream.local_addr().map(|address| path_of(&address))
            }
            (Self::Unix(stream), SocketEnd::Remote) => {
                stream.peer_addr().map(|address| path_of(&address))
            }
        };
        address.unwrap_or_default()
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

/// Forwards reading and writing to the value of a variant.
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
}

impl Listener {
    /// Listens on an endpoint. Port zero takes any free port. The file of a Unix socket without a listener is
    /// replaced.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => TcpListener::bind((host.as_str(), *port))
                .await
                .map(Self::Tcp),
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
