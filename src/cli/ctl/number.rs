//! Numbers as the command line takes them, refused in the words that scripts may know.

use std::num::IntErrorKind;

/// Reads a signed whole number; the error names the text.
///
/// # Errors
/// The text is no number of this radix, or does not fit 64 bits.
pub fn parse(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| refusal("ParseInt", text, error.kind()))
}

/// Reads the id of a member, in hex without a sign or prefix; the error names the text.
///
/// # Errors
/// The text is no such number, or does not fit 64 bits.
pub fn parse_id(text: &str) -> Result<u64, String> {
    let refuse = |kind: &IntErrorKind| refusal("ParseUint", text, kind);
    if text.starts_with('+') {
        return Err(refuse(&IntErrorKind::InvalidDigit));
    }
    u64::from_str_radix(text, 16).map_err(|error| refuse(error.kind()))
}

fn refusal(function: &str, text: &str, kind: &IntErrorKind) -> String {
    let why = match kind {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
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

    #[test]
    fn ids() {
        assert_eq!(parse_id("ffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "zz", "0x12", "-1", "+1"] {
            let want = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            assert_eq!(parse_id(text), Err(want));
        }
        assert!(parse_id("10000000000000000").is_err_and(|text| text.ends_with("value out of range")));
    }
}
