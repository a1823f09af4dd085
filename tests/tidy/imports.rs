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
    ("tls", &["env", "config", "types"]),
    ("peer", &["tls", "storage", "env", "machine", "config", "types"]),
    ("raft", &["peer", "storage", "env", "machine", "config", "types"]),
    ("member", &["raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("service", &["member", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("http", &["service", "member", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    ("restore", &["service", "raft", "storage", "env", "machine", "config", "types"]),
    ("node", &["http", "service", "member", "raft", "peer", "storage", "env", "machine", "config", "types"]),
    (
        "cli",
        &[
            "node", "restore", "http", "service", "member", "raft", "peer", "tls", "storage", "env",
            "machine", "config", "types",
        ],
    ),
    ("main", &["cli"]),
];

/// Where the generated types may be named, by proto package. Records stand beside the state that they persist,
/// messages between members where consensus speaks, and the client API's types stop at the services.
const MAY_USE_PB: &[(&str, &[&str])] = &[
    ("record", &["src/machine/", "src/storage/"]),
    ("peer", &["src/peer/", "src/raft/", "src/node"]),
    // Every other package is the clients'. `node` registers services, `restore` reads what etcd stores in the same terms.
    ("", &["src/service/", "src/http/", "src/cli/", "src/node", "src/restore/"]),
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
    for (position, used, inner) in crate_paths(&file.code) {
        let line = file.line(position);
        if used == module || !is_module(&used) {
            continue;
        }
        if used == "pb" {
            if !may_use_pb(&file.path, &inner) {
                complaints.push(format!("line {line}: `pb::{inner}` may not be named here (see MAY_USE_PB)"));
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

/// Complaints about a file of a crate that judges the server or runs it as a program: it may not know its code.
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

fn may_use_pb(path: &str, package: &str) -> bool {
    let rule = MAY_USE_PB.iter().find(|(name, _)| *name == package).or(MAY_USE_PB.last());
    rule.is_some_and(|(_, places)| places.iter().any(|place| path.starts_with(place)))
}

fn module_of(path: &str) -> String {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Macros and constants of the crate's root (`crate::sometimes!`) are not modules.
fn is_module(name: &str) -> bool {
    name == "pb" || MAY_USE.iter().any(|(module, _)| *module == name)
}

/// The first two segments after every `crate::` or `quorate::`, groups included, with their position.
fn crate_paths(code: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for root in ["crate", "quorate"] {
        for position in word_positions(code, root, false) {
            let after = code.get(position + root.len()..).unwrap_or_default();
            let Some(path) = after.trim_start().strip_prefix("::") else { continue };
            for (head, inner) in paths(path.trim_start()) {
                found.push((position, head, inner));
            }
        }
    }
    found
}

/// The first two segments of a path, or of every member of a `{...}` group.
fn paths(path: &str) -> Vec<(String, String)> {
    let Some(group) = path.strip_prefix('{') else { return vec![segments(path)] };
    let mut found = Vec::new();
    let mut depth = 0;
    let mut member = String::new();
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(segments(&std::mem::take(&mut member)));
                continue;
            }
            _ => {}
        }
        member.push(character);
    }
    found.push(segments(&member));
    found.retain(|(head, _)| !head.is_empty());
    found
}

fn segments(path: &str) -> (String, String) {
    let mut rest = path.trim_start();
    let mut next = || {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (segment, after) = rest.split_at(end);
        rest = after.trim_start().strip_prefix("::").unwrap_or_default().trim_start();
        segment.to_owned()
    };
    (next(), next())
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
