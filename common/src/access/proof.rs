//! What the holder of a key signs: to log in, and to show a ticket on a connection.
//!
//! Every message begins with its purpose, so that a signature for one purpose is worth nothing for
//! another, and holds what tells its connection from all others. Only the last part of a message has
//! no fixed length, so no two messages are the same.

use super::{HolderId, HolderKey, KEY_LEN};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

const LOGIN: &[u8] = b"pyroxene.login.1\0";
const HELLO: &[u8] = b"pyroxene.hello.2\0";

/// The size of a nonce and of a channel binding, in bytes.
pub const CHALLENGE_LEN: usize = 32;

/// Whom a client believes to be at the other end of a connection.
///
/// It is part of what the client signs. So a server that relays what it hears to another one is found
/// out there, also where no TLS tells connections apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addressee {
    /// A name server.
    NameServer,
    /// A worker, as the directory has it.
    Worker {
        /// Its name. By itself it tells nobody apart: whoever registers first has it.
        name: String,
        /// The key that its process has logged in with.
        key: HolderId,
    },
    /// Whatever listens at this address: the target of a static name, or of a direct connection.
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

/// What is different on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The channel binding `tls-exporter` of RFC 9266, to which both sides have contributed random
    /// bytes.
    Exporter([u8; CHALLENGE_LEN]),
    /// A nonce of the server, for a connection without TLS.
    Nonce([u8; CHALLENGE_LEN]),
}

impl Challenge {
    /// A nonce cannot pass for an exporter: else a server without TLS could ask for the signature
    /// that opens a connection with TLS.
    fn parts(&self) -> (u8, &[u8; CHALLENGE_LEN]) {
        match self {
            Self::Nonce(bytes) => (0, bytes),
            Self::Exporter(bytes) => (1, bytes),
        }
    }
}

/// What a hello wants. Whoever passes it on to where it was meant for cannot ask for something else
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The object's name.
    pub object: &'a str,
    /// The name of the interface.
    pub interface: &'a str,
    /// The version of that interface.
    pub version: u32,
}

/// A ticket as a hello shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The ticket.
    pub ticket: Vec<u8>,
    /// Whom the client believes to be at the other end.
    pub addressee: Addressee,
    /// The signature of the ticket's holder over a [`Challenge::Exporter`]. It is empty where there
    /// is no TLS: then the server answers with a nonce first.
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
    wanted: Wanted<'_>,
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

/// What is signed to log in.
#[derive(Clone, Copy, Debug)]
pub struct LoginProof<'a> {
    /// The nonce of the server.
    pub nonce: &'a [u8; CHALLENGE_LEN],
    /// The channel binding of the connection, if it has TLS.
    pub exporter: Option<&'a [u8; CHALLENGE_LEN]>,
    /// To whom the ticket is to be bound. A listener that relays the login gains a ticket of which it
    /// has no key.
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

    /// Signs it with the key that the user's token is the seed of.
    pub fn sign(&self, key: &HolderKey) -> Vec<u8> {
        key.sign(&self.message())
    }

    /// Whether the owner of the token with this public key has signed it.
    pub fn is_signed_by(&self, key: &HolderId, signature: &[u8]) -> bool {
        key.verifies(&self.message(), signature)
    }
}

impl HolderKey {
    /// Proves on a connection that a ticket that is bound to this key is shown by its holder.
    pub fn prove(
        &self,
        ticket: &[u8],
        addressee: &Addressee,
        wanted: Wanted<'_>,
        challenge: &Challenge,
    ) -> Vec<u8> {
        self.sign(&hello(ticket, addressee, wanted, challenge))
    }
}

impl Credential {
    /// Whether the holder's key has signed it on the connection with this challenge, for what is
    /// wanted there.
    pub fn is_proved_by(
        &self,
        holder: &HolderId,
        wanted: Wanted<'_>,
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

    const WANTED: Wanted<'_> = Wanted {
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
            Wanted {
                object: "echo",
                ..WANTED
            },
            Wanted {
                interface: "Echo",
                ..WANTED
            },
            Wanted {
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
