//! The objects of a worker that is being built.

use super::WorkerBuilder;
use crate::{
    hosted::{WorkerContext, WorkerObject},
    instances::Instances,
    watchdog::WatchedMethods,
};
use pyroxene_common::{
    host::HostedObject,
    interface::{Serves, SpokenVersion, spoken_versions},
    interfaces::directory::ObjectRegistration,
};
use std::{marker::PhantomData, sync::Arc};

/// Makes an object when the shared resources of the worker exist.
pub(in crate::worker) type MakeObject = Box<dyn FnOnce(&WorkerContext) -> HostedObject + Send>;

/// An object that the worker will host.
#[derive(Clone, Debug)]
pub(in crate::worker) struct PlannedObject {
    pub(in crate::worker) name: String,
    pub(super) interface: &'static str,
    version: u32,
    /// The versions of its interface that it speaks.
    spoken: Arc<[SpokenVersion]>,
    /// Whether its name is exclusive, independent of the worker's other objects.
    exclusive: bool,
}

impl WorkerBuilder {
    /// Hosts an object whose methods run on the runtime. A method must not block a thread of the runtime
    /// for longer than about 100 microseconds at a time. A method that blocks it for a second is named in
    /// the log. See [`host_compute`](Self::host_compute) for CPU-bound methods.
    ///
    /// For an interface `Greeter` that has one method, `hello`:
    ///
    /// ```
    /// # pyroxene_common::interface! {
    /// #     /// People who say hello.
    /// #     #[name = "Example.Greeter"]
    /// #     #[version = 1]
    /// #     pub trait Greeter in greeter {
    /// #         /// A greeting for `name`.
    /// #         #[idempotent]
    /// #         async fn hello(name: String) -> String;
    /// #     }
    /// # }
    /// #[derive(Clone)]
    /// struct Polite;
    ///
    /// impl greeter::Greeter for Polite {
    ///     async fn hello(self, _: tarpc::context::Context, name: String) -> String {
    ///         format!("Hello, {name}!")
    ///     }
    /// }
    ///
    /// let builder = pyroxene_worker::Worker::builder().host("greeter", Greeter, Polite);
    /// ```
    ///
    /// A name may be hosted again with another version of its interface; a client gets the one that it speaks.
    pub fn host<I, S>(self, name: impl Into<String>, interface: I, service: S) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        self.host_compute(name, interface, service, |_| false)
    }

    /// As [`host`](Self::host), for an object with an exclusive name: other workers that offer the same
    /// name wait until this worker is gone.
    ///
    /// ```
    /// use pyroxene_objects::{self as objects, interfaces::{hash::Hash, text::Text}};
    /// use pyroxene_worker::Worker;
    ///
    /// // One worker at a time serves "ledger". Any number of workers serve "text".
    /// let builder = Worker::builder()
    ///     .host_exclusive("ledger", Hash, objects::HashObject)
    ///     .host("text", Text, objects::TextObject);
    /// ```
    pub fn host_exclusive<I, S>(self, name: impl Into<String>, _interface: I, service: S) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let shared = move |_: &WorkerContext| Instances::Shared(service);
        self.plan::<I, S>(name.into(), true, shared, |_| false)
    }

    /// Hosts an object. The calls for which `is_heavy` returns true run on the compute pool.
    ///
    /// ```
    /// use pyroxene_objects::{self as objects, interfaces::hash::{Hash, hash::HashRequest}};
    /// use pyroxene_worker::Worker;
    ///
    /// // Digests of long texts run on the compute pool. All other calls run on the runtime.
    /// let builder = Worker::builder().host_compute("hash", Hash, objects::HashObject, |request| {
    ///     matches!(request, HashRequest::Sha256 { text } if text.len() > 4096)
    /// });
    /// ```
    pub fn host_compute<I, S>(
        self,
        name: impl Into<String>,
        _interface: I,
        service: S,
        is_heavy: fn(&I::Request) -> bool,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let shared = move |_: &WorkerContext| Instances::Shared(service);
        self.plan::<I, S>(name.into(), false, shared, is_heavy)
    }

    /// Hosts an object that has a state of its own for each session of a client. `make` makes it at the
    /// session's first call. It is dropped when the session ends, when the connection of its client ends, or
    /// after [`session_idle`](Self::session_idle) without a call. A call without a session is a session of one
    /// call.
    ///
    /// ```
    /// # pyroxene_common::interface! {
    /// #     /// A list of things to buy.
    /// #     #[name = "Example.Basket"]
    /// #     #[version = 1]
    /// #     pub trait Basket in basket {
    /// #         /// Adds one, and says how many there are.
    /// #         async fn add(thing: String) -> usize;
    /// #     }
    /// # }
    /// use std::sync::{Arc, Mutex};
    ///
    /// /// Clones share the state of a session.
    /// #[derive(Clone, Default)]
    /// struct MyBasket(Arc<Mutex<Vec<String>>>);
    ///
    /// impl basket::Basket for MyBasket {
    ///     async fn add(self, _: tarpc::context::Context, thing: String) -> usize {
    ///         let mut things = self.0.lock().unwrap();
    ///         things.push(thing);
    ///         things.len()
    ///     }
    /// }
    ///
    /// let builder =
    ///     pyroxene_worker::Worker::builder().host_per_session("basket", Basket, MyBasket::default);
    /// ```
    pub fn host_per_session<I, S>(
        self,
        name: impl Into<String>,
        _interface: I,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let services = move |_: &WorkerContext| Instances::PerSession(Arc::new(make));
        self.plan::<I, S>(name.into(), false, services, |_| false)
    }

    /// Hosts an object that has a state of its own for each call.
    ///
    /// ```
    /// # pyroxene_common::interface! {
    /// #     /// People who say hello.
    /// #     #[name = "Example.Greeter"]
    /// #     #[version = 1]
    /// #     pub trait Greeter in greeter {
    /// #         /// A greeting for `name`.
    /// #         async fn hello(name: String) -> String;
    /// #     }
    /// # }
    /// #[derive(Clone, Default)]
    /// struct Polite;
    ///
    /// impl greeter::Greeter for Polite {
    ///     async fn hello(self, _: tarpc::context::Context, name: String) -> String {
    ///         format!("Hello, {name}!")
    ///     }
    /// }
    ///
    /// let builder = pyroxene_worker::Worker::builder().host_per_call("greeter", Greeter, Polite::default);
    /// ```
    pub fn host_per_call<I, S>(
        self,
        name: impl Into<String>,
        _interface: I,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let services = move |_: &WorkerContext| Instances::PerCall(Arc::new(make));
        self.plan::<I, S>(name.into(), false, services, |_| false)
    }

    fn plan<I, S>(
        mut self,
        name: String,
        exclusive: bool,
        services: impl FnOnce(&WorkerContext) -> Instances<S> + Send + 'static,
        is_heavy: fn(&I::Request) -> bool,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let planned = PlannedObject {
            name,
            interface: I::NAME,
            version: I::VERSION,
            spoken: spoken_versions::<I>(),
            exclusive,
        };
        let name = planned.name.clone();
        let make = move |surroundings: &WorkerContext| {
            HostedObject::new::<I, _>(WorkerObject::<I, S> {
                watched_methods: WatchedMethods::new(&name, I::METHODS),
                meter: surroundings.meters.add(&name, I::METHODS),
                name,
                services: services(surroundings),
                is_heavy,
                exclusive: exclusive || surroundings.exclusive,
                worker_context: surroundings.clone(),
                interface: PhantomData,
            })
        };
        self.objects.push((planned, Box::new(make)));
        self
    }

    /// As [`host_compute`](Self::host_compute), for an object that `make` creates from the resources that
    /// the worker shares among its objects.
    ///
    /// ```
    /// use pyroxene_objects::{EchoObject, interfaces};
    /// use pyroxene_worker::Worker;
    ///
    /// // The object learns the name of its worker.
    /// let builder = Worker::builder().host_with(
    ///     "echo",
    ///     interfaces::echo::Echo,
    ///     |own| EchoObject::new(own.worker()),
    ///     |_| false,
    /// );
    /// ```
    pub fn host_with<I, S>(
        self,
        name: impl Into<String>,
        _interface: I,
        make: impl FnOnce(&WorkerContext) -> S + Send + 'static,
        is_heavy: fn(&I::Request) -> bool,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let shared = move |own: &WorkerContext| Instances::Shared(make(own));
        self.plan::<I, S>(name.into(), false, shared, is_heavy)
    }
}

