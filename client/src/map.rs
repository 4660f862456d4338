//! Scatter and gather: calls one method for many inputs, on all workers in parallel.

use crate::{client::Client, error::CallError, proxy::Proxy};
use futures::{Stream, StreamExt};
use pyroxene_common::interface::Interface;

/// The calls in flight for each instance. This is enough to keep an instance busy.
const PER_INSTANCE: usize = 32;

/// The minimum and the maximum number of calls in flight of one map.
const AT_LEAST: usize = 32;
const AT_MOST: usize = 1024;

impl Client {
    /// Calls `call` for every input, on all workers as fast as they accept calls, and yields the results
    /// in the order of the inputs.
    ///
    /// At most 32 calls per instance are in flight, and at most as many results wait for earlier ones.
    /// Inputs are taken from the iterator when they are needed, so memory stays bounded.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use pyroxene_objects::interfaces::calculator::Calculator;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut results = client
    ///     .map::<Calculator, _, _, _>("calculator", 1..=1000, |calculator, n| async move {
    ///         calculator.factorial(context::current(), n).await
    ///     })
    ///     .await?;
    /// // The results have the order of the inputs: 1!, 2!, 3!, …
    /// while let Some(result) = results.next().await {
    ///     println!("{}", result??);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn map<I, T, F, R>(
        &self,
        object: &str,
        inputs: impl IntoIterator<Item = T>,
        call: impl Fn(I::Client<Proxy<I>>, T) -> F,
    ) -> Result<impl Stream<Item = R>, CallError>
    where
        I: Interface,
        I::Client<Proxy<I>>: Clone,
        F: Future<Output = R>,
    {
        let proxy = self.proxy::<I>(object).await?;
        let window = (proxy.instance_count() * PER_INSTANCE).clamp(AT_LEAST, AT_MOST);
        let client: I::Client<Proxy<I>> = proxy.into();
        let calls = inputs
            .into_iter()
            .map(move |input| call(client.clone(), input));
        Ok(futures::stream::iter(calls).buffered(window))
    }
}
