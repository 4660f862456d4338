//! Requests of HTTP/1.1 as plain bytes, so that a test can send what no library would.

use super::{in_time, seconds};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A request that is not sent yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    address: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last word of the type of a problem.
    pub(crate) fn problem(&self) -> String {
        let kind = self.headers.get("content-type").map(String::as_str);
        assert_eq!(kind, Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        let kind = problem["type"].as_str().unwrap_or_default();
        kind.rsplit(':').next().unwrap_or_default().to_owned()
    }
}

impl Request {
    /// A request to a server at this address.
    pub(crate) fn new(address: &str, method: &str, path: &str) -> Self {
        Self {
            address: address.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As this user.
    pub(crate) fn basic(self, user: &str, token: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{token}"));
        self.header("authorization", &format!("Basic {encoded}"))
    }

    /// With a body of JSON.
    pub(crate) fn json(self, body: &str) -> Self {
        let mut request = self.header("content-type", "application/json");
        request.body = Some(body.to_owned());
        request
    }

    /// With a body of any kind.
    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    /// Opens a connection and sends the request.
    async fn open(&self) -> BufReader<TcpStream> {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            text += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        let body = self.body.clone().unwrap_or_default();
        text += &format!(
            "content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(text.as_bytes()).await.unwrap();
        BufReader::new(socket)
    }

    /// Sends it and waits for the whole answer.
    pub(crate) async fn send(&self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        in_time(seconds(20), &what, async {
            let mut reader = self.open().await;
            let (status, headers) = head(&mut reader).await;
            let mut content = Vec::new();
            let _ = reader.read_to_end(&mut content).await;
            let chunked = headers
                .get("transfer-encoding")
                .is_some_and(|one| one == "chunked");
            let content = if chunked {
                unchunked(&content)
            } else {
                content
            };
            Answer {
                status,
                headers,
                body: String::from_utf8_lossy(&content).into_owned(),
            }
        })
        .await
    }

    /// Sends it and goes away without an answer once `gone` is through.
    pub(crate) async fn abandon(&self, gone: impl Future<Output = ()>) {
        let reader = self.open().await;
        gone.await;
        drop(reader);
    }

    /// Sends it and follows the events of the answer.
    pub(crate) async fn follow(&self) -> Events {
        in_time(seconds(10), &self.path, async {
            let mut reader = self.open().await;
            let (status, headers) = head(&mut reader).await;
            assert_eq!(status, 200, "{headers:?}");
            assert_eq!(headers["content-type"], "text/event-stream");
            Events { reader }
        })
        .await
    }
}

async fn head(reader: &mut BufReader<TcpStream>) -> (u16, BTreeMap<String, String>) {
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("this is no answer: {line:?}"));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return (status, headers);
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

fn unchunked(content: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut rest = content;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    whole
}

/// The events of an answer.
#[derive(Debug)]
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next event of which `wanted` is true; the others are passed over.
    pub(crate) async fn next(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        in_time(seconds(15), what, async {
            loop {
                let event = self.any().await;
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// Waits until the stream has ended.
    pub(crate) async fn end(mut self) {
        let mut rest = Vec::new();
        let reading = self.reader.read_to_end(&mut rest);
        in_time(seconds(15), "the end of the stream", reading)
            .await
            .unwrap();
    }

    /// Reads lines until one event is complete. The lines that frame chunks have no colon.
    async fn any(&mut self) -> Event {
        let (mut id, mut name, mut data) = (None, String::new(), None);
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).await.unwrap();
            assert!(read > 0, "the stream has ended");
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ => {
                    if let (true, Some(data)) = (line.trim().is_empty(), data.take()) {
                        return Event {
                            id,
                            event: name,
                            data,
                        };
                    }
                }
            }
        }
    }
}
