//! Counting and changing text.

pyroxene_common::interface! {
    /// Counting and changing text.
    #[name = "pyroxene.Text"]
    #[version = 1]
    pub trait Text in text {
        /// The number of words: runs of characters that are not white space.
        #[idempotent]
        async fn count_words(text: String) -> u64;
        /// The number of characters, as Unicode counts them (scalar values).
        #[idempotent]
        async fn count_chars(text: String) -> u64;
        /// The text in upper case, by Unicode's rules.
        #[idempotent]
        async fn uppercase(text: String) -> String;
        /// The text in lower case, by Unicode's rules.
        #[idempotent]
        async fn lowercase(text: String) -> String;
        /// The text in reverse. A character as a reader sees it (a letter with its accents, a flag, a family)
        /// stays whole.
        #[idempotent]
        async fn reverse(text: String) -> String;
    }
}
