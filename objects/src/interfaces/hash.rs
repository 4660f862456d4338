//! Digests of text.

pyroxene_common::interface! {
    /// Digests of a text's UTF-8 bytes, as lower-case hexadecimal digits.
    #[name = "pyroxene.Hash"]
    #[version = 1]
    pub trait Hash in hash {
        /// SHA-256 (FIPS 180-4): 64 digits.
        #[idempotent]
        async fn sha256(text: String) -> String;
        /// SHA-512 (FIPS 180-4): 128 digits.
        #[idempotent]
        async fn sha512(text: String) -> String;
        /// BLAKE3 with its default output length: 64 digits.
        #[idempotent]
        async fn blake3(text: String) -> String;
    }
}
