//! The messages that the holder of a key signs: to log in, and to present a ticket on a connection.
//!
//! Every message begins with its purpose, so that a signature for one purpose is not valid for another. It
//! also contains a value that is unique to its connection. Only the last part of a message has a variable
//! length, so two different contents never give the same message.

use super::{HolderId, HolderKey, KEY_LEN};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

const LOGIN: &[u8] = b"pyroxene.login.1\0";
const HELLO: &[u8] = b"pyroxene.hello.2\0";

/// The size of a nonce and of a channel binding, in bytes.
pub const CHALLENGE_LEN: usize = 32;

/// The host that a client believes to be connected to.
///
/// The client signs it. So a host detects a server in the middle that relays a client's hello to it, even
/// where no TLS tells connections apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addressee {
    /// A name server.
    NameServer,
    /// A worker, as listed in the directory.
    Worker {
        /// Its name. The name alone does not identify a worker: the first worker that registers it has it.
        name: String,
        /// The key that its process has logged in with.
        key: HolderId,
    },
    /// The host that listens at this address: the target of a static name, or of a direct connection.
    Endpoint(String),
}

impl fmt::Display for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameServer => f.write_str("a name server"),
            Self::Worker { name, key } => {
                write!(f, "worker '{}' with the key {key}", name.escape_debug())
            }
            Self::Endpoint(address) => write!(f, "what listens at {}", address.escape_debug()),
        }
    }
}

/// A value that is different on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The channel binding `tls-exporter` of RFC 9266, to which both sides have contributed random
    /// bytes.
    Exporter([u8; CHALLENGE_LEN]),
    /// A nonce from the server, for a connection without TLS.
    Nonce([u8; CHALLENGE_LEN]),
}

impl Challenge {
    /// The first byte tells a nonce from an exporter. Otherwise a server without TLS could ask for the
    /// signature that opens a connection with TLS.
    fn parts(&self) -> (u8, &[u8; CHALLENGE_LEN]) {
        match self {
            Self::Nonce(bytes) => (0, bytes),
            Self::Exporter(bytes) => (1, bytes),
        }
    }
}

/// The object and interface that a hello asks for. They are signed, so that a relay cannot ask the addressee
/// for another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloTarget<'a> {
    /// The object's name.
    pub object: &'a str,
    /// The name of the interface.
    pub interface: &'a str,
    /// The version of that interface.
    pub version: u32,
}

/// A ticket as a hello presents it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The ticket.
    pub ticket: Vec<u8>,
    /// The host that the client believes to be connected to.
    pub addressee: Addressee,
    /// The signature of the ticket's holder over a [`Challenge::Exporter`]. It is empty without TLS: then the
    /// server answers the hello with a nonce first.
    pub proof: Vec<u8>,
}

impl fmt::Debug for Credential {
    /// Hides the ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("addressee", &self.addressee)
            .finish_non_exhaustive()
    }
}

fn hello(
    ticket: &[u8],
    addressee: &Addressee,
    wanted: HelloTarget<'_>,
    challenge: &Challenge,
) -> Vec<u8> {
    let (kind, challenge) = challenge.parts();
    let mut message = HELLO.to_vec();
    message.push(kind);
    message.extend(challenge);
    message.extend(digest(&SHA256, ticket).as_ref());
    message.extend(digest(&SHA256, wanted.object.as_bytes()).as_ref());
    message.extend(digest(&SHA256, wanted.interface.as_bytes()).as_ref());
    message.extend(wanted.version.to_be_bytes());
    let (kind, key, name) = match addressee {
        Addressee::NameServer => (0, &[0; KEY_LEN], ""),
        Addressee::Worker { name, key } => (1, key.as_bytes(), name.as_str()),
        Addressee::Endpoint(address) => (2, &[0; KEY_LEN], address.as_str()),
    };
    message.push(kind);
    message.extend(key);
    message.extend(name.as_bytes());
    message
}

/// The content of the signature of a login.
#[derive(Clone, Copy, Debug)]
pub struct LoginProof<'a> {
    /// The nonce from the server.
    pub nonce: &'a [u8; CHALLENGE_LEN],
    /// The channel binding of the connection, if it has TLS.
    pub exporter: Option<&'a [u8; CHALLENGE_LEN]>,
    /// The key that the ticket is to be bound to. A server that relays the login gets a ticket for whose key
    /// it has no secret.
    pub holder: &'a HolderId,
    /// The user's name.
    pub user: &'a str,
}

impl LoginProof<'_> {
    fn message(&self) -> Vec<u8> {
        let mut message = LOGIN.to_vec();
        message.extend(self.nonce);
        message.extend(self.holder.as_bytes());
        message.push(self.exporter.is_some().into());
        message.extend(self.exporter.unwrap_or(&[0; CHALLENGE_LEN]));
        message.extend(self.user.as_bytes());
        message
    }

    /// Signs it with the key whose seed is the user's token.
    pub fn sign(&self, key: &HolderKey) -> Vec<u8> {
        key.sign(&self.message())
    }

    /// Whether it was signed with the token that has this public key.
    pub fn is_signed_by(&self, key: &HolderId, signature: &[u8]) -> bool {
        key.verifies(&self.message(), signature)
    }
}

