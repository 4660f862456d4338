//! A counter for each session.

use crate::interfaces::counter::counter;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tarpc::context::Context;

/// The object `counter`, of one session. Clones share the sum.
///
/// ```
/// use pyroxene_objects::{CounterObject, interfaces::counter::counter::Counter as _};
/// use tarpc::context;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let counter = CounterObject::default();
/// assert_eq!(counter.clone().increment(context::current()).await, 1);
/// assert_eq!(counter.value(context::current()).await, 1);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CounterObject(Arc<AtomicU64>);

impl counter::Counter for CounterObject {
    async fn increment(self, _: Context) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn value(self, _: Context) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
