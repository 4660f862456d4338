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
/// An option that is not set is that of the client ([`ClientConfig::calls`](crate::ClientConfig::calls)).
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

impl Client {
    /// The client of an object of the interface `I`. Fails if no live worker hosts the object now, or if it has
    /// another interface. What is awaited has options for the calls: see [`ObjectLookup`].
    ///
    /// ```no_run
    /// use pyroxene_client::CallError;
    /// use pyroxene_objects::interfaces::text::Text;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// match client.object::<Text>("text").await {
    ///     Ok(text) => {
    ///         let words = text.count_words(context::current(), "to be or not".to_owned()).await?;
    ///         assert_eq!(words, 4);
    ///     }
    ///     Err(CallError::Unavailable(_)) => println!("no worker hosts the object 'text'"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn object<I: Interface>(&self, name: &str) -> ObjectLookup<I> {
        ObjectLookup::new(self.clone(), name)
    }

    /// The client of an object that may not be hosted yet. A call waits until its deadline for an
    /// instance to appear.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::Echo;
    /// use std::time::{Duration, Instant};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.weak_object::<Echo>("echo");
    /// let mut context = context::current();
    /// context.deadline = Instant::now() + Duration::from_secs(60);
    /// // If no worker hosts the object yet, the call waits up to 60 seconds for one.
    /// println!("worker {} answers", echo.whoami(context).await?.worker);
    /// # Ok(())
    /// # }
    /// ```
    pub fn weak_object<I: Interface>(&self, name: &str) -> I::Client<Proxy<I>> {
        self.weak_proxy::<I>(name).into()
    }

    /// As [`object`](Self::object), but returns the stub itself, which offers more: one-way calls,
    /// batches, and the name of the worker that answered.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::{Calculator, calculator::CalculatorClient};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let proxy = client.proxy::<Calculator>("calculator").await?;
    /// println!("{} has {} instances", proxy.object_name(), proxy.instance_count());
    /// // The stub becomes a client.
    /// let calculator: CalculatorClient<_> = proxy.into();
    /// let sum = calculator.sum(context::current(), vec![1.5, 2.5].into()).await??;
    /// assert_eq!(sum.0, 4.0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn proxy<I: Interface>(&self, name: &str) -> Result<Proxy<I>, CallError> {
        self.object::<I>(name).proxy().await
    }

    /// As [`proxy`](Self::proxy), with a deadline. A name server that is silent or closes its connections is
    /// asked again until then; if none has answered, the error is [`CallError::DeadlineExceeded`]. If all of
    /// them refuse connections, the lookup fails at once.
    pub async fn proxy_with_deadline<I: Interface>(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Proxy<I>, CallError> {
        self.object::<I>(name).proxy_until(deadline).await
    }

    /// As [`weak_object`](Self::weak_object), but returns the stub itself.
    ///
    /// ```
    /// use pyroxene_client::{Client, ClientConfig};
    /// use pyroxene_objects::interfaces::echo::Echo;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The stub exists before any worker does.
    /// let client = Client::new(ClientConfig::new("127.0.0.1:1")?);
    /// let echo = client.weak_proxy::<Echo>("echo");
    /// assert_eq!((echo.object_name(), echo.instance_count()), ("echo", 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn weak_proxy<I: Interface>(&self, name: &str) -> Proxy<I> {
        self.object::<I>(name).weak_proxy()
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
