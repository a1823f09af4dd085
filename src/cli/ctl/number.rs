//! Numbers as the command line takes them, refused in the words that scripts may know.

/// Reads a signed whole number; the error names the text.
///
/// # Errors
/// The text is no number of this radix, or does not fit 64 bits.
pub fn parse(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse("1f", 16), Ok(31));
        assert_eq!(parse("-3", 10), Ok(-3));
        assert_eq!(parse("zz", 16), Err("strconv.ParseInt: parsing \"zz\": invalid syntax".to_owned()));
        assert!(parse("99999999999999999999", 10).is_err_and(|text| text.ends_with("value out of range")));
    }
}
