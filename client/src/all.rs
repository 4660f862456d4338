//! A question to every live instance of an object.

use crate::{
    client::Client, dynamic::DynamicObject, error::CallError, object_lookup::ObjectLookup,
    options::CallOptions, proxy::Proxy,
};
use futures::{StreamExt, stream};
use pyroxene_common::interface::Interface;
use std::fmt;
use tokio::time::Instant;

/// How many instances are asked at the same time.
const ASKED_AT_ONCE: usize = 256;

/// Every live instance of an object of the interface `I`: [`Client::all`].
#[must_use = "nobody is asked until `ask` is awaited"]
pub struct AllInstances<I>(ObjectLookup<I>);

impl<I> fmt::Debug for AllInstances<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AllInstances").field(&self.0).finish()
    }
}

/// What the instances of an object have answered.
#[derive(Debug)]
pub struct AllAnswers<T> {
    /// The answer of each instance, or why there is none, by worker.
    pub answers: Vec<InstanceAnswer<T>>,
    /// Whether these are all: a name server that knows every live worker is in contact. Otherwise there may be
    /// further instances.
    pub is_complete: bool,
}

/// What one instance has answered.
#[derive(Debug)]
pub struct InstanceAnswer<T> {
    /// The name of the worker, or its endpoint if it has no name.
    pub worker: String,
    /// The answer, or why there is none.
    pub answer: Result<T, CallError>,
}

impl<T> AllAnswers<T> {
    /// Whether every live instance has answered.
    pub fn have_all_answered(&self) -> bool {
        self.is_complete && self.answers.iter().all(|one| one.answer.is_ok())
    }
}

impl<I: Interface> AllInstances<I> {
    /// Changes how the calls are made: see [`CallOptions`].
    pub fn with(self, change: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        Self(self.0.with(change))
    }

    /// Asks only the instances that have this tag.
    pub fn with_tag(self, tag: impl Into<String>) -> Self {
        Self(self.0.with_tag(tag))
    }

    /// Asks every live instance once. `question` gets a client for each, whose calls go to that instance alone
    /// and are not made again. An instance with another interface, or a version that this client does not speak, is not
    /// asked; its answer is the error [`CallError::NotSent`].
    ///
    /// # Errors
    ///
    /// There is no live instance.
    pub async fn ask<T, F>(
        self,
        question: impl Fn(I::Client<Proxy<I>>) -> F,
    ) -> Result<AllAnswers<T>, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let proxy = self.0.proxy().await?;
        proxy.settled(proxy.default_deadline()).await;
        let instances = proxy.live_instances();
        let asked = instances.into_iter().map(|(worker, one)| {
            let answer = question(one.into());
            async move {
                InstanceAnswer {
                    worker,
                    answer: answer.await,
                }
            }
        });
        let mut answers: Vec<_> = stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await;
        let skipped = proxy.skipped_instances().into_iter();
        answers.extend(skipped.map(|(worker, error)| InstanceAnswer {
            worker,
            answer: Err(error),
        }));
        answers.sort_by(|one, other| one.worker.cmp(&other.worker));
        Ok(AllAnswers {
            answers,
            is_complete: proxy.knows_all_instances(),
        })
    }
}

impl Client {
    /// Every live instance of an object, to be asked once each.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::Echo;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = client
    ///     .all::<Echo>("echo")
    ///     .ask(|echo| async move { echo.whoami(context::current()).await })
    ///     .await?;
    /// for one in &asked.answers {
    ///     match &one.answer {
    ///         Ok(identity) => println!("{} is process {}", one.worker, identity.pid),
    ///         Err(error) => println!("{} did not answer: {error}", one.worker),
    ///     }
    /// }
    /// println!("these were all: {}", asked.is_complete);
    /// # Ok(())
    /// # }
    /// ```
    pub fn all<I: Interface>(&self, name: &str) -> AllInstances<I> {
        AllInstances(self.object(name))
    }
}

impl DynamicObject {
    /// Waits until all live instances are known, or until then. A name server knows them four seconds after its start.
    pub async fn settled(&self, deadline: Instant) {
        self.proxy().settled(deadline).await;
    }

    /// The live instances, by worker. The calls of each go to it alone, and are not made again.
    pub fn live_instances(&self) -> Vec<(String, Self)> {
        let instances = self.proxy().live_instances().into_iter();
        instances
            .map(|(worker, proxy)| (worker, self.over(proxy)))
            .collect()
    }

    /// Whether [`live_instances`](Self::live_instances) are all: a name server that knows every live worker is
    /// in contact.
    pub fn knows_all_instances(&self) -> bool {
        self.proxy().knows_all_instances()
    }
}
