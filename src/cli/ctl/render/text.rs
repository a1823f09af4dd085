//! Texts as the formats need them: quoted, in hex, sizes for people.

use std::fmt::Write as _;

/// Bytes in double quotes, with escapes for what does not print.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                c if c.is_ascii_control() => push_hex(&mut out, u8::try_from(c).unwrap_or_default()),
                c if c.is_control() => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            push_hex(&mut out, *byte);
        }
    }
    out.push('"');
    out
}

/// Every byte as `\xNN`.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4);
    for byte in bytes {
        push_hex(&mut out, *byte);
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// A size for people, in powers of a thousand: `20 kB`, `1.5 MB`.
pub fn size(bytes: i64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let bytes = u128::try_from(bytes).unwrap_or_default();
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit: u128 = 1;
    let mut names = UNITS.iter();
    let mut name = names.next().copied().unwrap_or_default();
    while bytes >= unit * 1_000
        && let Some(next) = names.next()
    {
        unit *= 1_000;
        name = next;
    }
    // Tenths, rounded to nearest; they are shown below ten only.
    let tenths = (bytes * 10 + unit / 2) / unit;
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        // Half a unit goes to the even neighbour: 20.5 kB is "20 kB", as it always was.
        let (whole, rest) = (tenths / 10, tenths % 10);
        let up = rest > 5 || (rest == 5 && whole % 2 == 1);
        format!("{} {name}", whole + u128::from(up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        for (bytes, want) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"1\n2\t\x07\x01", r#""1\n2\t\a\x01""#),
            (b"\xff\x00", r#""\xff\x00""#),
            ("grün".as_bytes(), "\"grün\""),
        ] {
            assert_eq!(quote(bytes), want);
        }
        assert_eq!(hex(b"a2"), r"\x61\x32");
    }

    #[test]
    fn sizes() {
        for (bytes, want) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (24_576, "25 kB"),
            (1_550_000, "1.6 MB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }
}
