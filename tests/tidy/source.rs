//! The files under judgement, and what of a Rust file counts as code.
//!
//! Code is the text without comments, without the insides of string literals and without `#[cfg(test)]` items.
//! Line breaks are kept, so that a position in the code is a line of the file. This is a scanner, not a parser:
//! it knows exactly as much Rust as the rules need.

use std::fs;
use std::path::Path;

/// One file of the repository.
pub struct Source {
    /// Its path from the root, with forward slashes.
    pub path: String,
    /// All of it.
    pub text: String,
    /// What of it is product code (empty for files that are not Rust).
    pub code: String,
}

impl Source {
    /// Takes a file apart.
    pub fn new(path: &str, text: &str) -> Source {
        let code = if path.ends_with(".rs") { without_tests(&without_comments(text)) } else { String::new() };
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// The line, from 1, of a byte position in the code.
    pub fn line(&self, position: usize) -> usize {
        1 + self.code.bytes().take(position).filter(|byte| *byte == b'\n').count()
    }
}

/// Every text file of the repository that people write, in order of path.
pub fn repository_files() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            // Build output and version control are not ours to judge; dotted folders of ours are named.
            let ours = !name.starts_with('.') || [".cargo", ".ci"].contains(&name.as_str());
            if ours && !["target", "out", "venv", "node_modules"].contains(&name.as_str()) {
                walk(root, &path, found);
            }
        } else if let (Ok(text), Ok(relative)) = (fs::read_to_string(&path), path.strip_prefix(root)) {
            // Anything that is not UTF-8 (a fixture of an old format, say) is no text of ours. A worktree's
            // `.git` is a file that names its repository.
            if name != ".git" {
                found.push(Source::new(&relative.to_string_lossy().replace('\\', "/"), &text));
            }
        }
    }
}

/// Blanks comments and the insides of literals; keeps every line break.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                while index < chars.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        (other, _) => {
                            if other == '\n' {
                                code.push('\n');
                            }
                            index += 1;
                        }
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            ('r', '"' | '#') if !ends_in_word(code.strip_suffix('b').unwrap_or(&code)) => {
                let hashes = (index + 1..).take_while(|place| at(*place) == '#').count();
                if at(index + 1 + hashes) == '"' {
                    let close = format!("\"{}", "#".repeat(hashes));
                    let rest: String = chars.iter().skip(index + 2 + hashes).collect();
                    let inside = rest.split(&close).next().unwrap_or_default();
                    code.push_str("\"\"");
                    code.extend(inside.chars().filter(|c| *c == '\n'));
                    index += 2 + hashes + inside.chars().count() + 1 + hashes;
                } else {
                    code.push('r');
                    index += 1;
                }
            }
            ('"', _) => {
                code.push('"');
                index += 1;
                while index < chars.len() && at(index) != '"' {
                    if at(index) == '\n' {
                        code.push('\n');
                    }
                    index += if at(index) == '\\' && at(index + 1) != '\n' { 2 } else { 1 };
                }
                code.push('"');
                index += 1;
            }
            // A character literal, as opposed to a lifetime.
            ('\'', '\\') => {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                code.push_str("''");
                index += 1;
            }
            ('\'', _) if at(index + 2) == '\'' => {
                code.push_str("''");
                index += 3;
            }
            (other, _) => {
                code.push(other);
                index += 1;
            }
        }
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Blanks every item under `#[cfg(test)]`; keeps every line break.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(found) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(found);
        kept.push_str(before);
        let end = end_of_item(item);
        let (gone, after) = item.split_at(end);
        kept.extend(gone.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Where the item ends: at its semicolon, or at the brace that closes its first one.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (position, character) in item.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return position + 1;
                }
            }
            ';' if depth == 0 => return position + 1,
            _ => {}
        }
    }
    item.len()
}
