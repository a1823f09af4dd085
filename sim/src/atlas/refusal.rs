//! The last words of a member that gives up over its disk: a person must be able to act on them.

/// Whether the words name a damaged file, by its path, and an offset.
pub fn names_damage<'a>(words: &str, mut damaged: impl Iterator<Item = &'a str>) -> bool {
    let offset = words.split("offset ").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    offset && damaged.any(|path| words.contains(path))
}

/// Whether the words say that there is no space, and where.
pub fn tells_of_no_space(words: &str, below: &str) -> bool {
    words.to_lowercase().contains("no space") && words.contains(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_offset_are_both_wanted() {
        let damaged = || ["/data/wal/0a.wal"].into_iter();
        assert!(names_damage("write-ahead log /data/wal/0a.wal is corrupt at offset 4096: torn", damaged()));
        assert!(!names_damage("write-ahead log /data/wal/0a.wal is corrupt", damaged()));
        assert!(!names_damage("write-ahead log /data/wal/0b.wal is corrupt at offset 4096", damaged()));
        assert!(!names_damage("/data/wal/0a.wal: at offset unknown", damaged()));
    }

    #[test]
    fn no_space_is_said_with_its_place() {
        assert!(tells_of_no_space("no space for segment /data/wal/1.wal", "/data"));
        assert!(tells_of_no_space("/data/state: No space left on device (os error 28)", "/data"));
        assert!(!tells_of_no_space("no space", "/data"));
        assert!(!tells_of_no_space("/data: Input/output error", "/data"));
    }
}
