//! The house rules as a test: what style and design promise, checked on every file of the repository.
//!
//! Rules live in `tests/tidy/`: [`imports`] (who may use whom), [`banned`] (calls that break determinism),
//! [`entropy`] (packages that do), [`layout`] (headers, size, words). Each rule is a function from a source text to a list of complaints, so it is
//! itself tested on bad snippets here. What is *not* checked: anything clippy or rustfmt already checks.

#[path = "tidy/banned.rs"]
mod banned;
#[path = "tidy/entropy.rs"]
mod entropy;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layout.rs"]
mod layout;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, repository_files};

/// Runs `rule` over every file for which `applies` holds, and fails with all complaints at once.
fn enforce(applies: impl Fn(&str) -> bool, rule: impl Fn(&Source) -> Vec<String>) {
    let files = repository_files();
    let mut judged = 0;
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| applies(&file.path)) {
        judged += 1;
        complaints.extend(rule(file).into_iter().map(|what| format!("{}: {what}", file.path)));
    }
    assert!(judged > 0, "the rule found no file to judge: was a folder renamed?");
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn is_product(path: &str) -> bool {
    path.starts_with("src/") && path.ends_with(".rs")
}

fn is_simulator(path: &str) -> bool {
    ["sim/src/", "sim/disk/src/", "sim/check/src/"].iter().any(|place| path.starts_with(place))
        && path.ends_with(".rs")
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

#[test]
fn imports_only_go_down() {
    enforce(is_product, imports::check);
}

#[test]
fn what_judges_the_server_never_names_it() {
    for judge in ["sim/check/", "jepsen/"] {
        enforce(|path| path.starts_with(judge), imports::check_judge);
    }
}

#[test]
fn no_call_that_breaks_determinism() {
    enforce(|path| is_product(path) || is_simulator(path), banned::check);
}

#[test]
fn no_package_that_breaks_determinism() {
    let tree = entropy::simulated_build().unwrap_or_else(|error| panic!("{error}"));
    let complaints = tree.check();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    enforce(is_rust, layout::check_header);
}

#[test]
fn files_keep_their_size() {
    enforce(|path| is_rust(path) && path.contains("src/"), layout::check_size);
}

#[test]
fn the_repository_speaks_of_the_product_alone() {
    enforce(|path| path != "Cargo.lock", layout::check_words);
}

/// The rules on snippets that break them, and on the near misses that do not.
mod of_the_rules {
    use super::source::Source;
    use super::{banned, entropy, imports, layout};

    fn complaints(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Source::new(path, text)).len()
    }

    #[test]
    fn upward_imports_are_found() {
        for (path, text, expected) in [
            ("src/types/ids.rs", "use crate::machine::State;", 1),
            ("src/machine/txn.rs", "use crate::storage::engine::Engine;", 1),
            ("src/machine/txn.rs", "use crate::types::Revision;", 0),
            ("src/machine/txn.rs", "fn f() { crate::service::kv::put(); }", 1),
            ("src/storage/wal/writer.rs", "use crate::{env::Disk, raft::LogStore};", 1),
            (
                "src/storage/wal/writer.rs",
                "use crate::{\n    env::{Disk, File},\n    types::LogIndex,\n};",
                0,
            ),
            ("src/raft/log_store.rs", "use crate::service::kv;", 1),
            ("src/service/kv.rs", "use crate::raft::Proposer;", 0),
            ("src/node.rs", "use crate::cli::serve;", 1),
            ("src/storage/wal/mod.rs", "// use crate::raft::x;\n", 0),
            ("src/storage/wal/mod.rs", "const X: &str = \"crate::raft::x\";", 0),
            ("src/storage/wal/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::raft::X;\n}\n", 0),
            ("src/storage/wal/mod.rs", "fn f() { crate::sometimes!(\"x\"); }", 0),
            ("src/types/ids.rs", "use super::super::machine::State;", 1),
            ("src/machine/txn.rs", "use super::super::storage::Engine;", 1),
            ("src/machine/auth/mod.rs", "use super::State;", 0),
            ("src/machine/auth/check.rs", "use super::super::State;", 0),
            ("src/newcomer/mod.rs", "use crate::types::Revision;", 1),
        ] {
            assert_eq!(complaints(imports::check, path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn wire_types_and_openraft_stay_in_their_places() {
        for (path, text, expected) in [
            ("src/machine/txn.rs", "use crate::pb::etcdserverpb::TxnRequest;", 1),
            ("src/machine/codec.rs", "use crate::pb::record::Entry;", 0),
            ("src/machine/codec.rs", "use crate::{pb::record as pb, types::Term};", 0),
            ("src/machine/codec.rs", "use crate::{pb::peer, types::Term};", 1),
            ("src/raft/network.rs", "use crate::pb::peer::VoteRequest;", 0),
            ("src/raft/proposer.rs", "use crate::pb::etcdserverpb::PutRequest;", 1),
            ("src/raft/proposer.rs", "use crate::pb::{mvccpb, peer};", 1),
            ("src/service/watch.rs", "use crate::pb::{mvccpb, etcdserverpb};", 0),
            ("src/service/kv.rs", "use crate::pb::record::Entry;", 1),
            ("src/service/convert.rs", "use crate::pb::etcdserverpb::TxnRequest;", 0),
            ("src/raft/types.rs", "use openraft::Raft;", 0),
            ("src/node.rs", "use openraft::Raft;", 1),
            ("src/node.rs", "fn f() { openraft_rt::x() }", 1),
            ("src/main.rs", "use quorate::storage::engine;", 1),
            ("src/main.rs", "fn main() { quorate::cli::run() }", 0),
            ("src/node.rs", "use quorate_sim::world;", 1),
        ] {
            assert_eq!(complaints(imports::check, path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn judges_that_name_the_server_are_found() {
        let rule = imports::check_judge;
        assert_eq!(complaints(rule, "sim/check/src/lib.rs", "use quorate::machine::State;"), 1);
        assert_eq!(complaints(rule, "sim/check/src/lib.rs", "//! judges quorate::machine"), 0);
        assert_eq!(complaints(rule, "sim/check/Cargo.toml", "quorate = { path = \"../..\" }"), 1);
        assert_eq!(complaints(rule, "sim/check/Cargo.toml", "name = \"quorate-check\""), 0);
    }

    #[test]
    fn banned_calls_are_found() {
        for (path, text, expected) in [
            ("src/raft/mod.rs", "let t = Instant::now();", 1),
            ("src/env/real.rs", "let t = Instant::now();", 0),
            ("src/env/real/clock.rs", "let t = SystemTime::now();", 0),
            ("src/env/mod.rs", "let t = SystemTime::now();", 1),
            ("src/peer/mod.rs", "let x = rand::thread_rng();", 1),
            ("src/storage/mod.rs", "use std::fs::File;", 1),
            ("src/storage/mod.rs", "use std::{fs, io};", 1),
            ("src/storage/mod.rs", "use std::io;", 0),
            ("src/storage/mod.rs", "std::thread::spawn(f);", 1),
            ("src/machine/mvcc.rs", "use std::collections::HashMap;", 1),
            ("src/machine/mvcc.rs", "use std::collections::{BTreeMap, HashSet};", 1),
            ("src/service/kv.rs", "use std::collections::HashMap;", 0),
            ("src/service/kv.rs", "use tokio::sync::watch;", 1),
            ("src/service/kv.rs", "use tokio::sync::{mpsc, watch};", 1),
            ("src/service/kv.rs", "use tokio::sync::{mpsc, oneshot};", 0),
            ("src/service/kv.rs", "futures_util::select! { _ = a => {} }", 2),
            ("src/service/kv.rs", "tokio::select! { _ = a => {} }", 1),
            ("src/service/kv.rs", "tokio::select! {\n    biased;\n    _ = a => {}\n}", 0),
            (
                "src/service/kv.rs",
                "tokio::select! {\n    // first the stop\n    biased;\n    _ = a => {}\n}",
                0,
            ),
            ("src/raft/lease.rs", "tokio::time::sleep(a).await;", 1),
            ("sim/src/world/mod.rs", "let t = std::time::Instant::now();", 1),
            ("sim/src/sweep/mod.rs", "let t = Instant::now();", 0),
            ("sim/src/client/memory.rs", "use std::collections::HashMap;", 1),
            ("sim/check/src/judge.rs", "let t = SystemTime::now();", 1),
            ("src/service/kv.rs", "// Instant::now() is not for us", 0),
            ("src/service/kv.rs", "let s = \"Instant::now()\";", 0),
            ("src/service/kv.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }", 0),
        ] {
            assert_eq!(complaints(banned::check, path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn packages_that_leak_are_found_wherever_they_hide() {
        let shown = |text: &str| entropy::Tree::parse(text).check();
        assert!(shown("0quorate-sim v0.1.0\n1madsim v0.2.34\n2rand v0.8.8\n3getrandom v0.2.17\n").is_empty());
        assert!(shown("0quorate-sim v0.1.0\n1rand v0.10.3\n2getrandom v0.4.3\n").is_empty());
        let below = shown("0quorate-sim v0.1.0\n1quorate v0.1.0\n2tempo v1.0.0\n3getrandom v0.2.17\n");
        assert_eq!(below.len(), 1);
        assert!(below[0].ends_with("quorate 0.1.0 -> tempo 1.0.0 -> getrandom 0.2.17"), "{below:?}");
        // Shown whole below the runtime, and by name alone where somebody else uses it too.
        let shared =
            "0quorate-sim v0.1.0\n1madsim v0.2.34\n2ahash v0.8.12\n1quorate v0.1.0\n2ahash v0.8.12 (*)\n";
        assert_eq!(shown(shared).len(), 1);
        assert_eq!(shown("").len(), 1, "an empty tree proves nothing");
    }

    #[test]
    fn missing_headers_are_found() {
        assert_eq!(complaints(layout::check_header, "src/x.rs", "use std::io;\n"), 1);
        assert_eq!(complaints(layout::check_header, "src/x.rs", "// a plain comment\n"), 1);
        assert_eq!(complaints(layout::check_header, "src/x.rs", "//! What this is.\n"), 0);
    }

    #[test]
    fn size_counts_code_and_not_tests() {
        let code = "fn f() {}\n".repeat(701);
        assert_eq!(complaints(layout::check_size, "src/x.rs", &code), 1);
        let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(complaints(layout::check_size, "src/x.rs", &tested), 0);
        assert_eq!(complaints(layout::check_size, "src/x/tests.rs", &code), 0);
    }

    #[test]
    fn foreign_words_are_found() {
        for (text, expected) in [
            (concat!("see /ro", "ot/notes"), 1),
            (concat!("cd /ho", "me/someone/quorate"), 1),
            (concat!("fetched from static.cra", "tes.io"), 1),
            ("the data directory is default.etcd", 0),
            ("GET /v3/kv/range", 0),
        ] {
            assert_eq!(complaints(layout::check_words, "README.md", text), expected, "{text}");
        }
    }
}
