//! Logins: by the signature of a token, or by certificate.

use super::{CertificatePolicy, TicketAuthority};
use pyroxene_common::{
    access::{IssuerClock, denials},
    identity::{
        Audience, Claims, HolderId, Identity, LoginProof, Patterns, Role, Ticket, is_reserved,
        printable_user,
    },
    interfaces::access::{AccessError, LoginTicket},
    scope::Caller,
};
use std::time::Duration;
use tokio::time::Instant;

impl TicketAuthority {
    pub(super) fn login(
        &self,
        caller: &Caller,
        user: &str,
        holder: HolderId,
        signature: &[u8],
    ) -> Result<LoginTicket, AccessError> {
        let Some((_, users)) = &self.users else {
            return Err(AccessError::WrongToken);
        };
        let (peer, now) = (caller.host(), Instant::now());
        // Locked throughout, so that concurrent attempts cannot pass the check together.
        let mut throttle = self.throttle.lock();
        throttle.check(peer, user, now).map_err(too_many_attempts)?;
        // Without a challenge nothing is verified, so this is no failed login.
        let nonce = caller.login.take().ok_or(AccessError::NoChallenge)?;
        let proof = LoginProof {
            nonce: &nonce,
            exporter: caller.login.exporter(),
            holder: &holder,
            user,
        };
        let identity = users
            .load()
            .authenticate(user, |token| proof.is_signed_by(token, signature));
        let wait = match identity {
            Some(_) => {
                throttle.succeeded(peer, user);
                None
            }
            None => throttle.failed(peer, user, now),
        };
        drop(throttle);
        // A user may have entered the token as the name: it must not get into a log.
        let shown = printable_user(user);
        let Some(identity) = identity else {
            if denials::may_log(peer) {
                tracing::warn!(user = %shown, peer, "login failed");
            }
            return Err(wait.map_or(AccessError::WrongToken, too_many_attempts));
        };
        tracing::info!(user = %shown, peer, "logged in");
        self.visitors.saw_login(&identity, peer);
        self.admission(identity, holder)
    }

    pub(super) fn login_by_certificate(
        &self,
        caller: &Caller,
        holder: HolderId,
    ) -> Result<LoginTicket, AccessError> {
        let certificate = caller
            .certificate
            .as_ref()
            .ok_or(AccessError::NoCertificate)?;
        let identity = self.identity_of(&certificate.name, certificate.role)?;
        tracing::info!(
            user = identity.name,
            peer = caller.host(),
            "logged in by certificate"
        );
        self.visitors.saw_login(&identity, caller.host());
        self.admission(identity, holder)
    }

    /// The identity of a certificate's holder: the user of that name, or, where that is allowed, the role in
    /// the certificate. A name that was revoked or removed never gets the role in its certificate again.
    pub(super) fn identity_of(
        &self,
        name: &str,
        role: Option<Role>,
    ) -> Result<Identity, AccessError> {
        let name = name.to_owned();
        if is_reserved(&name) {
            tracing::warn!(name, "a certificate with a reserved name");
            return Err(AccessError::NoRole { name });
        }
        if let Some((_, users)) = &self.users {
            let users = users.load();
            if let Some(identity) = users.identity(&name) {
                return Ok(identity);
            }
            if users.contains(&name) || users.was_removed(&name) {
                return Err(AccessError::Revoked { name });
            }
            if self.certificates == CertificatePolicy::Listed {
                return Err(AccessError::NotListed { name });
            }
        }
        match role {
            Some(role) => Ok(Identity {
                name,
                role,
                allow: Patterns::of_role(role),
            }),
            None => Err(AccessError::NoRole { name }),
        }
    }

    pub(super) fn admission(
        &self,
        identity: Identity,
        holder: HolderId,
    ) -> Result<LoginTicket, AccessError> {
        let ticket = self
            .ticket_for(&identity, holder, Audience::Domain, self.ticket_life)
            .map_err(AccessError::Broken)?;
        Ok(LoginTicket {
            ticket,
            issuer: self.issuer(),
            life_ms: millis(self.ticket_life),
            identity,
        })
    }

    /// Signs a ticket.
    pub(super) fn ticket_for(
        &self,
        identity: &Identity,
        holder: HolderId,
        audience: Audience,
        life: Duration,
    ) -> Result<Ticket, String> {
        let issued_ms = IssuerClock::Own.now_ms();
        let claims = Claims {
            identity: identity.clone(),
            holder,
            audience,
            issued_ms,
            expires_ms: issued_ms.saturating_add(millis(life)),
        };
        let ticket = self.key.load().sign(&claims);
        ticket.map_err(|error| error.to_string())
    }
}

fn too_many_attempts(wait: Duration) -> AccessError {
    AccessError::TooManyAttempts {
        wait_ms: millis(wait),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