impl HolderKey {
    /// Signs the proof that the holder of this key presents a ticket on a connection.
    pub fn prove(
        &self,
        ticket: &[u8],
        addressee: &Addressee,
        wanted: HelloTarget<'_>,
        challenge: &Challenge,
    ) -> Vec<u8> {
        self.sign(&hello(ticket, addressee, wanted, challenge))
    }
}

impl Credential {
    /// Whether the holder's key has signed the credential for the connection with this challenge, and for
    /// `wanted`.
    pub fn is_proved_by(
        &self,
        holder: &HolderId,
        wanted: HelloTarget<'_>,
        challenge: &Challenge,
        proof: &[u8],
    ) -> bool {
        let message = hello(&self.ticket, &self.addressee, wanted, challenge);
        holder.verifies(&message, proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HolderKey {
        HolderKey::generate().unwrap()
    }

    #[test]
    fn a_login_is_good_for_its_nonce_connection_holder_and_user_alone() {
        let (token, holder) = (key(), key().id());
        let (nonce, exporter) = ([1; CHALLENGE_LEN], [2; CHALLENGE_LEN]);
        let proof = LoginProof {
            nonce: &nonce,
            exporter: Some(&exporter),
            holder: &holder,
            user: "ana",
        };
        let signature = proof.sign(&token);
        assert!(proof.is_signed_by(&token.id(), &signature));
        let (other_nonce, other_holder) = ([3; CHALLENGE_LEN], key().id());
        for other in [
            LoginProof {
                nonce: &other_nonce,
                ..proof
            },
            LoginProof {
                exporter: Some(&other_nonce),
                ..proof
            },
            LoginProof {
                exporter: None,
                ..proof
            },
            LoginProof {
                holder: &other_holder,
                ..proof
            },
            LoginProof {
                user: "anabel",
                ..proof
            },
        ] {
            assert!(
                !other.is_signed_by(&token.id(), &signature),
                "{}",
                other.user
            );
        }
        assert!(!proof.is_signed_by(&other_holder, &signature));
        assert!(!proof.is_signed_by(&token.id(), b""));
    }

    const WANTED: HelloTarget<'_> = HelloTarget {
        object: "text",
        interface: "Text",
        version: 1,
    };

    #[test]
    fn a_hello_is_good_for_its_ticket_addressee_object_and_connection_alone() {
        let holder = key();
        let of_w1 = key().id();
        let worker_with = |name: &str, key| Addressee::Worker {
            name: name.to_owned(),
            key,
        };
        let worker = |name: &str| worker_with(name, of_w1);
        let credential = |ticket: &[u8], addressee| Credential {
            ticket: ticket.to_vec(),
            addressee,
            proof: Vec::new(),
        };
        let bytes = [1; CHALLENGE_LEN];
        let nonce = Challenge::Nonce(bytes);
        let proof = holder.prove(b"t", &worker("w1"), WANTED, &nonce);
        let shown = credential(b"t", worker("w1"));
        assert!(shown.is_proved_by(&holder.id(), WANTED, &nonce, &proof));
        assert!(!shown.is_proved_by(&key().id(), WANTED, &nonce, &proof));
        for challenge in [
            Challenge::Exporter(bytes),
            Challenge::Nonce([2; CHALLENGE_LEN]),
        ] {
            assert!(!shown.is_proved_by(&holder.id(), WANTED, &challenge, &proof));
        }
        for wanted in [
            HelloTarget {
                object: "echo",
                ..WANTED
            },
            HelloTarget {
                interface: "Echo",
                ..WANTED
            },
            HelloTarget {
                version: 2,
                ..WANTED
            },
        ] {
            assert!(!shown.is_proved_by(&holder.id(), wanted, &nonce, &proof));
        }
        for other in [
            credential(b"u", worker("w1")),
            credential(b"t", worker("w2")),
            credential(b"t", worker_with("w1", key().id())),
            credential(b"t", Addressee::NameServer),
            credential(b"t", Addressee::Endpoint("w1".to_owned())),
        ] {
            assert!(
                !other.is_proved_by(&holder.id(), WANTED, &nonce, &proof),
                "{other:?}"
            );
        }
    }

    #[test]
    fn a_login_is_no_hello() {
        let key = key();
        let id = key.id();
        let nonce = [1; CHALLENGE_LEN];
        let login = LoginProof {
            nonce: &nonce,
            exporter: None,
            holder: &id,
            user: "ana",
        };
        let challenge = Challenge::Nonce(nonce);
        let hello = key.prove(b"t", &Addressee::NameServer, WANTED, &challenge);
        assert!(!login.is_signed_by(&id, &hello));
    }
}
