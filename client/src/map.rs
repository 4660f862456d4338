//! Scatter and gather: one method over many inputs, on all workers at once.

use crate::{client::Client, error::CallError, proxy::Proxy};
use futures::{Stream, StreamExt};
use pyroxene_common::interface::Interface;

/// Calls in flight for each instance: enough that it never waits for the next one.
const PER_INSTANCE: usize = 32;

/// The bounds of the calls in flight of one map.
const AT_LEAST: usize = 32;
const AT_MOST: usize = 1024;

impl Client {
    /// Calls `call` for every input, on all workers as fast as they take them, and yields the
    /// results in the order of the inputs.
    ///
    /// At most 32 calls per instance are in flight, and as many results wait for their turn; the
    /// inputs are drawn as they are needed, so memory stays bounded however many there are.
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
