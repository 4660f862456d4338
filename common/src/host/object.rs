//! An object in a host, independent of its interface type.

use super::invoke_dispatch::{InvokeDispatch, NamedAnswer, NamedCall, NamedJsonCall};
use crate::{
    access::{AccessPolicy, MethodPermissions},
    channel::{CallFailure, ConnectionContext, ConnectionLost, Dispatch, serve, with_kept},
    codec::CodecError,
    hello::{HelloRefusal, RefusalCode},
    identity::Identity,
    interface::{
        Description, Interface, Method, Serves, SpokenVersion, decode_request, spoken_versions,
    },
    interfaces::invoke::{Invoke, InvokeError},
    tls::Stream,
};
use futures::{FutureExt, future::BoxFuture};
use std::{fmt, marker::PhantomData, sync::Arc};
use tarpc::context;

/// An object that clients can connect to. It serves its own interface, in one or several versions, and [`Invoke`].
#[derive(Clone)]
pub struct HostedObject {
    /// That of the newest version, which describes the object and is called by name.
    newest: Arc<dyn ObjectServer>,
    /// One for each other version that is implemented by itself.
    others: Vec<Arc<dyn ObjectServer>>,
    policy: AccessPolicy,
    keeps_accepting_runtime: bool,
}

impl fmt::Debug for HostedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (interface, version) = self.interface();
        write!(f, "Object({interface} {version})")
    }
}

impl HostedObject {
    /// An object of the interface `I` whose requests are answered by `dispatch`.
    pub fn new<I, D>(dispatch: D) -> Self
    where
        I: Interface,
        D: Dispatch<Request = I::Request, Response = I::Response>,
    {
        Self {
            newest: Arc::new(DispatchServer::<I, D> {
                own: Arc::new(dispatch),
                spoken: spoken_versions::<I>(),
                interface: PhantomData,
            }),
            others: Vec::new(),
            policy: AccessPolicy::Patterns,
            keeps_accepting_runtime: false,
        }
    }

    /// The object with another version of its interface, which `other` implements. `None` if that is another
    /// interface, or both speak the same version.
    pub fn with_version(mut self, other: Self) -> Option<Self> {
        let speaks = |version: u32| self.server_of(version).is_some();
        let clashes = other.versions().any(|spoken| speaks(spoken.version));
        if clashes || self.interface().0 != other.interface().0 {
            return None;
        }
        self.others.extend(other.others);
        let is_newer = other.newest.interface().1 > self.newest.interface().1;
        let older = match is_newer {
            true => std::mem::replace(&mut self.newest, other.newest),
            false => other.newest,
        };
        self.others.push(older);
        Some(self)
    }

    /// The versions of its own interface that it speaks.
    pub fn versions(&self) -> impl Iterator<Item = SpokenVersion> {
        let servers = std::iter::once(&self.newest).chain(&self.others);
        servers.flat_map(|server| server.versions().iter().copied())
    }

    /// The server that speaks a version.
    fn server_of(&self, version: u32) -> Option<&Arc<dyn ObjectServer>> {
        let mut servers = std::iter::once(&self.newest).chain(&self.others);
        servers.find(|server| {
            let mut spoken = server.versions().iter();
            spoken.any(|spoken| spoken.version == version)
        })
    }

    /// The server for an interface, which was found before.
    fn server_for(&self, face: ObjectProtocol) -> &Arc<dyn ObjectServer> {
        match face {
            ObjectProtocol::Own(version) => self.server_of(version).unwrap_or(&self.newest),
            ObjectProtocol::Invoke => &self.newest,
        }
    }

    /// Which methods a caller may call, where authentication is on. The default is [`AccessPolicy::Patterns`].
    #[must_use]
    pub fn policy(mut self, policy: AccessPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Serves the object's own interface on the runtime that accepts connections, even if the host serves
    /// other objects on another one ([`HostConfig::runtime`](super::HostConfig::runtime)).
    #[must_use]
    pub fn keep_accepting_runtime(mut self) -> Self {
        self.keeps_accepting_runtime = true;
        self
    }

    /// Whether a connection of this interface stays on the runtime that accepted it.
    pub(super) fn stays_on_accepting_runtime(&self, face: ObjectProtocol) -> bool {
        self.keeps_accepting_runtime && matches!(face, ObjectProtocol::Own(_))
    }

    /// Whether unauthenticated callers may call it too.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.policy, AccessPolicy::Open)
    }

