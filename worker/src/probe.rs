//! A view of a running worker for those who watch it.

use crate::{figures::WorkerMeters, load::LoadGauge, registrations::Registrations};
use pyroxene_common::{interfaces::figures::MethodFigures, message::Load};
use tokio_util::sync::CancellationToken;

/// A view of a running worker. It does not keep the worker alive.
#[derive(Clone, Debug)]
pub struct WorkerProbe {
    pub(crate) gauge: LoadGauge,
    pub(crate) meters: WorkerMeters,
    pub(crate) registrations: Registrations,
    pub(crate) draining: CancellationToken,
    pub(crate) authenticates: bool,
}

impl WorkerProbe {
    /// Its load now.
    pub fn load(&self) -> Load {
        self.gauge.load()
    }

    /// What it has measured since it started: a row for each method that was called.
    pub fn figures(&self) -> Vec<MethodFigures> {
        self.meters.rows()
    }

    /// Whether it authenticates its callers.
    pub fn authenticates(&self) -> bool {
        self.authenticates
    }

    /// Whether it has a lease with at least one name server and does not drain.
    pub fn is_ready(&self) -> bool {
        !self.draining.is_cancelled() && !self.registrations.open_sessions().is_empty()
    }
}
