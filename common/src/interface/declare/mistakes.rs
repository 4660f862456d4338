//! What is wrong with the methods of an interface that `interface!` cannot read.

/// Passes over the methods that are well formed, and says what is wrong with the first other one.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_mistake {
    (
        $(#[$attribute:ident $($value:tt)*])*
        async fn $method:ident(
            $($(#[since = $since:literal])? $parameter:ident: $type:ty),* $(,)?
        ) $(-> $result:ty)?;
        $($rest:tt)*
    ) => {
        $crate::__interface_mistake! { $($rest)* }
    };
    ($(#[$($attribute:tt)*])* async fn $method:ident(& $($rest:tt)*) $($others:tt)*) => {
        $crate::__interface_mistake! { @of $method "is declared without `&self`" }
    };
    ($(#[$($attribute:tt)*])* async fn $method:ident(self $($rest:tt)*) $($others:tt)*) => {
        $crate::__interface_mistake! { @of $method "is declared without `self`" }
    };
    ($(#[$($attribute:tt)*])* async fn $method:ident < $($rest:tt)*) => {
        $crate::__interface_mistake! { @of $method "has no generics" }
    };
    (
        $(#[$($attribute:tt)*])*
        async fn $method:ident(
            $($(#[$mark:ident $($value:tt)*])* $parameter:ident: $type:ty),* $(,)?
        ) $(-> $result:ty)?;
        $($rest:tt)*
    ) => {
        $crate::__interface_mistake! {
            @of $method "has parameters with an attribute other than one `#[since = 2]` each"
        }
    };
    (
        $(#[$($attribute:tt)*])* async fn $method:ident($($parameters:tt)*) $(-> $result:ty)? { $($body:tt)* }
        $($rest:tt)*
    ) => {
        $crate::__interface_mistake! { @of $method "has no body, but a semicolon at its end" }
    };
    ($(#[$($attribute:tt)*])* async fn $method:ident $($rest:tt)*) => {
        $crate::__interface_mistake! { @of $method "cannot be read" }
    };
    ($(#[$($attribute:tt)*])* fn $method:ident $($rest:tt)*) => {
        $crate::__interface_mistake! { @of $method "begins with `async fn`" }
    };
    ($(#[$($attribute:tt)*])* $vis:vis $(async)? fn $method:ident $($rest:tt)*) => {
        $crate::__interface_mistake! { @of $method "is declared without `pub`" }
    };
    (@of $method:ident $what:literal) => {
        ::core::compile_error!(concat!(
            "interface!: `", stringify!($method), "` ", $what,
            ": a method is `async fn name(parameter: Type) -> Type;`"
        ));
    };
    ($($rest:tt)*) => {
        ::core::compile_error!(
            "interface!: an interface has only methods, such as `async fn name(parameter: Type) -> Type;`"
        );
    };
}
