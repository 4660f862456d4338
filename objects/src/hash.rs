//! Digests of text.

use crate::interfaces::hash::hash::{self, HashRequest};
use ring::digest::{Algorithm, SHA256, SHA512, digest};
use tarpc::context::Context;
use tokio::runtime::Handle;

/// The object `hash`.
///
/// ```
/// use pyroxene_objects::{HashObject, interfaces::hash::hash::Hash as _};
/// use tarpc::context;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let digits = HashObject.sha256(context::current(), "abc".to_owned()).await;
/// assert!(digits.starts_with("ba7816bf") && digits.len() == 64);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HashObject;

/// A digest of more bytes than this takes too long to run in place: about 10 microseconds on a processor
/// without instructions for it.
const HEAVY_LENGTH: usize = 4096;

/// Whether a call takes too long to run in place.
pub fn is_heavy(request: &HashRequest) -> bool {
    match request {
        HashRequest::Sha256 { text }
        | HashRequest::Sha512 { text }
        | HashRequest::Blake3 { text } => text.len() > HEAVY_LENGTH,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        digits.extend(char::from_digit(u32::from(byte >> 4), 16));
        digits.extend(char::from_digit(u32::from(byte & 0xf), 16));
    }
    digits
}

/// From this length on, in bytes, a text's memory is freed in the background: for 256 MB that took 30 ms, and
/// the digest 160 ms.
const LARGE: usize = 16 * 1024 * 1024;

/// The digest of a text that is no longer needed.
fn digest_of(text: String, algorithm: &'static Algorithm) -> String {
    let digits = hexadecimal(digest(algorithm, text.as_bytes()).as_ref());
    drop_in_background(text);
    digits
}

fn drop_in_background(text: String) {
    if text.len() >= LARGE
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(text));
    }
}

impl hash::Hash for HashObject {
    async fn sha256(self, _: Context, text: String) -> String {
        digest_of(text, &SHA256)
    }

    async fn sha512(self, _: Context, text: String) -> String {
        digest_of(text, &SHA512)
    }

    async fn blake3(self, _: Context, text: String) -> String {
        let digits = blake3::hash(text.as_bytes()).to_hex().to_string();
        drop_in_background(text);
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::{hash::Hash as _, *};
    use tarpc::context;

    // The digests of "" and "abc" from FIPS 180-4's examples and BLAKE3's test vectors.
    #[tokio::test]
    async fn digests_are_the_published_ones() {
        let context = context::current;
        assert_eq!(
            HashObject.sha256(context(), String::new()).await,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            HashObject.sha256(context(), "abc".to_owned()).await,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            HashObject.sha512(context(), "abc".to_owned()).await,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
        assert_eq!(
            HashObject.blake3(context(), String::new()).await,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }

    #[tokio::test]
    async fn a_long_text_is_digested_like_any_other() {
        // One million times "a", from FIPS 180-4's examples, and a length whose memory is freed in the
        // background, with the digest of coreutils' sha256sum.
        assert_eq!(
            HashObject
                .sha256(context::current(), "a".repeat(1_000_000))
                .await,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        assert_eq!(
            HashObject
                .sha256(context::current(), "a".repeat(LARGE))
                .await,
            "5b6ff2e19d0da0fe323061018fc381393492884e74af8296c81ab9cb2694783a"
        );
    }

    #[test]
    fn long_texts_are_heavy() {
        assert!(!is_heavy(&HashRequest::Sha256 {
            text: "x".repeat(64)
        }));
        assert!(is_heavy(&HashRequest::Blake3 {
            text: "x".repeat(1_000_000)
        }));
    }
}