    /// The methods that an identity may call over one of the object's interfaces; a refusal if there are
    /// none. If `only` names a method, at most that one is allowed.
    pub(super) fn permit(
        &self,
        face: ObjectProtocol,
        identity: &Arc<Identity>,
        name: &str,
        only: Option<&str>,
    ) -> Result<MethodPermissions, HelloRefusal> {
        let methods = self.server_for(face).methods();
        let permit = self.policy.permit(identity, name, methods, only);
        match face {
            ObjectProtocol::Own(_) => permit.or_refuse(),
            // Every authenticated caller may see how an object is called.
            ObjectProtocol::Invoke => Ok(permit),
        }
    }

    /// An object whose methods run directly on the runtime.
    pub fn from_service<I, S>(service: S) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        Self::new::<I, _>(ServiceDispatch::<I, S>::new(service))
    }

    /// The name and the newest version of its own interface.
    pub fn interface(&self) -> (&'static str, u32) {
        self.newest.interface()
    }

    /// The description of its own interface.
    pub fn description(&self) -> Description {
        self.newest.description()
    }

    /// Answers a call by name from within the process. `name` is the object's; with an identity, the caller has
    /// its rights, and may call every method otherwise. The caller is that of the
    /// [`Scope`](crate::scope::Scope) in which the answer is awaited.
    pub fn invoke(
        &self,
        context: context::Context,
        call: NamedCall,
        name: &str,
        identity: Option<&Arc<Identity>>,
    ) -> BoxFuture<'static, NamedOutcome> {
        let permit = identity.map_or(MethodPermissions::EVERYTHING, |identity| {
            self.policy
                .permit(identity, name, self.newest.methods(), None)
        });
        self.newest.invoke(context, call, permit)
    }

    /// Finds the interface that a client asked for, or returns a refusal.
    pub(super) fn protocol(
        &self,
        name: &str,
        interface: &str,
        version: u32,
    ) -> Result<ObjectProtocol, HelloRefusal> {
        let (own, newest) = self.interface();
        let (face, expected) = match interface {
            _ if interface == own => {
                let own = |_| ObjectProtocol::Own(version);
                (self.server_of(version).map(own), newest)
            }
            _ if interface == Invoke::NAME => {
                let is_known = version == Invoke::VERSION;
                (is_known.then_some(ObjectProtocol::Invoke), Invoke::VERSION)
            }
            _ => {
                let message = format!("object '{name}' has the interface {own}, not {interface}");
                return Err(HelloRefusal::new(RefusalCode::WrongInterface, message));
            }
        };
        face.ok_or_else(|| {
            let message = format!(
                "object '{name}' has version {expected} of {interface}, not version {version}"
            );
            HelloRefusal::new(RefusalCode::WrongVersion, message)
        })
    }

    /// Serves a connection after the hello.
    pub(super) fn serve(
        &self,
        face: ObjectProtocol,
        stream: Stream,
        session: ConnectionContext,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, ConnectionLost> {
        let server = self.server_for(face);
        match face {
            ObjectProtocol::Own(interface_version) => {
                let session = ConnectionContext {
                    interface_version,
                    ..session
                };
                server.serve_own(stream, session, permit)
            }
            ObjectProtocol::Invoke => server.serve_invoke(stream, session, permit),
        }
    }
}

/// The interface that a connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectProtocol {
    /// Its own, in this version.
    Own(u32),
    Invoke,
}

/// The answer of a call by name, the object's own error, or why there is neither.
type NamedOutcome = Result<Result<NamedAnswer, InvokeError>, CallFailure>;

