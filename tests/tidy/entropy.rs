//! What the simulated build links, by `cargo tree`: nothing that draws from the operating system on its own.
//!
//! `getrandom` 0.2 and what stands on it (`rand` 0.8), `ahash` with its random state, `fastrand`, `dashmap` and
//! thread pools give another run for the same seed. The simulation runtime may use what it needs, since it is
//! what stands in for chance there; nobody else may.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The package whose simulated build is judged.
const ROOT: &str = "quorate-sim";
/// The only one whose own dependencies are not looked at.
const RUNTIME: &str = "madsim";
/// What no other package may bring: a name, and how its version begins.
const LEAKS: &[(&str, &str)] = &[
    ("getrandom", "0.1"),
    ("getrandom", "0.2"),
    ("rand", "0.7"),
    ("rand", "0.8"),
    ("ahash", ""),
    ("fastrand", ""),
    ("dashmap", ""),
    ("rayon", ""),
    ("async-std", ""),
    ("quanta", ""),
    ("ring", ""),
];

/// A package with its version.
type Package = (String, String);

/// Who depends on whom.
pub struct Tree {
    root: Option<Package>,
    edges: BTreeMap<Package, BTreeSet<Package>>,
}

/// The dependencies of the simulated build, build scripts and tests left out.
pub fn simulated_build() -> Result<Tree, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["tree", "--locked", "--package", ROOT, "--edges", "normal", "--prefix", "depth"])
        .args(["--config", r#"build.rustflags=["--cfg","madsim"]"#])
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(Tree::parse(&String::from_utf8_lossy(&output.stdout)))
}

impl Tree {
    /// Reads lines of a depth, a name, a version and remarks: `2rand v0.8.5 (*)`.
    pub fn parse(text: &str) -> Tree {
        let mut tree = Tree { root: None, edges: BTreeMap::new() };
        let mut path: Vec<Package> = Vec::new();
        for line in text.lines() {
            let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (depth, rest) = line.split_at(digits);
            let mut words = rest.split_whitespace();
            let (Ok(depth), Some(name), Some(version)) = (depth.parse::<usize>(), words.next(), words.next())
            else {
                continue;
            };
            let package = (name.to_owned(), version.trim_start_matches('v').to_owned());
            path.truncate(depth);
            match path.last() {
                Some(above) => {
                    tree.edges.entry(above.clone()).or_default().insert(package.clone());
                }
                None => tree.root = Some(package.clone()),
            }
            path.push(package);
        }
        tree
    }

    /// Complaints: each leak, with the way by which it came.
    pub fn check(&self) -> Vec<String> {
        let Some(root) = &self.root else { return vec!["the tree is empty".to_owned()] };
        let mut seen = BTreeSet::from([root.clone()]);
        let mut ways = vec![vec![root.clone()]];
        let mut complaints = Vec::new();
        while let Some(way) = ways.pop() {
            let Some(last) = way.last() else { continue };
            let leaks = LEAKS.iter().any(|(name, version)| last.0 == *name && last.1.starts_with(version));
            if leaks {
                let shown: Vec<String> =
                    way.iter().map(|(name, version)| format!("{name} {version}")).collect();
                complaints.push(format!("chance from outside the seed: {}", shown.join(" -> ")));
            }
            if last.0 == RUNTIME {
                continue;
            }
            for below in self.edges.get(last).into_iter().flatten() {
                if seen.insert(below.clone()) {
                    let mut longer = way.clone();
                    longer.push(below.clone());
                    ways.push(longer);
                }
            }
        }
        complaints
    }
}
