//! What the attributes of methods and parameters in `interface!` mean.

/// The documentation text that an attribute of a method adds.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_doc {
    (doc = $doc:expr) => {
        $doc
    };
    (idempotent) => {
        "\n\nSafe to repeat."
    };
    (repeatable) => {
        "\n\nSafe to repeat."
    };
    (since = $version:literal) => {
        concat!("\n\nSince version ", stringify!($version), ".")
    };
    (deprecated) => {
        "\n\nDeprecated."
    };
    (deprecated = $note:literal) => {
        concat!("\n\nDeprecated: ", $note)
    };
    (deprecated($($key:ident = $value:literal),* $(,)?)) => {
        concat!("\n\nDeprecated" $(, ", ", stringify!($key), ": ", $value)*, ".")
    };
    // `__interface_attribute!` says what is wrong with it.
    ($($other:tt)*) => {
        ""
    };
}

/// Refuses an attribute that no method has.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_attribute {
    (doc = $doc:expr) => {};
    (idempotent) => {};
    (repeatable) => {};
    (deprecated) => {};
    (deprecated = $note:literal) => {};
    (deprecated($($key:ident = $value:literal),* $(,)?)) => {};
    (since = $version:literal) => {};
    (since $($other:tt)*) => {
        ::core::compile_error!("interface!: a method that was added is marked `#[since = 2]`");
    };
    ($other:ident $($value:tt)*) => {
        ::core::compile_error!(concat!(
            "interface!: a method has no attribute `", stringify!($other $($value)*),
            "`; it has `idempotent`, `deprecated`, `since = 2` and documentation"
        ));
    };
}

/// Whether an attribute of a method says that the method is idempotent.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_repeatable {
    (doc) => {
        false
    };
    (idempotent) => {
        true
    };
    (repeatable) => {
        true
    };
    ($other:ident) => {
        false
    };
}

/// Whether an attribute of a method says that the method is deprecated.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_deprecated {
    (deprecated) => {
        true
    };
    ($other:ident) => {
        false
    };
}

/// The version in an attribute of a method that says when it was added; 0 in any other attribute.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_since {
    (since = $version:literal) => {
        $version
    };
    ($($other:tt)*) => {
        0
    };
}

/// The version that a parameter needs: the one that added it, if it is present.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_given {
    ($parameter:ident) => {{
        let _ = $parameter;
        0
    }};
    ($parameter:ident $version:literal) => {
        if $crate::interface::probe::Given($parameter).is_given() {
            $version
        } else {
            0
        }
    };
}

/// Refuses a parameter that was added and is not an `Option`.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface_optional {
    ($type:ty) => {};
    ($type:ty, $version:literal) => {
        $crate::interface::probe::is_optional::<$type>()
    };
}
