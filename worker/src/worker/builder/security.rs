//! The security of a worker that is being built.

use super::WorkerBuilder;
use crate::{error::WorkerError, ticket_trust::TicketTrust};
use pyroxene_client::Credentials;
use pyroxene_common::{
    access::Authenticator,
    identity::HolderKey,
    tls::{ClientAuth, TlsClient, TlsServer},
};
use std::sync::Arc;

impl WorkerBuilder {
    /// Accepts only TLS from its clients. If `tls` asks clients for certificates, the worker accepts calls
    /// only from clients that a name server has authenticated.
    ///
    /// ```no_run
    /// use pyroxene_common::tls::{ClientAuth, KeyPairFiles, TlsClient, TlsServer};
    /// use pyroxene_worker::Worker;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let own = KeyPairFiles { certificate: "w1.crt".into(), key: "w1.key".into() };
    /// let worker = Worker::builder()
    ///     .nameserver("broker.example")
    ///     .trust(TlsClient::new("ca.crt".into(), Some(own.clone()))?)
    ///     .tls(TlsServer::new(own, Some("ca.crt".into()), ClientAuth::Required)?)
    ///     .bind()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Uses TLS to its name servers, and trusts those that `tls` names.
    pub fn trust(mut self, tls: TlsClient) -> Self {
        self.trust = Some(tls);
        self
    }

    /// The user to log in as. A worker that logs in accepts calls only from clients that a name server has
    /// authenticated.
    ///
    /// ```no_run
    /// use pyroxene_client::Credentials;
    /// use pyroxene_worker::Worker;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let token = std::fs::read_to_string("w1.token")?;
    /// let worker = Worker::builder()
    ///     .nameserver("127.0.0.1:9090")
    ///     .credentials(Credentials::new("w1", &token))
    ///     .bind()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The authenticator of callers, if the worker itself can log in.
    pub(in crate::worker) fn ticket_trust(
        &self,
        worker: &str,
    ) -> Result<Option<TicketTrust>, WorkerError> {
        let demanded = self.credentials.is_some()
            || self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.client_auth() != ClientAuth::None);
        let can_log_in = self.trust.as_ref().is_some_and(TlsClient::has_certificate);
        if !demanded && !can_log_in {
            return Ok(None);
        }
        // The worker logs in with the same key, so name servers tell this key to its clients.
        let key = HolderKey::of_process()?.id();
        Ok(Some(TicketTrust {
            authenticator: Arc::new(Authenticator::of_worker(worker, key)),
            authentication_required: demanded,
        }))
    }
}
