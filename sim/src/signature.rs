//! What kind of failure a run met: its class, who found it, and the sentence without what differs from run to run.
//!
//! Two failures of one signature are taken for the same bug. Names, numbers and keys go, and so does the kind of
//! request, so that a story may be told with another key, another revision, or a put in place of a transaction.
//! It is a comparison of words and no more: one bug may well have several signatures.

use std::fmt;

use quorate_check::verdict::Class;

use crate::report::{Finding, Report};

/// The kind of a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    class: Class,
    by: String,
    kind: String,
}

/// Words of a sentence that count.
const WORDS_MAX: usize = 18;
/// Characters of a file name made from a signature.
const SLUG_CHARS_MAX: usize = 60;
/// Stands for whatever was left out.
const ANYTHING: &str = "*";

/// The kinds of request, as sentences name them.
const REQUESTS: &[&str] = &[
    "put",
    "read",
    "write",
    "delete",
    "transaction",
    "compaction",
    "lease grant",
    "lease revoke",
    "keep-alive",
    "time-to-live",
    "lease list",
    "alarm",
    "downgrade",
];

/// Finders whose sentences end, after a colon, in what every member looked like.
const LISTING: &[&str] = &["settle"];

impl Signature {
    /// The signature of one finding.
    pub fn of(finding: &Finding) -> Signature {
        let mut sentence = finding.sentence.as_str();
        if LISTING.contains(&finding.by.as_str()) {
            sentence = sentence.split(": ").next().unwrap_or_default();
        }
        Signature { class: finding.class, by: finding.by.clone(), kind: kind(sentence) }
    }

    /// The signature of the finding that a report leads with; `None` when nothing is wrong.
    pub fn of_report(report: &Report) -> Option<Signature> {
        report.violations.first().map(Signature::of)
    }

    /// Whether a run failed in this way: the same class, and at least one finding of this kind.
    pub fn is_in(&self, report: &Report) -> bool {
        report.class == self.class && self.finding_in(report).is_some()
    }

    /// The first finding of this kind.
    pub fn finding_in<'r>(&self, report: &'r Report) -> Option<&'r Finding> {
        report.violations.iter().find(|finding| Signature::of(finding) == *self)
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Small letters and dashes, for the names of files.
    pub fn slug(&self) -> String {
        let mut slug = String::new();
        for letter in format!("{} {} {}", self.class, self.by, self.kind).chars() {
            let fits = letter.is_ascii_alphanumeric();
            if fits {
                slug.push(letter.to_ascii_lowercase());
            } else if !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let short: String = slug.chars().take(SLUG_CHARS_MAX).collect();
        // A word that was cut in two says nothing.
        let whole =
            if short.len() < slug.len() { short.rsplit_once('-').map(|(start, _)| start) } else { None };
        whole.unwrap_or(&short).trim_matches('-').to_owned()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}", self.class, self.by, self.kind)
    }
}

/// The sentence without what differs from run to run.
fn kind(sentence: &str) -> String {
    let mut plain = sentence.to_ascii_lowercase();
    // Places in source files move with every edit.
    if let Some((before, _)) = plain.split_once(" (at ") {
        plain = before.to_owned();
    }
    let mut words: Vec<&str> = Vec::new();
    let mut rest = plain.as_str();
    while !rest.is_empty() && words.len() < WORDS_MAX {
        rest = rest.trim_start();
        let request = REQUESTS.iter().find(|name| {
            rest.strip_prefix(**name)
                .is_some_and(|after| after.is_empty() || after.starts_with([' ', ',', ':']))
        });
        let (word, after) = match request {
            Some(name) => (ANYTHING, rest.get(name.len()..).unwrap_or_default()),
            None => {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                (if names_something(word) { ANYTHING } else { word }, after)
            }
        };
        if !(word.is_empty() || word == ANYTHING && words.last() == Some(&ANYTHING)) {
            words.push(word);
        }
        rest = after;
    }
    words.join(" ")
}

/// Numbers, names with numbers in them, and marks without letters.
fn names_something(word: &str) -> bool {
    word.chars().any(|letter| letter.is_ascii_digit()) || !word.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(class: Class, by: &str, sentence: &str) -> Signature {
        Signature::of(&Finding::new(class, by, sentence))
    }

    fn safety(sentence: &str) -> Signature {
        signature(Class::Safety, "real-time", sentence)
    }

    #[test]
    fn numbers_keys_and_requests_do_not_count() {
        assert_eq!(
            safety("read at revision 168 returned after write 169 was acknowledged"),
            safety("transaction at revision 2 returned after delete 3 was acknowledged"),
        );
        assert_eq!(
            safety("watch w7 went on to k03 at revision 10 without k01 at revision 9"),
            safety("watch w1101000001 went on to k1 at revision 2 without k9, k10 at revision 1"),
        );
        assert_eq!(
            safety("read at revision 168 returned after write 169 was acknowledged").to_string(),
            "safety [real-time] * at revision * returned after * was acknowledged"
        );
    }

    #[test]
    fn what_is_wrong_and_who_says_so_does_count() {
        let one = safety("read at revision 168 returned after write 169 was acknowledged");
        assert_ne!(one, safety("read at revision 168 returned after revision 169 had been seen by a watch"));
        assert_ne!(
            one,
            signature(Class::Safety, "header", "read at revision 1 returned after write 2 was acknowledged")
        );
        assert_ne!(
            one,
            signature(
                Class::Crash,
                "real-time",
                "read at revision 1 returned after write 2 was acknowledged"
            )
        );
    }

    #[test]
    fn a_listing_of_members_and_a_place_in_the_source_do_not_count() {
        let stuck = |seen: &str| {
            let sentence = format!("the members did not come to one state within 60 s after healing: {seen}");
            signature(Class::Liveness, "settle", &sentence)
        };
        assert_eq!(stuck("m1 applied 7 and follows a1"), stuck("m1 is not up, m2 applied 3"));
        let panic =
            |place: &str| signature(Class::Crash, "panic", &format!("a log ran backwards (at {place})"));
        assert_eq!(panic("src/a.rs:7"), panic("src/b.rs:9"));
    }

    #[test]
    fn any_finding_of_the_class_will_do() {
        let wanted = safety("the raft term fell between two responses of watch w7");
        let mut report = Report::lost(1, Class::Safety, "something else");
        assert!(!wanted.is_in(&report));
        report.violations.push(Finding::new(
            Class::Safety,
            "real-time",
            "the raft term fell between two responses of watch w9",
        ));
        assert!(wanted.is_in(&report));
        report.class = Class::Crash;
        assert!(!wanted.is_in(&report), "the gravest finding gives a run its class");
    }

    #[test]
    fn a_slug_is_fit_for_a_file_name() {
        assert_eq!(
            safety("read at revision 168 returned after write 169 was acknowledged").slug(),
            "safety-real-time-at-revision-returned-after-was-acknowledged"
        );
        let long = safety(&"word ".repeat(40)).slug();
        assert!(long.len() <= SLUG_CHARS_MAX && long.ends_with("-word"), "{long}");
    }
}
