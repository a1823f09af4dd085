//! Headers, sizes, words: what a reader meets before any code.

use crate::source::Source;

/// Lines of code a file may have, tests aside.
const LINES_MAX: usize = 700;

/// Complaints about a Rust file that does not open with `//!`.
pub fn check_header(file: &Source) -> Vec<String> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec!["must open with `//!`: what it is for, what always holds, what it does not do".to_owned()]
}

/// Complaints about a Rust file that wants splitting.
pub fn check_size(file: &Source) -> Vec<String> {
    let is_test = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    let lines = counted_lines(file);
    if is_test || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{lines} lines without tests; {LINES_MAX} is the limit: split it")]
}

/// Lines outside `#[cfg(test)]` items, comments included: they are read too.
fn counted_lines(file: &Source) -> usize {
    let mut total = file.text.lines().count();
    let mut rest = file.text.as_str();
    // Test modules stand last in a file here; from the attribute on, lines blank in `code` are test lines.
    if let Some(found) = rest.find("#[cfg(test)]\nmod ") {
        rest = rest.get(found..).unwrap_or_default();
        let first = file.text.lines().count() - rest.lines().count();
        let kept = file.code.lines().skip(first).filter(|line| !line.trim().is_empty()).count();
        total = first + kept;
    }
    total
}

/// Words that speak of where the project was made, or of where packages come from, and not of the product.
/// They are written in halves, so that this file does not contain them.
const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("static.cra", "tes.io"),
    concat!("index.cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("proxy.go", "lang.org"),
    concat!("registry.np", "mjs.org"),
];

/// Complaints about words that do not belong in the repository.
pub fn check_words(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in FOREIGN.iter().filter(|word| line.contains(*word)) {
            complaints.push(format!("line {}: `{word}` does not belong here", index + 1));
        }
    }
    complaints
}
