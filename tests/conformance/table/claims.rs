//! What tests say that they show.

use std::collections::BTreeSet;
use std::path::Path;

/// What begins the paragraph.
const MARK: &str = "Covers ";

/// One thing that a test says it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The row, see [`super::rows::Row::name`].
    pub of: String,
    /// The test, with the path of its file below `tests`.
    pub test: String,
    /// Every word of the file outside its comments.
    pub words: std::rc::Rc<BTreeSet<String>>,
}

/// The claims of all tests below `folder`.
pub fn claims(folder: &Path) -> Vec<Claim> {
    let mut files = Vec::new();
    find(folder, &mut files);
    files.sort();
    let of_file = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(folder).unwrap().with_extension("");
        claims_of(&name.display().to_string(), &std::fs::read_to_string(path).unwrap())
    };
    files.iter().flat_map(of_file).collect()
}

fn find(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The claims of the tests in one file.
pub fn claims_of(file: &str, text: &str) -> Vec<Claim> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let words = code.iter().flat_map(|line| line.split(|char| !is_word(char))).map(str::to_owned);
    let words = std::rc::Rc::new(words.collect::<BTreeSet<String>>());
    let mut claims = Vec::new();
    let mut paragraph: Option<String> = None;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("///").map(str::trim) {
            Some(said) if said.starts_with(MARK) => paragraph = Some(said.to_owned()),
            Some("") => paragraph = paragraph.filter(|said| said.ends_with('.')),
            Some(said) => {
                if let Some(paragraph) = paragraph.as_mut().filter(|paragraph| !paragraph.ends_with('.')) {
                    paragraph.push(' ');
                    paragraph.push_str(said);
                }
            }
            // Attributes stand between a comment and its function.
            None if line.starts_with("#[") => {}
            None => {
                let Some(said) = paragraph.take() else { continue };
                let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                let test = format!("{file}::{}", name.unwrap_or(line));
                for of in named(&said) {
                    claims.push(Claim { of, test: test.clone(), words: words.clone() });
                }
            }
        }
    }
    claims
}

/// The rows that a paragraph names: calls by themselves, parts after what they belong to.
fn named(paragraph: &str) -> Vec<String> {
    let said = paragraph.trim_start_matches(MARK).trim_end_matches('.');
    let groups = said.split(';').map(str::trim);
    groups
        .flat_map(|group| match group.split_once(':') {
            Some((owner, parts)) => {
                parts.split(',').map(|part| format!("{}.{}", owner.trim(), part.trim())).collect()
            }
            None => group.split(',').map(|call| call.trim().to_owned()).collect::<Vec<String>>(),
        })
        .collect()
}