trait ObjectServer: Send + Sync {
    fn interface(&self) -> (&'static str, u32);
    fn versions(&self) -> &[SpokenVersion];
    fn methods(&self) -> &'static [Method];
    fn description(&self) -> Description;
    fn invoke(
        &self,
        context: context::Context,
        call: NamedCall,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, NamedOutcome>;
    fn serve_own(
        &self,
        stream: Stream,
        session: ConnectionContext,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, ConnectionLost>;
    fn serve_invoke(
        &self,
        stream: Stream,
        session: ConnectionContext,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, ConnectionLost>;
}

struct DispatchServer<I, D> {
    own: Arc<D>,
    spoken: Arc<[SpokenVersion]>,
    interface: PhantomData<I>,
}

impl<I, D> ObjectServer for DispatchServer<I, D>
where
    I: Interface,
    D: Dispatch<Request = I::Request, Response = I::Response>,
{
    fn interface(&self) -> (&'static str, u32) {
        (I::NAME, I::VERSION)
    }

    fn versions(&self) -> &[SpokenVersion] {
        &self.spoken
    }

    fn methods(&self) -> &'static [Method] {
        I::METHODS
    }

    fn description(&self) -> Description {
        I::describe()
    }

    fn invoke(
        &self,
        context: context::Context,
        call: NamedCall,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, NamedOutcome> {
        let call = NamedJsonCall::<I> {
            permit,
            call,
            interface: PhantomData,
        };
        let answering = Arc::clone(&self.own).dispatch_translated(context, call);
        async move {
            // Here no connection holds what the call keeps.
            let (answered, kept) = with_kept(answering).await;
            Ok(answered?.map(|answer| NamedAnswer {
                items: answer.items.map(|items| items.keeping(kept)),
                ..answer
            }))
        }
        .boxed()
    }

    fn serve_own(
        &self,
        stream: Stream,
        session: ConnectionContext,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, ConnectionLost> {
        let own = Arc::clone(&self.own);
        if permit.is_everything() {
            return serve(stream, own, session).boxed();
        }
        let limited = PermittedDispatch::<I, D> {
            own,
            permit,
            interface: PhantomData,
        };
        serve(stream, Arc::new(limited), session).boxed()
    }

    fn serve_invoke(
        &self,
        stream: Stream,
        session: ConnectionContext,
        permit: MethodPermissions,
    ) -> BoxFuture<'static, ConnectionLost> {
        let invoke = InvokeDispatch::<I, D>::new(Arc::clone(&self.own), permit);
        serve(stream, Arc::new(invoke), session).boxed()
    }
}

/// A service whose methods run directly on the runtime.
#[derive(Debug)]
pub struct ServiceDispatch<I, S> {
    service: S,
    interface: PhantomData<I>,
}

impl<I, S> ServiceDispatch<I, S> {
    /// Wraps a service of the interface `I`.
    pub fn new(service: S) -> Self {
        Self {
            service,
            interface: PhantomData,
        }
    }
}

impl<I, S> Dispatch for ServiceDispatch<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    type Request = I::Request;
    type Response = I::Response;

    fn parts(response: &I::Response) -> Vec<&[u8]> {
        I::response_parts(response)
    }

    fn decode(version: u32, message: &[u8]) -> Result<I::Request, CodecError> {
        decode_request::<I>(version, message)
    }

    async fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallFailure> {
        I::serve(self.service.clone(), context, request)
            .await
            .map_err(CallFailure::Failed)
    }
}

/// Calls of an object by a caller that may not call every method.
struct PermittedDispatch<I, D> {
    own: Arc<D>,
    permit: MethodPermissions,
    interface: PhantomData<I>,
}

impl<I, D> Dispatch for PermittedDispatch<I, D>
where
    I: Interface,
    D: Dispatch<Request = I::Request, Response = I::Response>,
{
    type Request = I::Request;
    type Response = I::Response;

    fn parts(response: &I::Response) -> Vec<&[u8]> {
        I::response_parts(response)
    }

    fn decode(version: u32, message: &[u8]) -> Result<I::Request, CodecError> {
        decode_request::<I>(version, message)
    }

    async fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallFailure> {
        self.permit
            .check(I::request_index(&request), I::METHODS)
            .map_err(CallFailure::Refused)?;
        Arc::clone(&self.own).dispatch(context, request).await
    }
}
