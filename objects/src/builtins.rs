//! The list of the built-in objects: the name of each, and how a worker hosts it.

use crate::{
    CalculatorObject, ChatObject, CounterObject, EchoObject, HashObject, TextObject, calculator,
    hash, interfaces, text,
};
use pyroxene_worker::{WorkerBuilder, WorkerContext};

/// Adds a built-in object to a worker.
type HostFunction = fn(WorkerBuilder) -> WorkerBuilder;

/// Each object by its name.
const OBJECTS: [(&str, HostFunction); BUILTINS.len()] = [
    ("calculator", |worker| {
        let make = |own: &WorkerContext| CalculatorObject::new(own.compute().parallel());
        let interface = interfaces::calculator::Calculator;
        worker.host_with("calculator", interface, make, calculator::is_heavy)
    }),
    ("text", |worker| {
        worker.host_compute("text", interfaces::text::Text, TextObject, text::is_heavy)
    }),
    ("hash", |worker| {
        worker.host_compute("hash", interfaces::hash::Hash, HashObject, hash::is_heavy)
    }),
    ("echo", |worker| {
        let make =
            |own: &WorkerContext| EchoObject::new(own.worker()).calling_with(own.client().clone());
        worker.host_with("echo", interfaces::echo::Echo, make, |_| false)
    }),
    ("counter", |worker| {
        let interface = interfaces::counter::Counter;
        worker.host_per_session("counter", interface, CounterObject::default)
    }),
    ("chat", |worker| {
        let make =
            |own: &WorkerContext| ChatObject::new(own.client(), "chat", own.draining().clone());
        worker.host_with("chat", interfaces::chat::Chat, make, |_| false)
    }),
];

/// The names of the objects that every worker can host. [`AccountsObject`](crate::AccountsObject), which needs a
/// database, is hosted like a user's own object.
pub const BUILTINS: [&str; 6] = ["calculator", "text", "hash", "echo", "counter", "chat"];

/// There is no built-in object of this name.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no built-in object '{0}'; there are calculator, text, hash, echo, counter, chat, and accounts \
     with a database"
)]
pub struct UnknownBuiltin(String);

/// Hosts built-in objects.
pub trait HostBuiltins: Sized {
    /// Hosts built-in objects, by name.
    ///
    /// ```
    /// use pyroxene_objects::{BUILTINS, HostBuiltins};
    /// use pyroxene_worker::Worker;
    ///
    /// let all = Worker::builder().builtins(BUILTINS)?;
    /// let two = Worker::builder().builtins(["calculator", "echo"])?;
    ///
    /// let error = Worker::builder().builtins(["abacus"]).unwrap_err();
    /// assert!(error.to_string().starts_with("there is no built-in object 'abacus'"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There is no object of one of the names.
    fn builtins<T: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, UnknownBuiltin>;
}

impl HostBuiltins for WorkerBuilder {
    fn builtins<T: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, UnknownBuiltin> {
        names.into_iter().try_fold(self, |worker, name| {
            let name = name.as_ref();
            let known = OBJECTS.iter().find(|(known, _)| *known == name);
            let (_, host) = known.ok_or_else(|| UnknownBuiltin(name.to_owned()))?;
            Ok(host(worker))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_object() {
        assert_eq!(OBJECTS.map(|(name, _)| name), BUILTINS);
    }
}
