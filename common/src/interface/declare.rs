//! The `interface!` macro.

mod attributes;
mod mistakes;

/// Declares a remote interface.
///
/// ```
/// pyroxene_common::interface! {
///     /// People who say hello.
///     #[name = "Example.Greeter"]
///     #[version = 1]
///     pub trait Greeter in greeter {
///         /// A greeting for `name`.
///         #[idempotent]
///         async fn hello(name: String) -> String;
///         /// Counts the guests that were welcomed by `hello`.
///         async fn guests() -> u64;
///     }
/// }
///
/// #[derive(Clone)]
/// struct Polite;
///
/// impl greeter::Greeter for Polite {
///     async fn hello(self, _: tarpc::context::Context, name: String) -> String {
///         format!("Hello, {name}!")
///     }
///     async fn guests(self, _: tarpc::context::Context) -> u64 {
///         0
///     }
/// }
/// ```
///
/// The module `greeter` contains the trait `Greeter`, `GreeterRequest` and `GreeterResponse`, as
/// `#[tarpc::service]` generates them (in `greeter::tarpc_service`, with tarpc's own client), and the client
/// `GreeterClient`. The marker type `Greeter` is next to the module. A client or a worker names the interface by
/// it.
///
/// `#[idempotent]` says that running the method twice has the effect of running it once. A call to any
/// other method is never retried once it may have run. The word of earlier versions, `#[repeatable]`,
/// still means the same; the next version drops it.
///
/// `#[deprecated]`, also with a note, shows in the description of the interface.
///
/// `#[since = 2]` marks a method, or a parameter that is an `Option`, that version 2 of the interface has added.
/// What is added comes last. An interface with such marks also serves, and calls, the version before the first
/// mark and those in between. Without a mark a version stands alone: clients of another one do not call it.
///
/// ```
/// pyroxene_common::interface! {
///     /// People who say hello, and goodbye.
///     #[name = "Example.Greeter"]
///     #[version = 2]
///     pub trait Greeter in greeter {
///         /// A greeting for `name`.
///         async fn hello(name: String, #[since = 2] title: Option<String>) -> String;
///         /// Another one.
///         #[since = 2]
///         async fn goodbye(name: String) -> String;
///     }
/// }
/// # use pyroxene_common::interface::Interface;
/// assert_eq!((Greeter::OLDEST, Greeter::VERSION), (1, 2));
/// ```
///
/// A parameter or a result may be a [`Stream`](crate::Stream): `async fn lines(path: String) -> Stream<String>`,
/// also in a `Result`.
///
/// Bytes are a [`Blob`](crate::values::Blob). A `Vec<u8>` would be encoded byte by byte, which the compiler warns of.
///
/// Parameters and results must implement serde's traits and `schemars::JsonSchema`. The crate that declares
/// an interface needs `tarpc` as a dependency, because the generated code refers to it.
#[macro_export]
macro_rules! interface {
    (
        $(#[doc = $doc:expr])*
        #[name = $wire:literal]
        #[version = $version:literal]
        $vis:vis trait $name:ident in $module:ident {
            $(
                $(#[$attribute:ident $($value:tt)*])*
                async fn $method:ident(
                    $($(#[since = $parameter_since:literal])? $parameter:ident: $type:ty),* $(,)?
                ) $(-> $result:ty)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name;

        $(#[doc = $doc])*
        #[allow(unreachable_pub, dead_code)]
        $vis mod $module {
            #[allow(unused_imports)]
            use super::*;

            /// The items that `#[tarpc::service]` generates.
            pub mod tarpc_service {
                #[allow(unused_imports)]
                use super::super::*;

                $(#[doc = $doc])*
                #[::tarpc::service]
                #[$crate::trait_variant::make(Send)]
                pub trait $name {
                    $(
                        $(#[doc = $crate::__interface_doc!($attribute $($value)*)])*
                        async fn $method($($parameter: $type),*) $(-> $result)?;
                    )*
                }
            }

            $crate::pastey::paste! {
                #[allow(unused_imports)]
                pub use tarpc_service::{
                    $name, [<$name Request>], [<$name Response>], [<$name Stub>], [<Serve $name>],
                };

                $(#[doc = $doc])*
                ///
                /// This is the client. Its methods' errors are those of its stub.
                #[derive(Clone, Debug)]
                pub struct [<$name Client>]<C>(C);

                impl<C> From<C> for [<$name Client>]<C>
                where
                    C: $crate::interface::CallStub<
                            Request = [<$name Request>],
                            Response = [<$name Response>],
                        >,
                {
                    fn from(stub: C) -> Self {
                        Self(stub)
                    }
                }

                #[allow(clippy::too_many_arguments)]
                impl<C> [<$name Client>]<C>
                where
                    C: $crate::interface::CallStub<
                            Request = [<$name Request>],
                            Response = [<$name Response>],
                        >,
                {
                    $(
                        $(#[doc = $crate::__interface_doc!($attribute $($value)*)])*
                        pub fn $method(
                            &self,
                            context: ::tarpc::context::Context,
                            $($parameter: $type),*
                        ) -> impl ::core::future::Future<
                            Output = ::core::result::Result<
                                $crate::__interface_result!($($result)?),
                                C::Error,
                            >,
                        > + Send + '_ {
                            let request = [<$name Request>]::[<$method:camel>] { $($parameter),* };
                            let call = $crate::interface::CallStub::call(&self.0, context, request);
                            async move {
                                match call.await? {
                                    [<$name Response>]::[<$method:camel>](answer) => Ok(answer),
                                    #[allow(unreachable_patterns)]
                                    _ => Err(<C as $crate::interface::CallStub>::answered_another_method()),
                                }
                            }
                        }
                    )*
                }
            }
        }

        $crate::pastey::paste! {
            impl $crate::interface::Interface for $name {
                type Request = $module::[<$name Request>];
                type Response = $module::[<$name Response>];
                type Client<
                    S: $crate::interface::CallStub<Request = Self::Request, Response = Self::Response>,
                > = $module::[<$name Client>]<S>;

                const NAME: &'static str = $wire;
                const VERSION: u32 = $version;
                const METHODS: &'static [$crate::interface::Method] = &[
                    $($crate::interface::Method {
                        name: stringify!($method),
                        variant: stringify!([<$method:camel>]),
                        repeatable: false $(|| $crate::__interface_repeatable!($attribute))*,
                        parameters: &[$(stringify!($parameter)),*],
                        takes_stream: false $(|| $crate::__interface_streams!($type))*,
                        takes_callback: false $(|| $crate::__interface_callbacks!($type))*,
                        answers_stream: $crate::__interface_streams!(
                            $crate::__interface_result!($($result)?)
                        ),
                        since: $crate::interface::since(&[
                            $($crate::__interface_since!($attribute $($value)*)),*
                        ]),
                        parameters_since: &[
                            $($crate::interface::since(&[$($parameter_since)?])),*
                        ],
                    }),*
                ];

                fn request_index(request: &Self::Request) -> usize {
                    #[allow(non_camel_case_types)]
                    enum Index { $($method),* }
                    match request {
                        $($module::[<$name Request>]::[<$method:camel>] { .. } => Index::$method as usize,)*
                    }
                }

                fn needed_version(request: &Self::Request) -> u32 {
                    #[allow(unused_imports)]
                    use $crate::interface::probe::AlwaysGiven as _;
                    match request {
                        $($module::[<$name Request>]::[<$method:camel>] { $($parameter),* } =>
                            $crate::interface::since(&[
                                $($crate::__interface_since!($attribute $($value)*),)*
                                $($crate::__interface_given!($parameter $($parameter_since)?)),*
                            ]),)*
                    }
                }

                fn response_index(response: &Self::Response) -> usize {
                    #[allow(non_camel_case_types)]
                    enum Index { $($method),* }
                    match response {
                        $($module::[<$name Response>]::[<$method:camel>](_) => Index::$method as usize,)*
                    }
                }

                fn request_parts(request: &Self::Request) -> Vec<&[u8]> {
                    #[allow(unused_imports)]
                    use $crate::interface::probe::{LargePart, NoLargePart};
                    match request {
                        $($module::[<$name Request>]::[<$method:camel>] { $($parameter),* } =>
                            $crate::codec::zero_copy::zero_copy_parts([
                                $((&&$crate::interface::probe::PartOf($parameter)).part()),*
                            ]),)*
                    }
                }

                fn response_parts(response: &Self::Response) -> Vec<&[u8]> {
                    #[allow(unused_imports)]
                    use $crate::interface::probe::{LargePart, NoLargePart};
                    match response {
                        $($module::[<$name Response>]::[<$method:camel>](result) =>
                            $crate::codec::zero_copy::zero_copy_parts([
                                (&&$crate::interface::probe::PartOf(result)).part()
                            ]),)*
                    }
                }

                fn outcome(response: &Self::Response) -> $crate::interface::Outcome {
                    #[allow(unused_imports)]
                    use $crate::interface::probe::{OutcomeByDebug, OutcomeByDisplay, PlainOutcome};
                    match response {
                        $($module::[<$name Response>]::[<$method:camel>](result) =>
                            (&&&$crate::interface::probe::Answer(result)).outcome(),)*
                    }
                }

                fn describe() -> $crate::interface::Description {
                    #[allow(unused_imports)]
                    use $crate::interface::probe::{DescribedError, PlainResult, UndescribedError};
                    let mut schemas = $crate::interface::describe::Schemas::new();
                    let methods = vec![
                        $($crate::interface::MethodDescription {
                            name: stringify!($method).to_owned(),
                            doc: $crate::interface::describe::join_doc(
                                &[$($crate::__interface_doc!($attribute $($value)*)),*]
                            ),
                            repeatable: false $(|| $crate::__interface_repeatable!($attribute))*,
                            deprecated: false $(|| $crate::__interface_deprecated!($attribute))*,
                            since: $crate::interface::since(&[
                                $($crate::__interface_since!($attribute $($value)*)),*
                            ]),
                            fallible: <$crate::interface::probe::ResultOf<
                                $crate::__interface_result!($($result)?)
                            >>::IS_FALLIBLE,
                            parameters: vec![
                                $($crate::interface::ParameterDescription {
                                    name: stringify!($parameter).to_owned(),
                                    schema: schemas.of::<$type>(),
                                    since: $crate::interface::since(&[$($parameter_since)?]),
                                }),*
                            ],
                            result: schemas.of_type(<$crate::interface::probe::ResultOf<
                                $crate::__interface_result!($($result)?)
                            >>::success()),
                            error: (&&&$crate::interface::probe::ResultOf::<
                                $crate::__interface_result!($($result)?)
                            >::new()).error(&mut schemas),
                        }),*
                    ];
                    $crate::interface::Description {
                        interface: $wire.to_owned(),
                        version: $version,
                        doc: $crate::interface::describe::join_doc(&[$($doc),*]),
                        methods,
                        definitions: schemas.into_definitions(),
                    }
                }
            }

            $($($crate::__interface_attribute!($attribute $($value)*);)*)*

            const _: () = {
                $crate::interface::check_marks(
                    <$name as $crate::interface::Interface>::METHODS,
                    $version,
                );
                $($($crate::__interface_optional!($type $(, $parameter_since)?);)*)*
                #[allow(unused_imports)]
                use $crate::interface::probe::HoldsNoBytes as _;
                $(
                    $(let () = <$crate::interface::probe::BytesOf<$type>>::IS_SENT_WHOLE;)*
                    let () = <$crate::interface::probe::BytesOf<
                        $crate::__interface_result!($($result)?)
                    >>::IS_SENT_WHOLE;
                )*
            };

            impl<S> $crate::interface::Serves<S> for $name
            where
                S: $module::$name + Clone + Send + Sync + 'static,
            {
                fn serve(
                    service: S,
                    context: ::tarpc::context::Context,
                    request: Self::Request,
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<Self::Response, ::tarpc::ServerError>,
                > + Send + 'static {
                    ::tarpc::server::Serve::serve($module::$name::serve(service), context, request)
                }
            }
        }
    };

    // What is wrong with any other text.
    (
        $(#[doc = $doc:expr])*
        #[name = $wire:literal]
        #[version = $version:literal]
        $vis:vis trait $name:ident { $($rest:tt)* }
    ) => {
        ::core::compile_error!(concat!(
            "interface!: the module is missing: `trait ", stringify!($name), " in MODULE`"
        ));
    };
    (
        $(#[doc = $doc:expr])*
        #[name = $wire:literal]
        #[version = $version:literal]
        $vis:vis trait $name:ident in $module:ident { $($methods:tt)* }
    ) => {
        $crate::__interface_mistake! { $($methods)* }
    };
    ($(#[doc = $doc:expr])* #[name = $wire:literal] $vis:vis trait $($rest:tt)*) => {
        ::core::compile_error!("interface!: `#[version = 1]` is missing after `#[name = …]`");
    };
    ($($rest:tt)*) => {
        ::core::compile_error!(
            "interface!: an interface begins with `#[name = \"Example.Greeter\"] #[version = 1] pub trait Greeter in greeter`"
        );
    };
}

/// Whether a type is a stream.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_streams {
    ($type:ty) => {{
        #[allow(unused_imports)]
        use $crate::interface::probe::HoldsNoStream as _;
        <$crate::interface::probe::StreamsOf<$type>>::STREAMS
    }};
}

/// Whether a type may be a callback.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_callbacks {
    ($type:ty) => {{
        #[allow(unused_imports)]
        use $crate::interface::probe::HoldsNoCallback as _;
        <$crate::interface::probe::CallbacksOf<$type>>::CALLBACKS
    }};
}

/// The result type of a method; `()` if it names none.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_result {
    () => {
        ()
    };
    ($result:ty) => {
        $result
    };
}

#[cfg(test)]
mod tests {
    use crate::interface::Interface;

    crate::interface! {
        /// Both words for a method that may run twice.
        #[name = "Test.Words"]
        #[version = 1]
        pub(crate) trait Words in words {
            #[idempotent]
            async fn word();
            #[repeatable]
            async fn earlier_word();
            #[deprecated(note = "use word")]
            async fn old_word();
            async fn no_word();
        }
    }

    #[test]
    fn a_method_is_repeatable_by_either_word_and_not_without() {
        let repeatable: Vec<bool> = Words::METHODS
            .iter()
            .map(|method| method.repeatable)
            .collect();
        assert_eq!(repeatable, [true, true, false, false]);
        let description = Words::describe();
        let old = description.method("old_word").unwrap();
        assert!(old.deprecated && old.doc.contains("use word"), "{old:?}");
    }
}
