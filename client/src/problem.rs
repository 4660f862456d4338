//! Faults that the user of a client can mend: what a hint is chosen by.

use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, Unauthenticated},
    message::RefusalReason,
    tls::TlsFailure,
};

/// A fault that the user of a client can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A limit of the user is reached.
    LimitReached,
    /// The server accepts only TLS, and the client does not use it.
    TlsRequired,
    /// The client insists on TLS, and the server does not speak it.
    NoTls,
    /// The server wants to know who calls, and the client has not said so.
    LoginRequired,
    /// A secret is not sent without TLS to another machine.
    InTheClear,
    /// The server requires a certificate of the client.
    CertificateRequired,
    /// The client does not trust the authority that issued the server's certificate.
    UnknownAuthority,
    /// The address of a static name leads to no worker.
    StaticName,
    /// No name server answers.
    NoNameServer,
    /// The object has another interface than the one by which it is called.
    WrongInterface,
}

impl Problem {
    /// The problem behind a failed attempt, if it is one of these.
    pub fn of(error: &AttemptError) -> Option<Self> {
        match error {
            AttemptError::Refused(refusal) if refusal.reason == RefusalReason::Limited => {
                Some(Self::LimitReached)
            }
            AttemptError::Unauthenticated(Unauthenticated::Anonymous(_)) => {
                Some(Self::LoginRequired)
            }
            AttemptError::Unauthenticated(Unauthenticated::InTheClear(_)) => Some(Self::InTheClear),
            AttemptError::Unauthenticated(Unauthenticated::Certificate(
                TlsFailure::CertificateRequired,
            )) => Some(Self::CertificateRequired),
            AttemptError::NotSent(lost) | AttemptError::MaybeRan(lost) => match lost {
                ConnectionLost::TlsRequired(_) => Some(Self::TlsRequired),
                ConnectionLost::WrongInterface(_) => Some(Self::WrongInterface),
                ConnectionLost::Insecure(TlsFailure::Plain) => Some(Self::NoTls),
                ConnectionLost::Insecure(TlsFailure::UnknownAuthority) => {
                    Some(Self::UnknownAuthority)
                }
                _ => None,
            },
            _ => None,
        }
    }
}