impl PlannedObject {
    /// The entry for the name servers. `exclusive` is true if all objects of the worker are exclusive.
    pub(in crate::worker) fn offer(&self, tags: &[String], exclusive: bool) -> ObjectRegistration {
        ObjectRegistration {
            object: self.name.clone(),
            interface: self.interface.to_owned(),
            version: self.version,
            spoken: self.spoken.to_vec(),
            tags: tags.to_vec(),
            exclusive: self.exclusive || exclusive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Worker;
    use pyroxene_objects::TextObject as Text;

    #[test]
    fn the_order_of_exclusive_and_host_makes_no_difference() {
        let exclusive = |builder: WorkerBuilder| {
            let all = builder.exclusive;
            let objects = builder.objects.into_iter();
            let offers = objects.map(|(planned, _)| planned.offer(&[], all));
            offers.map(|offer| offer.exclusive).collect::<Vec<_>>()
        };
        let text = pyroxene_objects::interfaces::text::Text;
        let before = Worker::builder().exclusive(true).host("a", text, Text);
        let after = Worker::builder().host("a", text, Text).exclusive(true);
        assert_eq!([exclusive(before), exclusive(after)], [[true], [true]]);
        let mixed = Worker::builder()
            .host("a", text, Text)
            .host_exclusive("b", text, Text);
        assert_eq!(exclusive(mixed), [false, true]);
    }
}
