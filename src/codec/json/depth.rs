//! How deep a JSON text nests, found without parsing it.

/// Whether objects and arrays stand inside one another more than `limit` deep.
///
/// No text is deeper than its opening brackets are many, and counting them is next to free; only a text with more than `limit` of
/// them is looked at closely.
pub(super) fn exceeds(text: &[u8], limit: usize) -> bool {
    // '[' and '{' differ in one bit. Sums over 128 bytes fit a byte, so that the count runs in vector registers.
    let opens = |chunk: &[u8]| usize::from(chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>());
    if text.chunks(128).map(opens).sum::<usize>() <= limit {
        return false;
    }
    let (mut depth, mut in_text, mut bytes) = (0_usize, false, text.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                bytes.next();
            }
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::exceeds;

    #[test]
    fn brackets_in_texts_and_side_by_side_are_not_depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!exceeds(nested(3).as_bytes(), 3));
        assert!(exceeds(nested(4).as_bytes(), 3));
        assert!(!exceeds(format!("[{}]", vec!["[{}]"; 500].join(",")).as_bytes(), 3));
        assert!(!exceeds(br#"{"a\"[[[[[": "[[\\", "b": "{{{"}"#, 1));
        assert!(exceeds(br#"{"a": "\\", "b": [[1]]}"#, 2));
    }
}
