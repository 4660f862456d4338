//! The systems whose streams are compared: each serves the same item again and again, as fast as it is read.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use futures::{Stream as Items, StreamExt, stream};
use pyroxene_client::{DirectProxy, context_within};
use pyroxene_common::{
    Stream,
    host::{Host, HostConfig, HostedObject},
    values::Blob,
};
use serde::Serialize;
use tarpc::context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    daemon::{ANY_PORT, socket_address},
    process,
    rpc::systems::tonic_peer::{self, Message},
};

const OBJECT: &str = "bench.stream";

/// Longer than any stream here lasts.
const DEADLINE: Duration = Duration::from_secs(3600);

pyroxene_common::interface! {
    /// Streams.
    #[name = "Bench.Repeater"]
    #[version = 1]
    pub trait Repeater in repeater {
        /// The item, again and again.
        #[idempotent]
        async fn repeat(item: Blob) -> Stream<Blob>;
    }
}

#[derive(Clone)]
struct Repeats;

impl repeater::Repeater for Repeats {
    async fn repeat(self, _: context::Context, item: Blob) -> Stream<Blob> {
        Stream::new(stream::repeat(item))
    }
}

/// One of the systems, under the name it has on the command line and in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StreamSystem {
    /// Frames of a length and the item over bare TCP: those that are ready together are written and read together
    Raw,
    Tonic,
    Pyroxene,
}

/// The items that a client reads.
pub(super) type ReadItems = Pin<Box<dyn Items<Item = Result<Bytes>> + Send>>;

impl StreamSystem {
    /// The name on the command line and in results.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Whether the system's server is a worker of this project.
    pub(crate) fn is_worker(self) -> bool {
        self == Self::Pyroxene
    }

    /// Listens on a free port, prints the ready line and serves until an error.
    pub(crate) async fn serve(self) -> Result<()> {
        if self == Self::Pyroxene {
            let object = HostedObject::from_service::<Repeater, _>(Repeats);
            let objects = HashMap::from([(OBJECT.to_owned(), object)]);
            let host = Host::bind(HostConfig::new(ANY_PORT.into(), "bench"), objects).await?;
            process::print_ready_line(socket_address(host.local_addr())?)?;
            return std::future::pending().await;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        process::print_ready_line(listener.local_addr()?)?;
        match self {
            Self::Tonic => tonic_peer::serve(listener).await,
            Self::Raw | Self::Pyroxene => serve_raw(listener).await,
        }
    }
}

/// A connection of a client, before its stream begins.
pub(super) enum StreamConnection {
    Raw(TcpStream),
    Tonic(tonic_peer::TonicClient),
    Pyroxene(DirectProxy<Repeater>),
}

impl StreamConnection {
    pub(super) async fn open(system: StreamSystem, address: SocketAddr) -> Result<Self> {
        Ok(match system {
            StreamSystem::Raw => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::Raw(stream)
            }
            StreamSystem::Tonic => Self::Tonic(tonic_peer::client(address).await?),
            StreamSystem::Pyroxene => {
                Self::Pyroxene(DirectProxy::connect(&address.into(), OBJECT).await?)
            }
        })
    }

    /// Begins a stream of copies of an item.
    pub(super) async fn read(self, item: Bytes) -> Result<ReadItems> {
        Ok(match self {
            Self::Raw(stream) => read_raw(stream, &item).await?,
            Self::Tonic(mut client) => {
                let answered = client.repeat(Message { payload: item }).await?;
                let items = answered.into_inner();
                Box::pin(items.map(|item| Ok(item?.payload)))
            }
            Self::Pyroxene(proxy) => {
                let client = proxy.client();
                let items = client.repeat(context_within(DEADLINE), Blob(item)).await?;
                Box::pin(items.map(|item| Ok(item?.0)))
            }
        })
    }
}

/// Frames that have together at most this size are written in one piece, in bytes.
const WRITTEN_TOGETHER: usize = 64 * 1024;

async fn serve_raw(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // It ends when the client closes its connection.
        tokio::spawn(repeat_raw(stream));
    }
}

async fn repeat_raw(mut stream: TcpStream) -> Result<()> {
    let length = stream.read_u32().await?;
    let mut item = vec![0; length as usize];
    stream.read_exact(&mut item).await?;
    let header = length.to_be_bytes();
    if item.len() < WRITTEN_TOGETHER {
        let frames = [&header[..], &item].concat();
        let frames = frames.repeat(WRITTEN_TOGETHER / frames.len());
        loop {
            stream.write_all(&frames).await?;
        }
    }
    loop {
        let mut frame = Buf::chain(&header[..], &item[..]);
        stream.write_all_buf(&mut frame).await?;
    }
}

async fn read_raw(mut stream: TcpStream, item: &Bytes) -> Result<ReadItems> {
    stream.write_u32(u32::try_from(item.len())?).await?;
    stream.write_all(item).await?;
    let reader = BufReader::with_capacity(WRITTEN_TOGETHER, stream);
    // The memory of an item comes back when it was dropped.
    let state = (reader, BytesMut::new());
    let items = stream::try_unfold(state, |(mut reader, mut buffer)| async move {
        let length = reader.read_u32().await.context("the stream ended")? as usize;
        buffer.reserve(length);
        while buffer.len() < length {
            let missing = length - buffer.len();
            let mut rest = (&mut buffer).limit(missing);
            ensure!(
                reader.read_buf(&mut rest).await? > 0,
                "an item is cut short"
            );
        }
        let item = buffer.split().freeze();
        anyhow::Ok(Some((item, (reader, buffer))))
    });
    Ok(Box::pin(items))
}
