//! The refusal of a hello, and its number on the wire.

/// The refusal of a hello.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HelloRefusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// The message for people.
    pub message: String,
}

impl HelloRefusal {
    /// A refusal with a message.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RefusalCode {
    /// The hello cannot be read.
    Malformed = 1,
    /// The client uses a newer protocol version than the server supports.
    UnsupportedProtocol = 2,
    /// The server hosts no such object.
    UnknownObject = 3,
    /// The object has another interface.
    WrongInterface = 4,
    /// The object's interface has another version.
    WrongVersion = 5,
    /// The credential is missing, wrong or expired.
    BadCredential = 6,
    /// The client may not use this object.
    Denied = 7,
    /// The server's limit of connections is reached.
    Busy = 8,
    /// The server is about to stop.
    Draining = 9,
    /// The server accepts only TLS.
    TlsRequired = 10,
    /// The client intended to connect to another server.
    WrongServer = 11,
    /// The user's limit of connections is reached.
    Limited = 12,
    /// A code that this version does not know.
    Other = 0,
}

impl From<u16> for RefusalCode {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Malformed,
            2 => Self::UnsupportedProtocol,
            3 => Self::UnknownObject,
            4 => Self::WrongInterface,
            5 => Self::WrongVersion,
            6 => Self::BadCredential,
            7 => Self::Denied,
            8 => Self::Busy,
            9 => Self::Draining,
            10 => Self::TlsRequired,
            11 => Self::WrongServer,
            12 => Self::Limited,
            _ => Self::Other,
        }
    }
}
