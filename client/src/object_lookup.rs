//! A lookup of an object, and how the calls of its client are made.

use crate::{
    client::Client, deadline::DEFAULT_DEADLINE, error::CallError, options::CallOptions,
    policy::Policy, proxy::Proxy,
};
use futures::future::BoxFuture;
use pyroxene_common::{interface::Interface, metadata::Metadata};
use std::{fmt, hash::Hash, marker::PhantomData, time::Duration};
use tokio::time::Instant;

/// A lookup of an object of the interface `I`: [`Client::object`]. Awaited, it is the client of the object.
/// What is not set is as the client has it ([`ClientConfig::calls`](crate::ClientConfig::calls)).
///
/// ```no_run
/// use pyroxene_objects::interfaces::calculator::Calculator;
/// use std::time::Duration;
/// use tarpc::context;
///
/// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let calculator = client
///     .object::<Calculator>("calculator")
///     .deadline(Duration::from_secs(60))
///     .with_tag("gpu")
///     .await?;
/// let digits = calculator.factorial(context::current(), 30).await??;
/// # Ok(())
/// # }
/// ```
#[must_use = "a lookup does nothing until it is awaited"]
pub struct ObjectLookup<I> {
    client: Client,
    name: String,
    options: CallOptions,
    interface: PhantomData<fn() -> I>,
}

impl<I> fmt::Debug for ObjectLookup<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectLookup")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<I: Interface> ObjectLookup<I> {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self {
            options: client.call_options().clone(),
            client,
            name: name.to_owned(),
            interface: PhantomData,
        }
    }

    /// Changes any of the options.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::Echo;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.object::<Echo>("echo").with(|calls| calls.without_hedging()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with(mut self, change: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// See [`CallOptions::deadline`]. The lookup itself may take as long.
    pub fn deadline(self, time: Duration) -> Self {
        self.with(|options| options.deadline(time))
    }

    /// See [`CallOptions::max_attempts`].
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.with(|options| options.max_attempts(attempts))
    }

    /// See [`CallOptions::hedge_after`].
    pub fn hedge_after(self, delay: Duration) -> Self {
        self.with(|options| options.hedge_after(delay))
    }

    /// See [`CallOptions::policy`].
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|options| options.policy(policy))
    }

    /// See [`CallOptions::with_tag`].
    pub fn with_tag(self, tag: impl Into<String>) -> Self {
        self.with(|options| options.with_tag(tag))
    }

    /// See [`CallOptions::by_key`].
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::Echo;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for user in ["ana", "ben", "ana"] {
    ///     // The calls for one user go to one worker.
    ///     let echo = client.object::<Echo>("echo").by_key(user).await?;
    ///     println!("{user}: {}", echo.whoami(context::current()).await?.worker);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn by_key(self, key: &(impl Hash + ?Sized)) -> Self {
        self.with(|options| options.by_key(key))
    }

    /// See [`CallOptions::metadata`].
    pub fn metadata(self, metadata: Metadata) -> Self {
        self.with(|options| options.metadata(metadata))
    }

    /// The stub itself, which offers more than the client: see [`Client::proxy`].
    ///
    /// # Errors
    ///
    /// No live worker hosts the object with this interface now.
    pub async fn proxy(self) -> Result<Proxy<I>, CallError> {
        let deadline = Instant::now() + self.options.deadline.unwrap_or(DEFAULT_DEADLINE);
        self.proxy_until(deadline).await
    }

    pub(crate) async fn proxy_until(self, deadline: Instant) -> Result<Proxy<I>, CallError> {
        let Self {
            client,
            name,
            options,
            ..
        } = self;
        client.find::<I>(&name, options, deadline).await
    }

    /// The client of an object that may not be hosted yet: see [`Client::weak_object`].
    pub fn weak(self) -> I::Client<Proxy<I>> {
        self.weak_proxy().into()
    }

    pub(crate) fn weak_proxy(self) -> Proxy<I> {
        self.client.weak_stub::<I>(&self.name, self.options)
    }
}

impl<I: Interface> IntoFuture for ObjectLookup<I> {
    type Output = Result<I::Client<Proxy<I>>, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.proxy().await.map(Into::into) })
    }
}
