//! The settings of a gateway.

use std::time::Duration;

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The names, besides IP addresses and `localhost`, by which browsers may reach it.
    pub(crate) hosts: Vec<String>,
    /// The greatest body of a request, in bytes.
    pub(crate) max_body: usize,
    /// The memory for the bodies of all requests together, in bytes.
    pub(crate) body_memory: usize,
    /// How long a login of a browser is valid.
    pub(crate) session_life: Duration,
}

/// The default of [`GatewayConfig::max_body`]: the largest message of the broker.
const MAX_BODY: usize = 64 << 20;

/// The memory for bodies: four of the largest.
const BODY_MEMORY: usize = 4 * MAX_BODY;

/// How long a login of a browser is valid: a working day.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            max_body: MAX_BODY,
            body_memory: BODY_MEMORY,
            session_life: SESSION_LIFE,
        }
    }
}

impl GatewayConfig {
    /// Names, besides IP addresses and `localhost`, by which browsers may reach the gateway. Any other name
    /// is refused: a foreign page could have made it lead here.
    #[must_use]
    pub fn hosts(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase());
        self.hosts = names.collect();
        self
    }

    /// The greatest body of a request, in bytes.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self.body_memory = bytes.saturating_mul(4);
        self
    }
}
