//! The limits of a channel.

use super::liveness::Keepalive;
use crate::{
    message::LARGE_MESSAGE,
    wire::{DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_MESSAGE},
};
use std::time::Duration;

/// The limits of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The greatest body that this side accepts, in bytes.
    pub max_receive: usize,
    /// The greatest body that the other side accepts, in bytes.
    pub max_send: usize,
    /// How many calls may be in flight at once on the connection.
    pub max_in_flight: usize,
    /// How many bytes of large messages may be queued for writing. Further large messages wait.
    pub max_buffered: usize,
    /// The times of the keepalive.
    pub keepalive: Keepalive,
    /// How long this side busy-polls a connection with a fast peer before its thread may sleep. Zero turns
    /// busy polling off.
    pub busy_poll: Duration,
    /// Whether the other side knows streams.
    pub streams: bool,
    /// Whether the other side knows metadata.
    pub metadata: bool,
    /// Whether the other side knows sessions and callbacks.
    pub sessions: bool,
    /// For a client: the version of the interface in which it calls; the greatest number if it is its own.
    pub interface_version: u32,
}

/// The default of [`Settings::busy_poll`]: 100 microseconds.
pub const DEFAULT_BUSY_POLL: Duration = Duration::from_micros(100);

/// The default of [`Settings::max_buffered`]: 16 MiB.
pub const DEFAULT_MAX_BUFFERED: usize = 16 * 1024 * 1024;

impl Settings {
    /// The defaults for a client.
    pub const CLIENT: Self = Self {
        max_receive: DEFAULT_MAX_MESSAGE,
        max_send: DEFAULT_MAX_MESSAGE,
        max_in_flight: DEFAULT_MAX_IN_FLIGHT as usize,
        max_buffered: DEFAULT_MAX_BUFFERED,
        keepalive: Keepalive::CLIENT,
        busy_poll: DEFAULT_BUSY_POLL,
        streams: true,
        metadata: true,
        sessions: true,
        interface_version: u32::MAX,
    };
    /// The defaults for a server.
    pub const SERVER: Self = Self {
        keepalive: Keepalive::SERVER,
        ..Self::CLIENT
    };

    /// `max_buffered` in units of [`LARGE_MESSAGE`] bytes.
    pub(super) fn buffer_units(&self) -> usize {
        (self.max_buffered / LARGE_MESSAGE).max(1)
    }
}
