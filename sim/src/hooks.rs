//! The hooks that the source holds: planted bugs, marks and disturbances, found when this crate is built.
//!
//! `build.rs` reads the source, so the lists are always those of the code that runs.

/// A hook and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name it was given.
    pub name: &'static str,
    /// The file, from the repository's root.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
}

include!(concat!(env!("OUT_DIR"), "/hooks.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_found_where_they_stand() {
        for place in MUTANTS.iter().chain(MARKS).chain(PLACES) {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let text = std::fs::read_to_string(root.join(place.file)).unwrap();
            let line = text.lines().nth(usize::try_from(place.line).unwrap() - 1).unwrap();
            assert!(line.contains(&format!("\"{}\"", place.name)), "{}:{}", place.file, place.line);
        }
    }
}
