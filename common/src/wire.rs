//! The constants of the wire, in one place: magic, protocol version, frame kinds and limits.
//!
//! A connection starts with [`MAGIC`] and a hello (see [`crate::hello`]). After it, both sides send frames. A
//! frame is a header of [`HEADER_LEN`] bytes (the length of the body as a big-endian `u32`, then the kind)
//! followed by the body.

use std::time::Duration;

/// The first four bytes of every connection of this protocol.
pub const MAGIC: [u8; 4] = *b"PYRX";

/// The version of this protocol in a client's hello: the oldest one that a server has to speak. A server
/// refuses a hello of a greater version than its own.
pub const PROTOCOL_VERSION: u16 = 1;

/// The version in a server's answer to a hello: the newest one that it speaks. A peer of version 2 knows the
/// frames of streams, one of version 3 those of sessions and callbacks, and one of version 4 the metadata of calls.
pub const SERVER_VERSION: u16 = 4;

/// The first version with streams.
pub const STREAMS_SINCE: u16 = 2;

/// The first version with sessions and callbacks.
pub const SESSIONS_SINCE: u16 = 3;

/// The size of the session's number before the message in the body of a [`SessionCall`](FrameKind::SessionCall).
pub const SESSION_LEN: usize = 8;

/// The size of the callback's number before the message in the body of a [`Callback`](FrameKind::Callback).
pub const CALLBACK_LEN: usize = 8;

/// The first version with metadata.
pub const METADATA_SINCE: u16 = 4;

/// The greatest size of a hello's or a welcome's body, in bytes.
pub const MAX_HELLO: usize = 16 * 1024;

/// How long either side waits for the other side's part of the hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of a frame's header, in bytes.
pub const HEADER_LEN: usize = 5;

/// The default greatest size of a frame's body, in bytes (64 MiB).
pub const DEFAULT_MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The greatest limit that can be configured, because a frame's length is a `u32`.
pub const GREATEST_MAX_MESSAGE: usize = u32::MAX as usize - 1024;

/// The default limit of calls in flight on one connection.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 4096;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// To a server: one `tarpc::ClientMessage`. To a client: one `tarpc::Response`.
    Call = 1,
    /// To a server: several calls, each preceded by its length as a big-endian `u32`.
    Batch = 2,
    /// To a server: one `tarpc::Request` that wants no response.
    OneWay = 3,
    /// A keepalive request. The peer returns its body in a pong.
    Ping = 4,
    /// The answer to a ping.
    Pong = 5,
    /// To a client: send no more calls on this connection. The body says why.
    GoAway = 6,
    /// To a client: a call that was refused before it ran. To a server: a callback that was.
    Refused = 7,
    /// To a client: the load of the worker.
    Load = 8,
    /// To a server: a new credential, which replaces the one in the hello.
    Credential = 9,
    /// To a client: a progress report of a call that was sent as [`CallWithProgress`](Self::CallWithProgress).
    Progress = 10,
    /// To a server: as [`Call`](Self::Call), for a request whose caller wants progress reports.
    CallWithProgress = 11,
    /// In both directions: items of a stream. The format of this and the next three is in
    /// [`crate::channel::StreamEnd`] and its neighbours.
    StreamItems = 12,
    /// In both directions, from the producer of a stream: no more items will come.
    StreamEnd = 13,
    /// In both directions, from the reader of a stream: more items may be sent.
    StreamCredit = 14,
    /// In both directions, from the reader of a stream: no more items are wanted.
    StreamStop = 15,
    /// To a server: begin a session. To a client: it has begun, or is refused.
    Session = 17,
    /// To a server: as [`Call`](Self::Call), after the session's number (little-endian): a call within a session.
    SessionCall = 18,
    /// To a server: a session is over.
    SessionEnd = 19,
    /// To a client: the number of a callback (little-endian), then one `tarpc::ClientMessage` for it. To a server:
    /// the `tarpc::Response`.
    Callback = 20,
    /// The metadata of the call in the next frame, which is not a batch. A client gets it before a callback, if it has
    /// sent one without pairs: that belongs to no call, and says that it knows metadata.
    Metadata = 21,
}

impl FrameKind {
    /// The kind with this number, if there is one. Other numbers are reserved.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Call,
            2 => Self::Batch,
            3 => Self::OneWay,
            4 => Self::Ping,
            5 => Self::Pong,
            6 => Self::GoAway,
            7 => Self::Refused,
            8 => Self::Load,
            9 => Self::Credential,
            10 => Self::Progress,
            11 => Self::CallWithProgress,
            12 => Self::StreamItems,
            13 => Self::StreamEnd,
            14 => Self::StreamCredit,
            15 => Self::StreamStop,
            17 => Self::Session,
            18 => Self::SessionCall,
            19 => Self::SessionEnd,
            20 => Self::Callback,
            21 => Self::Metadata,
            _ => return None,
        })
    }
}
