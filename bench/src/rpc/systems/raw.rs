//! Framed TCP and nothing else, the lower limit for all other systems: a length of four bytes,
//! big-endian, then the payload. There is one connection per call in flight, so nothing is multiplexed.
//!
//! Reading goes through a small buffer, so that a short frame costs one read instead of two; a read
//! larger than that buffer bypasses it. The frame is read into a buffer that is reused, because a new
//! buffer per frame costs page faults on every large frame.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::EchoCaller;

/// One connection, with the buffer that every frame is read into.
pub(crate) struct RawConnection {
    stream: BufReader<TcpStream>,
    frame: Vec<u8>,
}

impl RawConnection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::new(stream),
            frame: Vec::new(),
        }
    }

    /// Reads one frame into `self.frame`.
    async fn read(&mut self) -> Result<()> {
        let length = self.stream.read_u32().await? as usize;
        // All frames of a run have the same length, so this writes zeros once, not for each frame.
        self.frame.resize(length, 0);
        self.stream.read_exact(&mut self.frame).await?;
        Ok(())
    }
}

/// Writes one frame: length and payload in one vectored write, neither copied.
async fn write(stream: &mut BufReader<TcpStream>, payload: &[u8]) -> Result<()> {
    let length = u32::try_from(payload.len()).context("a frame holds at most 4 GiB")?;
    let header = length.to_be_bytes();
    let mut frame = Buf::chain(&header[..], payload);
    stream.get_mut().write_all_buf(&mut frame).await?;
    Ok(())
}

/// Echoes every frame of every connection.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    super::accept(listener, |stream| {
        tokio::spawn(echo_all(RawConnection::new(stream)));
    })
    .await
}

/// Ends when the client closes the connection.
async fn echo_all(mut connection: RawConnection) -> Result<()> {
    loop {
        connection.read().await?;
        write(&mut connection.stream, &connection.frame).await?;
    }
}

/// Opens one connection per call in flight.
pub(crate) async fn connect(address: SocketAddr, in_flight: usize) -> Result<Vec<RawConnection>> {
    let mut connections = Vec::with_capacity(in_flight);
    for _ in 0..in_flight {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push(RawConnection::new(stream));
    }
    Ok(connections)
}

impl EchoCaller for RawConnection {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        write(&mut self.stream, &payload).await?;
        self.read().await?;
        Ok(&self.frame)
    }
}
