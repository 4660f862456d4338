//! Counting and changing text.

use crate::interfaces::text::text::{self, TextRequest};
use tarpc::context::Context;
use unicode_segmentation::UnicodeSegmentation;

/// The object `text`.
///
/// ```
/// use pyroxene_objects::{TextObject, interfaces::text::text::Text as _};
/// use tarpc::context;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(TextObject.count_words(context::current(), " to be ".to_owned()).await, 2);
/// // The accent stays with its letter.
/// assert_eq!(TextObject.reverse(context::current(), "ne\u{301}e".to_owned()).await, "ee\u{301}n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TextObject;

/// Whether a call takes too long to run in place: more than about 10 microseconds, as measured.
pub fn is_heavy(request: &TextRequest) -> bool {
    use TextRequest as Request;
    match request {
        Request::CountChars { text } => text.len() > 64 * 1024,
        Request::CountWords { text }
        | Request::Uppercase { text }
        | Request::Lowercase { text } => text.len() > 1024,
        // Finding the characters as a reader sees them takes longer.
        Request::Reverse { text } => text.len() > 512,
    }
}

impl text::Text for TextObject {
    async fn count_words(self, _: Context, text: String) -> u64 {
        text.split_whitespace().count() as u64
    }

    async fn count_chars(self, _: Context, text: String) -> u64 {
        text.chars().count() as u64
    }

    async fn uppercase(self, _: Context, text: String) -> String {
        text.to_uppercase()
    }

    async fn lowercase(self, _: Context, text: String) -> String {
        text.to_lowercase()
    }

    async fn reverse(self, _: Context, text: String) -> String {
        if text.is_ascii() && !text.contains('\r') {
            // Every byte is then a character. A CR and the LF after it would be one character.
            return text.chars().rev().collect();
        }
        text.graphemes(true).rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{text::Text as _, *};
    use tarpc::context;

    async fn reverse(text: &str) -> String {
        TextObject
            .reverse(context::current(), text.to_owned())
            .await
    }

    #[tokio::test]
    async fn words_are_what_white_space_separates() {
        let count = async |text: &str| {
            TextObject
                .count_words(context::current(), text.to_owned())
                .await
        };
        assert_eq!(count("the quick  brown\n\tfox ").await, 4);
        assert_eq!(count("naïve\u{3000}世界").await, 2); // an ideographic space
        assert_eq!(count(" \n").await, 0);
    }

    #[tokio::test]
    async fn characters_are_unicode_scalar_values() {
        let count = async |text: &str| {
            TextObject
                .count_chars(context::current(), text.to_owned())
                .await
        };
        assert_eq!(count("").await, 0);
        assert_eq!(count("naïve 世界").await, 8);
        assert_eq!(count("e\u{301}").await, 2);
    }

    #[tokio::test]
    async fn case_follows_unicode() {
        let upper = TextObject.uppercase(context::current(), "straße é".to_owned());
        assert_eq!(upper.await, "STRASSE É");
        let lower = TextObject.lowercase(context::current(), "ΌΔΟΣ İ".to_owned());
        assert_eq!(lower.await, "όδος i\u{307}");
    }

    #[tokio::test]
    async fn reversing_keeps_what_a_reader_sees_together() {
        assert_eq!(reverse("hello").await, "olleh");
        assert_eq!(reverse("ae\u{301}o").await, "oe\u{301}a");
        assert_eq!(reverse("🇫🇷🇩🇪!").await, "!🇩🇪🇫🇷");
        assert_eq!(reverse("a👨‍👩‍👧b").await, "b👨‍👩‍👧a");
        assert_eq!(reverse("a\r\nb").await, "b\r\na");
        assert_eq!(reverse("").await, "");
    }

    #[test]
    fn long_texts_are_heavy() {
        let reverse = |length| {
            is_heavy(&TextRequest::Reverse {
                text: "x".repeat(length),
            })
        };
        assert!(!reverse(100));
        assert!(reverse(10_000));
        assert!(is_heavy(&TextRequest::CountChars {
            text: "x".repeat(1_000_000)
        }));
    }
}
