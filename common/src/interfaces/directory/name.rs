//! The rules for names in the directory. Workers check their own names before they start, and name servers
//! check every name that they receive.

use crate::clean;

/// The longest name of an object, worker, host, interface or tag, and the longest endpoint, in bytes.
pub const MAX_NAME: usize = 255;

/// A name that the directory does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of {what} {why}")]
pub struct InvalidName {
    what: &'static str,
    why: String,
}

/// Checks a name: not empty, at most [`MAX_NAME`] bytes, and without white space, control characters and
/// invisible characters. So it can be printed, typed, and separated from other names by spaces.
///
/// # Errors
///
/// [`InvalidName`], which calls the name that of `what`, such as "a worker".
pub fn check_name(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("has {} bytes, the limit is {MAX_NAME}", name.len())
    } else if !clean::is_word(name) {
        format!("contains white space, control characters or invisible ones: {name:?}")
    } else {
        return Ok(());
    };
    Err(InvalidName { what, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(check_name("an object", &"é".repeat(127)), Ok(()));
        let bad = [
            "",
            " ",
            "a b",
            "a\tb",
            "a\u{7f}",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200b}b",
        ];
        for name in bad.into_iter().chain([&*"é".repeat(128)]) {
            let error = check_name("an object", name).unwrap_err().to_string();
            assert!(error.starts_with("the name of an object "), "{error}");
            assert!(clean::is_line(&error), "{error:?}");
        }
    }
}
