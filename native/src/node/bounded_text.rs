//! Texts of bounded length for messages to other nodes.

use tequio_core::codec::BoundedString;

/// The text, cut to the capacity of the result.
pub fn truncated<const N: usize>(text: &str) -> BoundedString<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().try_into().unwrap_or_default()
}
