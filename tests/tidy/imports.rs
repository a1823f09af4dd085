//! Who may use whom: imports only go down.
//!
//! The table below *is* the architecture. A module that is not in it cannot land: add it, with thought.

use crate::source::Source;

/// Each top-level module and the ones it may name. `config` holds plain values and every limit, so everything
/// above `types` may read it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("pb", &[]),
    ("config", &["types"]),
    ("machine", &["config", "types"]),
    ("env", &["machine", "config", "types"]),
    ("storage", &["env", "machine", "config", "types"]),
    ("peer", &["storage", "env", "machine", "config", "types"]),
    ("raft", &["peer", "storage", "env", "machine", "config", "types"]),
    ("service", &["raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("http", &["service", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("node", &["http", "service", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("cli", &["node", "http", "service", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("main", &["cli"]),
];

/// Where the generated wire types may be named: the edges, and the one codec that persists.
const MAY_USE_PB: &[&str] = &[
    "src/service/",
    "src/http/",
    "src/peer/",
    "src/raft/network",
    "src/raft/codec",
    "src/storage/",
    "src/machine/codec",
    "src/cli/",
];

/// Complaints about a file of `src/`.
pub fn check(file: &Source) -> Vec<String> {
    // The crate's root only declares the modules.
    if file.path == "src/lib.rs" {
        return Vec::new();
    }
    let module = module_of(&file.path);
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
        return vec![format!("module `{module}` stands in no layer (see MAY_USE in the tidy test)")];
    };
    let mut complaints = Vec::new();
    for (position, used) in crate_paths(&file.code) {
        let line = file.line(position);
        if used == module || !is_module(&used) {
            continue;
        }
        if used == "pb" {
            if !MAY_USE_PB.iter().any(|place| file.path.starts_with(place)) {
                complaints.push(format!("line {line}: wire types (`pb`) stop at the edges"));
            }
        } else if !allowed.contains(&used.as_str()) {
            complaints.push(format!("line {line}: `{module}` may not use `{used}`: imports only go down"));
        }
    }
    if climbs_to_root(file) {
        complaints.push("`super::` climbs to the crate's root: name the path from `crate::`".to_owned());
    }
    if !file.path.starts_with("src/raft/") && !word_positions(&file.code, "openraft", true).is_empty() {
        complaints.push("only src/raft may name openraft".to_owned());
    }
    for forbidden in ["quorate_sim", "quorate_disk", "quorate_check"] {
        if !word_positions(&file.code, forbidden, false).is_empty() {
            complaints.push(format!("product code may not use {forbidden}"));
        }
    }
    complaints
}

/// Complaints about a file of the crate that judges histories: it may not know the server.
pub fn check_judge(file: &Source) -> Vec<String> {
    let named = if file.path.ends_with("Cargo.toml") {
        file.text.lines().any(|line| {
            let key = line.split(['=', '.']).next().unwrap_or_default().trim();
            key == "quorate"
        })
    } else {
        file.code.contains("quorate::")
    };
    if named { vec!["the judge may not depend on what it judges".to_owned()] } else { Vec::new() }
}

fn module_of(path: &str) -> String {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Macros and constants of the crate's root (`crate::sometimes!`) are not modules.
fn is_module(name: &str) -> bool {
    name == "pb" || MAY_USE.iter().any(|(module, _)| *module == name)
}

/// The first segment after every `crate::` or `quorate::`, groups included, with its position.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "quorate"] {
        for position in word_positions(code, root, false) {
            let after = code.get(position + root.len()..).unwrap_or_default();
            let Some(path) = after.trim_start().strip_prefix("::") else { continue };
            let path = path.trim_start();
            match path.strip_prefix('{') {
                Some(group) => {
                    found.extend(group_heads(group).into_iter().map(|head| (position, head)));
                }
                None => found.push((position, first_segment(path))),
            }
        }
    }
    found
}

/// The first segment of every member of a `{...}` group, given the text after its opening brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut member = String::new();
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(first_segment(&std::mem::take(&mut member))),
            _ => {}
        }
        if depth == 0 && character != ',' {
            member.push(character);
        }
    }
    heads.push(first_segment(&member));
    heads.retain(|head| !head.is_empty());
    heads
}

fn first_segment(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Positions where `word` stands as a word; with `prefix`, also where a longer word begins with it.
fn word_positions(code: &str, word: &str, prefix: bool) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(position, _)| position)
        .filter(|position| {
            let (before, after) = code.split_at(*position);
            let after = after.get(word.len()..).unwrap_or_default();
            !before.ends_with(is_word) && (prefix || !after.starts_with(is_word))
        })
        .collect()
}

fn climbs_to_root(file: &Source) -> bool {
    let parts: Vec<&str> = file.path.trim_end_matches(".rs").split('/').skip(1).collect();
    let depth = if parts.last() == Some(&"mod") { parts.len() - 1 } else { parts.len() };
    let packed: String = file.code.split_whitespace().collect::<Vec<_>>().join(" ");
    depth > 0 && packed.contains(&"super::".repeat(depth))
}
