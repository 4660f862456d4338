//! One connection of HTTP/1.1 as plain bytes: the load takes as little of the cores as it can.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection that is used again and again.
pub(super) struct HttpConnection {
    socket: TcpStream,
    received: Vec<u8>,
}

/// The head of an answer.
pub(super) struct Head {
    pub(super) text: String,
    /// Its size in bytes.
    pub(super) size: usize,
}

impl Head {
    /// The value of a header, whose name is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is_ok(&self) -> bool {
        self.text.starts_with("HTTP/1.1 2")
    }
}

impl HttpConnection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address)
            .await
            .context("cannot connect")?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            received: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a request and reads the head of its answer, which must be a success.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<Head> {
        self.socket.write_all(request).await?;
        loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                let rest = self.received.split_off(end + 4);
                let head = std::mem::replace(&mut self.received, rest);
                let head = Head {
                    size: head.len(),
                    text: String::from_utf8(head)?,
                };
                ensure!(head.is_ok(), "the server answered {}", head.text);
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// Reads the body of the answer with this head.
    pub(super) async fn body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let length = head.header("content-length").context("no content-length")?;
        let length: usize = length.parse().context("no length")?;
        while self.received.len() < length {
            self.fill().await?;
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// The bytes that came since the last time, at least one.
    pub(super) async fn more(&mut self) -> Result<Vec<u8>> {
        if self.received.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.received))
    }

    async fn fill(&mut self) -> Result<()> {
        let read = self.socket.read_buf(&mut self.received).await?;
        ensure!(read > 0, "the server ended the connection");
        Ok(())
    }
}

/// Where a text begins within another.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}
