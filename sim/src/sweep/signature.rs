//! What failures have in common: class, who found it, and the sentence without what differs from run to run.

use crate::report::Report;

/// The least length at which a word of hexadecimal digits is an id or a hash.
const HEX_MIN: usize = 8;

/// The signature of a report's first finding; that of a run without any is its class.
pub fn signature(report: &Report) -> String {
    match report.violations.first() {
        Some(first) => format!("{} [{}] {}", report.class, first.by, without_numbers(&first.sentence)),
        None => report.class.to_string(),
    }
}

/// The sentence with `N` for every number, in ids and hashes too.
fn without_numbers(sentence: &str) -> String {
    let mut plain = String::with_capacity(sentence.len());
    let mut word = String::new();
    // The end of the sentence ends its last word.
    for letter in sentence.chars().map(Some).chain([None]) {
        match letter {
            Some(letter) if letter.is_ascii_alphanumeric() => word.push(letter),
            other => {
                plain.push_str(&without_digits(&word));
                word.clear();
                plain.extend(other);
            }
        }
    }
    plain
}

fn without_digits(word: &str) -> String {
    if word.len() >= HEX_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "N".to_owned();
    }
    let mut plain = String::with_capacity(word.len());
    for letter in word.chars() {
        match letter {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::verdict::Class;

    #[test]
    fn runs_that_differ_in_numbers_alone_have_one_signature() {
        let of = |sentence: &str| signature(&Report::lost(1, Class::Safety, sentence));
        let one = of("m1 and m2 have applied 3.114 and differ: 00ff12ab34cd and ffffffffffff");
        let two = of("m3 and m1 have applied 12.9 and differ: 0123456789ab and 000000000001");
        assert_eq!(one, two);
        assert_eq!(one, "safety [runner] mN and mN have applied N.N and differ: N and N");
        assert_ne!(one, of("m1 and m2 both lead term 3"));
        assert_eq!(of("nothing deadbeef"), "safety [runner] nothing N");
        assert_eq!(of("watch w1101000001 went on"), "safety [runner] watch wN went on");
    }
}
