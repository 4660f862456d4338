//! Counting and changing text.

pyroxene_common::interface! {
    /// Counting and changing text.
    #[name = "pyroxene.Text"]
    #[version = 1]
    pub trait Text in text {
        /// The number of words: runs of characters that are not white space.
        #[repeatable]
        async fn count_words(text: String) -> u64;
        /// The number of characters, as Unicode counts them (scalar values).
        #[repeatable]
        async fn count_chars(text: String) -> u64;
        /// The text in upper case, by Unicode's rules.
        #[repeatable]
        async fn uppercase(text: String) -> String;
        /// The text in lower case, by Unicode's rules.
        #[repeatable]
        async fn lowercase(text: String) -> String;
        /// The text in reverse. A character as a reader sees it (a letter with its accents, a flag, a family)
        /// stays whole.
        #[repeatable]
        async fn reverse(text: String) -> String;
    }
}
