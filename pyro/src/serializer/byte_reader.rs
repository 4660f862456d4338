//! Takes the bytes of a binary serializer apart.

/// The bytes that are not read yet.
pub(super) struct ByteReader<'a> {
    pub(super) rest: &'a [u8],
    /// What is said where they end too early.
    pub(super) too_short: &'static str,
}

impl<'a> ByteReader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.too_short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn slice(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.too_short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self, len: usize) -> Result<&'a str, String> {
        let text = std::str::from_utf8(self.slice(len)?);
        text.map_err(|error| format!("a text is not UTF-8: {error}"))
    }
}
