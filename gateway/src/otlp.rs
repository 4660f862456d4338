//! Sends the spans of this process to a collector, by OTLP over HTTP with protobuf.
//!
//! Spans wait in a queue with a bound. A full queue drops them, a collector that is away loses them, and no call ever
//! waits for either.

mod messages;
mod send;
mod settings;
mod variables;

pub use settings::SpanExportError;

use pyroxene_common::spans::{self, EndedSpan, SpanSink};
use send::Collector;
use settings::Settings;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::trace::TraceId;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The most spans that wait, some 500 bytes each.
const QUEUE: usize = 8192;

/// The most spans in one message.
const BATCH: usize = 512;

/// How long the last spans may take at the end of the process.
const LAST: Duration = Duration::from_secs(2);

/// How often a batch is sent, and the first pause between two tries.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether a batch is full.
const LOOK: Duration = Duration::from_millis(50);

/// How often the log says that spans were lost.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The export of the spans of this process, if the environment asks for one.
#[derive(Debug)]
pub struct SpanExport {
    stop: CancellationToken,
    sending: JoinHandle<()>,
    /// The names of variables that are set and have no effect.
    ignored: Vec<String>,
}

/// What takes spans from calls.
struct Queue {
    sender: mpsc::Sender<EndedSpan>,
    dropped: Arc<AtomicU64>,
    /// Of traces that begin here, those whose id is below this are recorded.
    sampled_below: u64,
}

impl SpanSink for Queue {
    fn accept(&self, span: EndedSpan) {
        if self.sender.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn samples(&self, trace: TraceId) -> bool {
        // The lower half of the id, of which every process thinks the same.
        let id = u128::from(trace) & u128::from(u64::MAX);
        id <= u128::from(self.sampled_below)
    }
}

impl SpanExport {
    /// Starts the export if `OTEL_EXPORTER_OTLP_ENDPOINT` is set. `service` is what this process is called, unless
    /// `OTEL_SERVICE_NAME` says otherwise. Must be called within a tokio runtime, once.
    ///
    /// # Errors
    ///
    /// The environment asks for what there is not.
    pub fn from_environment(service: &str) -> Result<Option<Self>, SpanExportError> {
        let Some(settings) = Settings::read(service, |name| std::env::var(name).ok())? else {
            return Ok(None);
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        let ignored = variables::without_effect(variables, settings.tls.is_some());
        let (sender, receiver) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Queue {
            sender,
            dropped: Arc::clone(&dropped),
            sampled_below: settings.sampled_below,
        };
        if !spans::install(queue) {
            return Ok(None);
        }
        let stop = CancellationToken::new();
        let exporter = Exporter {
            receiver,
            dropped,
            failed: 0,
            reason: String::new(),
            said: None,
            collector: Collector::new(settings),
        };
        let sending = tokio::spawn(exporter.run(stop.clone()));
        Ok(Some(Self {
            stop,
            sending,
            ignored,
        }))
    }

    /// Says in the log which variables have no effect: at the start of a daemon.
    pub fn warn_of_ignored_variables(&self) {
        if !self.ignored.is_empty() {
            let variables = self.ignored.join(", ");
            tracing::warn!(
                variables,
                "these variables of OpenTelemetry have no effect here"
            );
        }
    }

    /// Sends what is left. Takes two seconds at most.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let _ = timeout(LAST, self.sending).await;
    }
}

struct Exporter {
    receiver: mpsc::Receiver<EndedSpan>,
    dropped: Arc<AtomicU64>,
    /// How many were lost because the collector did not take them.
    failed: u64,
    /// Why it last took none.
    reason: String,
    /// When the log last said so.
    said: Option<Instant>,
    collector: Collector,
}

impl Exporter {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                first = self.receiver.recv() => {
                    batch.extend(first);
                    self.collect(&stop).await;
                }
                () = stop.cancelled() => {}
            }
            while let Ok(span) = self.receiver.try_recv() {
                batch.push(span);
                if batch.len() < BATCH {
                    continue;
                }
                let was_taken = self.send(std::mem::take(&mut batch)).await;
                self.say();
                // Spans may come faster than a collector that is away loses them.
                if !was_taken && stop.is_cancelled() {
                    return;
                }
            }
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
            self.say();
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Lets spans gather, so that few messages are needed: until a batch is full, for the interval at most.
    async fn collect(&self, stop: &CancellationToken) {
        let until = Instant::now() + self.collector.interval();
        while self.receiver.len() < BATCH && Instant::now() < until && !stop.is_cancelled() {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Sends a batch. Returns whether the collector has taken it.
    async fn send(&mut self, batch: Vec<EndedSpan>) -> bool {
        let count = batch.len();
        let message = self.collector.message(batch);
        for tried in 1..=TRIES {
            match self.collector.send(&message).await {
                Ok(()) => return true,
                Err(failure) => {
                    tracing::debug!(failure = failure.reason, "the collector took no spans");
                    self.reason = failure.reason;
                    if !failure.may_pass || tried == TRIES {
                        break;
                    }
                }
            }
            sleep(PAUSE * tried).await;
        }
        self.failed += count as u64;
        false
    }

    /// Says at most once a minute that spans were lost.
    fn say(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let now = Instant::now();
        let is_time = self.said.is_none_or(|said| now > said + LOG_INTERVAL);
        if (dropped == 0 && self.failed == 0) || !is_time {
            return;
        }
        self.dropped.fetch_sub(dropped, Ordering::Relaxed);
        let (not_taken, endpoint) = (
            std::mem::take(&mut self.failed),
            self.collector.endpoint().to_string(),
        );
        self.said = Some(now);
        let reason = std::mem::take(&mut self.reason);
        tracing::warn!(dropped, not_taken, endpoint, reason, "spans were lost");
    }
}
