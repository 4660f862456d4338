//! A counter for each session.

pyroxene_common::interface! {
    /// Counts the calls of a session. A call without a session has a counter of its own.
    #[name = "pyroxene.Counter"]
    #[version = 1]
    pub trait Counter in counter {
        /// Adds one, and returns the sum.
        async fn increment() -> u64;
        /// The sum.
        #[idempotent]
        async fn value() -> u64;
    }
}
