//! The last words of a member that gives up over its disk: a person must be able to act on them.

/// How far from the damage an offset may be that is named for it, bytes: what is damaged is found out where the batch or
/// page begins, or where the next one does.
pub const NEAR_BYTES: u64 = 64 << 10;

/// A damaged place: a file's path, and an offset in it.
pub type Place = (String, u64);

/// Whether the words name a damaged file, by its path, and an offset: one near its damage when `near`.
pub fn names_damage<'a>(words: &str, near: bool, mut damaged: impl Iterator<Item = &'a Place>) -> bool {
    let named: Vec<u64> = words.split("offset ").skip(1).filter_map(number).collect();
    damaged.any(|(path, at)| {
        let is_near = |offset: &u64| !near || offset.abs_diff(*at) <= NEAR_BYTES;
        words.contains(path.as_str()) && named.iter().any(is_near)
    })
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
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
        let damaged = [("/data/wal/0a.wal".to_owned(), 4_100)];
        let names = |words: &str| names_damage(words, false, damaged.iter());
        assert!(names("write-ahead log /data/wal/0a.wal is corrupt at offset 4096: torn"));
        assert!(names("write-ahead log /data/wal/0a.wal is corrupt at offset 900000"));
        assert!(!names("write-ahead log /data/wal/0a.wal is corrupt"));
        assert!(!names("write-ahead log /data/wal/0b.wal is corrupt at offset 4096"));
        assert!(!names("/data/wal/0a.wal: at offset unknown"));
    }

    #[test]
    fn the_offset_must_be_near_where_it_can_be_known() {
        let damaged = [("/data/f".to_owned(), 500_000), ("/data/f".to_owned(), 900_000)];
        let names = |words: &str| names_damage(words, true, damaged.iter());
        assert!(names("/data/f (root at offset 4096): the last page read is at offset 499712, 4096 bytes"));
        assert!(names("/data/f at offset 900000"));
        assert!(!names("/data/f (root at offset 4096): the counts differ"));
    }

    #[test]
    fn no_space_is_said_with_its_place() {
        assert!(tells_of_no_space("no space for segment /data/wal/1.wal", "/data"));
        assert!(tells_of_no_space("/data/state: No space left on device (os error 28)", "/data"));
        assert!(!tells_of_no_space("no space", "/data"));
        assert!(!tells_of_no_space("/data: Input/output error", "/data"));
    }
}
