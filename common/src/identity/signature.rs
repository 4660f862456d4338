//! How tickets, and sessions of people, are signed and verified: PASETO v4.public tokens (Ed25519).
//!
//! The footer is `{"kid":"k4.pid.…"}`, the id of the signing key. The payload of a ticket is [`Claims`] as flat JSON,
//! that of a session [`SessionClaims`].

use super::{
    Audience, Claims, HolderId, Identity, KeyError, KeyId, MAX_TICKET, Patterns, Role,
    SessionClaims, Ticket, TicketError, user::is_reserved,
};
use pasetors::{
    Public,
    errors::Error,
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    token::UntrustedToken,
    version4::{PublicToken, V4},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Signed together with every ticket, but not part of it, so that no other message that the key may ever sign
/// is a valid ticket.
const PURPOSE: &[u8] = b"pyroxene.ticket.2";

/// The same for the sessions of people.
const SESSION_PURPOSE: &[u8] = b"pyroxene.session.1";

/// The payload: [`Claims`], flat. A worker refuses tickets with unknown fields, because a field that an older
/// worker does not know might restrict the ticket.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketPayload {
    name: String,
    role: Role,
    allow: Patterns,
    holder: HolderId,
    audience: Audience,
    issued_ms: u64,
    expires_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketFooter {
    kid: KeyId,
}

/// The id of the key that a ticket claims to be signed with. Nothing is verified.
pub fn key_id(ticket: &[u8]) -> Option<KeyId> {
    footer_key(&parse(ticket)?)
}

pub(super) fn sign(
    secret: &AsymmetricSecretKey<V4>,
    id: &KeyId,
    claims: &Claims,
) -> Result<Ticket, KeyError> {
    let identity = claims.identity.clone();
    let payload = TicketPayload {
        name: identity.name,
        role: identity.role,
        allow: identity.allow,
        holder: claims.holder,
        audience: claims.audience.clone(),
        issued_ms: claims.issued_ms,
        expires_ms: claims.expires_ms,
    };
    sign_payload(secret, id, &payload, PURPOSE).map(Ticket::new)
}

pub(super) fn verify(
    key: &AsymmetricPublicKey<V4>,
    id: &KeyId,
    ticket: &[u8],
) -> Result<Claims, TicketError> {
    let payload: TicketPayload = verify_payload(key, id, ticket, PURPOSE)?;
    if is_reserved(&payload.name) {
        return Err(TicketError::Reserved);
    }
    Ok(Claims {
        identity: Identity {
            name: payload.name,
            role: payload.role,
            allow: payload.allow,
        },
        holder: payload.holder,
        audience: payload.audience,
        issued_ms: payload.issued_ms,
        expires_ms: payload.expires_ms,
    })
}

pub(super) fn sign_session(
    secret: &AsymmetricSecretKey<V4>,
    id: &KeyId,
    claims: &SessionClaims,
) -> Result<String, KeyError> {
    sign_payload(secret, id, claims, SESSION_PURPOSE)
}

pub(super) fn verify_session(
    key: &AsymmetricPublicKey<V4>,
    id: &KeyId,
    session: &[u8],
) -> Result<SessionClaims, TicketError> {
    verify_payload(key, id, session, SESSION_PURPOSE)
}

fn sign_payload(
    secret: &AsymmetricSecretKey<V4>,
    id: &KeyId,
    payload: &impl Serialize,
    purpose: &[u8],
) -> Result<String, KeyError> {
    let footer = TicketFooter { kid: id.clone() };
    let payload = serde_json::to_vec(payload).map_err(|_| KeyError::NotSigned)?;
    let footer = serde_json::to_vec(&footer).map_err(|_| KeyError::NotSigned)?;
    PublicToken::sign(secret, &payload, Some(&footer), Some(purpose))
        .ok()
        .filter(|text| text.len() <= MAX_TICKET)
        .ok_or(KeyError::NotSigned)
}

fn verify_payload<P: DeserializeOwned>(
    key: &AsymmetricPublicKey<V4>,
    id: &KeyId,
    signed: &[u8],
    purpose: &[u8],
) -> Result<P, TicketError> {
    let untrusted = parse(signed).ok_or(TicketError::Malformed)?;
    match footer_key(&untrusted) {
        None => return Err(TicketError::Malformed),
        Some(other) if other != *id => return Err(TicketError::OtherDomain),
        Some(_) => {}
    }
    let trusted =
        PublicToken::verify(key, &untrusted, None, Some(purpose)).map_err(|error| match error {
            Error::PayloadInvalidUtf8 => TicketError::Malformed,
            _ => TicketError::Forged,
        })?;
    serde_json::from_str(trusted.payload()).map_err(|_| TicketError::Malformed)
}

fn parse(ticket: &[u8]) -> Option<UntrustedToken<Public, V4>> {
    if ticket.len() > MAX_TICKET {
        return None;
    }
    std::str::from_utf8(ticket).ok()?.try_into().ok()
}

fn footer_key(token: &UntrustedToken<Public, V4>) -> Option<KeyId> {
    let footer: TicketFooter = serde_json::from_slice(token.untrusted_footer()).ok()?;
    Some(footer.kid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{
        Addressee, DomainKey, HolderKey, MAX_PATTERNS, MAX_PATTERNS_BYTES, Revocation,
    };
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static KEY: LazyLock<DomainKey> = LazyLock::new(|| DomainKey::generate().unwrap());

    fn claims() -> Claims {
        Claims {
            identity: Identity {
                name: "ana".to_owned(),
                role: Role::User,
                allow: Patterns::any(),
            },
            holder: HolderKey::from_seed(&[7; 32]).unwrap().id(),
            audience: Audience::Domain,
            issued_ms: 1_000,
            expires_ms: 2_000,
        }
    }

    #[test]
    fn a_ticket_says_what_was_signed() {
        let ticket = KEY.sign(&claims()).unwrap();
        let text = std::str::from_utf8(ticket.as_bytes()).unwrap();
        assert!(text.starts_with("v4.public."));
        assert_eq!(text.split('.').count(), 4);
        assert_eq!(KEY.public().verify(ticket.as_bytes()), Ok(claims()));
        assert_eq!(key_id(ticket.as_bytes()), Some(KEY.public().id()));
        let json = serde_json::to_string(&ticket).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(format!("{ticket:?}"), "Ticket { .. }");
    }

    /// Ed25519 signatures are deterministic, so a key and claims always give the same ticket. Other versions
    /// have to read this one.
    #[test]
    fn the_form_of_tickets_stays_as_it_is() {
        let key = DomainKey::from_paserk(
            "k4.secret.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8c5WpIyC_5kWKhS8VEYSZ05dYfuTF-ZdQFV4D9vLTcNQ",
        );
        let ticket = key.unwrap().sign(&claims()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(ticket.as_bytes()),
            concat!(
                "v4.public.eyJuYW1lIjoiYW5hIiwicm9sZSI6InVzZXIiLCJhbGxvdyI6WyIqIl0sImhvbGRlciI6IjZrcH",
                "NZLUtjVWdxLTlWQjdFeTdGLVpWSGRxNi12bnVTUWg3cWFSUkcwaXciLCJhdWRpZW5jZSI6ImRvbWFpbiIsIm",
                "lzc3VlZF9tcyI6MTAwMCwiZXhwaXJlc19tcyI6MjAwMH1_A21MspJ8r6ozvmXoqKQHr_YE-rmJLMHP9tiit3",
                "wV4bEe6JC8WM0w1EFN8OdN1rG7MJ0XawetvmxZoOqQR7AK.eyJraWQiOiJrNC5waWQubUN2NUYzNGMzQUxCN",
                "2h6S0VPUVVzRUJwajNDVEFyaGJKekd5ZWVDQ0tXbjEifQ",
            )
        );
    }

    #[test]
    fn a_session_and_a_ticket_are_no_substitutes_for_each_other() {
        let claims = SessionClaims {
            user: "ana".to_owned(),
            token: HolderKey::from_seed(&[7; 32]).unwrap().id(),
            domain: 7,
            issued_ms: 1_000,
            expires_ms: 2_000,
        };
        let session = KEY.sign_session(&claims).unwrap();
        let public = KEY.public();
        let verified = public.verify_session(session.as_bytes());
        assert_eq!(verified, Ok(claims.clone()));
        assert_eq!(public.verify(session.as_bytes()), Err(TicketError::Forged));
        let ticket = KEY.sign(&self::claims()).unwrap();
        let verified = public.verify_session(ticket.as_bytes());
        assert_eq!(verified, Err(TicketError::Forged));
        let other = DomainKey::generate().unwrap().sign_session(&claims);
        let verified = public.verify_session(other.unwrap().as_bytes());
        assert_eq!(verified, Err(TicketError::OtherDomain));
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let ticket = KEY.sign(&claims()).unwrap();
        let public = KEY.public();
        for at in 0..ticket.as_bytes().len() {
            for bit in 0..8 {
                let mut bytes = ticket.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(public.verify(&bytes).is_err(), "{at} {bit}");
            }
            assert!(public.verify(&ticket.as_bytes()[..at]).is_err(), "{at}");
        }
        assert!(public.verify(&[ticket.as_bytes(), b"A"].concat()).is_err());
    }

    #[test]
    fn keys_of_others_do_not_count() {
        let other = DomainKey::generate().unwrap();
        let ticket = other.sign(&claims()).unwrap();
        let verified = KEY.public().verify(ticket.as_bytes());
        assert_eq!(verified, Err(TicketError::OtherDomain));
        let (payload, footer) = parts(&ticket);
        let renamed = footer.replace(
            &other.public().id().to_string(),
            &KEY.public().id().to_string(),
        );
        let forged = raw(&other, &payload, &renamed, PURPOSE);
        assert_eq!(
            KEY.public().verify(forged.as_bytes()),
            Err(TicketError::Forged)
        );
    }

    #[test]
    fn a_name_that_no_user_can_have_is_refused_whoever_signed() {
        let mut claims = claims();
        for name in ["pyroxene:nameserver", "pyroxene:", "Pyroxene:x"] {
            claims.identity.name = name.to_owned();
            let verified = KEY.public().verify(KEY.sign(&claims).unwrap().as_bytes());
            assert_eq!(verified, Err(TicketError::Reserved), "{name}");
        }
    }

    #[test]
    fn what_is_signed_for_something_else_is_no_ticket() {
        let (payload, footer) = parts(&KEY.sign(&claims()).unwrap());
        let verify = |payload: &str, footer: &str, purpose: &[u8]| {
            KEY.public()
                .verify(raw(&KEY, payload, footer, purpose).as_bytes())
        };
        assert_eq!(verify(&payload, &footer, PURPOSE), Ok(claims()));
        assert_eq!(verify(&payload, &footer, b""), Err(TicketError::Forged));
        for (payload, footer) in [
            (r#"{"name":"ana"}"#, footer.as_str()),
            ("[]", &footer),
            (&payload.replace("user", "root"), &footer),
            (&payload.replacen('{', r#"{"only_on":"w1","#, 1), &footer),
            (&payload, "{}"),
            (&payload, r#"{"kid":"k4.pid.x"}"#),
        ] {
            let verified = verify(payload, footer, PURPOSE);
            assert_eq!(verified, Err(TicketError::Malformed), "{payload} {footer}");
        }
    }

    fn parts(ticket: &Ticket) -> (String, String) {
        let token = parse(ticket.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            text(token.untrusted_payload()),
            text(token.untrusted_footer()),
        )
    }

    /// Signs a payload that may not be valid claims.
    fn raw(key: &DomainKey, payload: &str, footer: &str, purpose: &[u8]) -> String {
        let secret = key.to_paserk().unwrap();
        let secret = AsymmetricSecretKey::<V4>::try_from(secret.as_str()).unwrap();
        let (payload, footer) = (payload.as_bytes(), footer.as_bytes());
        PublicToken::sign(&secret, payload, Some(footer), Some(purpose)).unwrap()
    }

    #[test]
    fn every_identity_fits_into_a_ticket_and_nothing_greater_is_signed() {
        let mut longest = claims();
        let quotes = "\"".repeat(MAX_PATTERNS_BYTES / MAX_PATTERNS);
        let patterns = vec![quotes.parse().unwrap(); MAX_PATTERNS];
        longest.identity.allow = patterns.try_into().unwrap();
        longest.identity.name = "a".repeat(64);
        longest.audience = Audience::Task {
            addressee: Addressee::Worker {
                name: "\"".repeat(254),
                key: longest.holder,
            },
            object: "\"".repeat(254),
            method: "a".repeat(254),
        };
        (longest.issued_ms, longest.expires_ms) = (u64::MAX, u64::MAX);
        let ticket = KEY.sign(&longest).unwrap();
        assert_eq!(KEY.public().verify(ticket.as_bytes()), Ok(longest.clone()));
        longest.identity.name = "a".repeat(MAX_TICKET);
        assert_eq!(KEY.sign(&longest), Err(KeyError::NotSigned));
        let endless = vec![b'A'; MAX_TICKET + 1];
        assert_eq!(KEY.public().verify(&endless), Err(TicketError::Malformed));
    }

    #[test]
    fn a_ticket_is_in_force_from_its_first_moment_to_its_last() {
        for (now, tolerance, expected) in [
            (999, 0, Err(TicketError::NotYetValid)),
            (1_000, 0, Ok(())),
            (1_999, 0, Ok(())),
            (2_000, 0, Err(TicketError::Expired)),
            (899, 100, Err(TicketError::NotYetValid)),
            (900, 100, Ok(())),
            (2_099, 100, Ok(())),
            (2_100, 100, Err(TicketError::Expired)),
            (u64::MAX, 100, Err(TicketError::Expired)),
            (u64::MAX, u64::MAX, Err(TicketError::Expired)),
            (0, u64::MAX, Ok(())),
        ] {
            assert_eq!(
                claims().check(now, tolerance),
                expected,
                "{now} {tolerance}"
            );
        }
    }

    #[test]
    fn a_revocation_ends_what_was_issued_until_then_to_that_name() {
        let voids = |name: &str, until_ms| {
            let name = name.to_owned();
            Revocation { name, until_ms }.voids(&claims())
        };
        assert!(voids("ana", 1_000) && voids("ana", 1_001));
        assert!(!voids("ana", 999) && !voids("bob", 1_000));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(KEY.public().verify(&bytes).is_err());
            prop_assert_eq!(key_id(&bytes), None);
            let bytes = [b"v4.public.", bytes.as_slice()].concat();
            prop_assert!(KEY.public().verify(&bytes).is_err());
        }

        #[test]
        fn damaged_tickets_are_refused(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let ticket = KEY.sign(&claims()).unwrap();
            let mut bytes = ticket.as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assume!(bytes != ticket.as_bytes());
            prop_assert!(KEY.public().verify(&bytes).is_err());
        }
    }
}
