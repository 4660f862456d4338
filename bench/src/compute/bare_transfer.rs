//! Bare transfers over loopback: a number of bytes to the server and a number of bytes back, into
//! buffers that are reused.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::process::{self, ChildServer};

/// A connection to a process that receives and sends bytes.
pub(super) struct TransferPeer {
    server: ChildServer,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl TransferPeer {
    pub(super) async fn start() -> Result<Self> {
        let server = ChildServer::start_this_program(&["serve", "bytes"]).await?;
        let stream = TcpStream::connect(server.address()).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            server,
            stream,
            buffer: Vec::new(),
        })
    }

    /// The times of `repeats` transfers of `bytes_in` and `bytes_out` bytes, after one warm-up transfer
    /// that does not count.
    pub(super) async fn measure(
        &mut self,
        bytes_in: usize,
        bytes_out: usize,
        repeats: usize,
    ) -> Result<Vec<Duration>> {
        self.buffer.resize(bytes_in.max(bytes_out), 1);
        let mut times = Vec::new();
        for _ in 0..=repeats {
            let start = Instant::now();
            self.stream.write_u64(bytes_in as u64).await?;
            self.stream.write_u64(bytes_out as u64).await?;
            let sent = self.buffer.get(..bytes_in).unwrap_or_default();
            self.stream.write_all(sent).await?;
            let received = self.buffer.get_mut(..bytes_out).unwrap_or_default();
            self.stream.read_exact(received).await?;
            times.push(start.elapsed());
        }
        Ok(times.split_off(1))
    }

    pub(super) async fn stop(self) -> Result<()> {
        drop(self.stream);
        self.server.stop().await
    }
}

/// The server. It serves one connection.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    process::print_ready_line(listener.local_addr()?)?;
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Ok(bytes_in) = stream.read_u64().await else {
            // The client has closed the connection. The process ends when its standard input closes.
            return std::future::pending().await;
        };
        let bytes_in = usize::try_from(bytes_in)?;
        let bytes_out = usize::try_from(stream.read_u64().await?)?;
        buffer.resize(bytes_in.max(bytes_out), 1);
        stream
            .read_exact(buffer.get_mut(..bytes_in).unwrap_or_default())
            .await?;
        stream
            .write_all(buffer.get(..bytes_out).unwrap_or_default())
            .await?;
    }
}
