//! How calls are made: the defaults of a client, and what an object or one call has in their place.

use crate::{membership::InstanceKey, policy::Policy};
use pyroxene_common::{
    interceptor::{Interceptor, Interceptors},
    metadata::Metadata,
    stable_hash::StableHasher,
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// How the calls of an object are made.
///
/// ```
/// use pyroxene_client::{CallOptions, ClientConfig, Policy};
/// use std::time::Duration;
///
/// // Whatever a call has no option for is as the client has it.
/// let quick = CallOptions::default()
///     .deadline(Duration::from_millis(200))
///     .hedge_after(Duration::from_millis(20));
/// let config = ClientConfig::new("127.0.0.1:9090")?.calls(quick);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// The time of a call whose context is as `context::current()` makes it; `None` is tarpc's default.
    pub(crate) deadline: Option<Duration>,
    /// The maximum number of times that a call is sent.
    pub(crate) max_attempts: u32,
    /// After this time a second attempt is made in parallel, if the method is idempotent.
    pub(crate) hedge_after: Option<Duration>,
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    /// Later ones replace pairs of earlier ones.
    pub(crate) metadata: Vec<Arc<Metadata>>,
    pub(crate) interceptors: Interceptors,
}

/// Which instances of an object get its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// An instance must have all of these tags.
    pub(crate) tags: Vec<String>,
    /// The hash of the key that decides which instance it is.
    pub(crate) key: Option<u64>,
    /// The only instance that gets calls, and each of them once.
    pub(crate) only: Option<InstanceKey>,
}

impl Selection {
    /// Whether it prefers or leaves out any instance.
    pub(crate) fn is_selective(&self) -> bool {
        !self.tags.is_empty() || self.key.is_some() || self.only.is_some()
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            deadline: None,
            max_attempts: 16,
            hedge_after: None,
            policy: Policy::default(),
            selection: Selection::default(),
            metadata: Vec::new(),
            interceptors: Interceptors::default(),
        }
    }
}

impl CallOptions {
    /// How long a call may take, all its attempts together, if its context says nothing of that: it is as
    /// `context::current()` makes it. The default is 10 seconds.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// The maximum number of times that a call is sent, at least 1. Attempts that were certainly not sent
    /// do not count: only the call's deadline bounds them. The default is 16.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sends an idempotent call to a second instance if the first has not answered after this time. The
    /// first answer counts. The default is not to do so.
    #[must_use]
    pub fn hedge_after(mut self, delay: Duration) -> Self {
        self.hedge_after = Some(delay);
        self
    }

    /// Does not send calls to a second instance while the first may still answer.
    #[must_use]
    pub fn without_hedging(mut self) -> Self {
        self.hedge_after = None;
        self
    }

    /// How calls are spread over instances.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Only instances that have this tag get calls. With several tags they must have all.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.selection.tags.push(tag.into());
        self
    }

    /// The calls of the same key go to the same instance, as long as it is there and takes calls. A worker that
    /// joins or leaves moves only its share of the keys. Clients agree on the instance of a key if they hash it
    /// alike: the same type on machines of one kind.
    #[must_use]
    pub fn by_key(mut self, key: &(impl Hash + ?Sized)) -> Self {
        let mut hasher = StableHasher::default();
        key.hash(&mut hasher);
        self.selection.key = Some(hasher.finish());
        self
    }

    /// Sends these pairs with each call, also to the calls that its method makes.
    ///
    /// ```
    /// use pyroxene_client::CallOptions;
    /// use pyroxene_common::metadata::{InvalidMetadata, Metadata};
    ///
    /// let options = CallOptions::default().metadata(Metadata::try_from([("tenant", "acme")])?);
    /// # Ok::<(), InvalidMetadata>(())
    /// ```
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata.push(Arc::new(metadata));
        self
    }

    /// Shows calls to an interceptor, after those that were added before.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    /// Whether calls need no work beside their requests, and any instance will do.
    pub(crate) fn is_plain(&self) -> bool {
        !self.selection.is_selective() && self.metadata.is_empty() && self.interceptors.is_empty()
    }

    pub(crate) fn only(mut self, instance: InstanceKey) -> Self {
        self.selection.only = Some(instance);
        self
    }
}
