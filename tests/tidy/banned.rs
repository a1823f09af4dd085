//! Calls that would make a run depend on something other than its seed.
//!
//! Product code reaches the world through `src/env` alone, and a simulated run reads nothing of its host.
//! Exceptions are folders, each with its reason.

use crate::source::Source;

/// The seam's real side: what it wraps, it must call.
const REAL: &str = "src/env/real";
/// Command-line programs: they run outside a member, in the plain build only.
const PROGRAMS: &str = "src/cli/";

/// What the consensus library asks of a runtime by type: tokio's instant and a generator that draws from the
/// operating system, both of which the simulation stands in for.
const RAFT_RUNTIME: &str = "src/raft/runtime.rs";

/// The simulator's own programs: they start runs (or the explorer of the models) as processes, measure them, and read
/// their arguments. Nothing of that is inside a run.
const AROUND_RUNS: &[&str] = &[
    "sim/src/progress.rs",
    "sim/src/sweep/",
    "sim/src/run.rs",
    "sim/src/obey.rs",
    "sim/src/main.rs",
    "sim/src/explore.rs",
    "sim/src/diff/command.rs",
    "sim/src/failure.rs",
    "sim/src/shrink/",
    "sim/src/story/told.rs",
    "sim/src/plan/mod.rs",
];

struct Rule {
    /// What must not be named, spelled with single spaces or none.
    words: &'static [&'static str],
    /// Where the rule holds.
    within: &'static str,
    /// Folders and files where it does not.
    except: &'static [&'static str],
    /// What to do instead.
    instead: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["Instant::now", "SystemTime::now"],
        within: "src/",
        except: &[REAL, PROGRAMS, RAFT_RUNTIME],
        instead: "time comes from env::Clock",
    },
    Rule {
        words: &["thread_rng", "rand::rng", "rand::random", "OsRng", "getrandom", "fastrand"],
        within: "src/",
        except: &[REAL, RAFT_RUNTIME],
        instead: "randomness comes from env::Entropy",
    },
    Rule {
        words: &["std::fs", "tokio::fs"],
        within: "src/",
        except: &[REAL, PROGRAMS],
        instead: "files come from env::Disk",
    },
    Rule {
        words: &["std::thread", "tokio::process"],
        within: "src/",
        except: &[REAL, PROGRAMS],
        instead: "blocking work goes to env::Worker",
    },
    Rule {
        words: &["HashMap", "HashSet"],
        within: "src/machine/",
        except: &[],
        instead: "the machine iterates BTree collections only",
    },
    Rule {
        words: &["tokio::sync::watch", "StreamMap", "DashMap"],
        within: "src/",
        except: &[REAL, PROGRAMS],
        instead: "its order comes from process-wide state; use the deterministic one",
    },
    Rule {
        words: &["tokio::time"],
        within: "src/",
        except: &[REAL, PROGRAMS, RAFT_RUNTIME],
        instead: "sleep and time out on env::Clock, which the simulation can bend",
    },
    Rule {
        words: &["Instant::now", "SystemTime::now", "std::fs", "std::thread", "std::env"],
        within: "sim/",
        except: AROUND_RUNS,
        instead: "a run knows simulated time and its plan alone",
    },
    Rule {
        words: &["HashMap", "HashSet", "thread_rng", "rand::rng", "rand::random", "fastrand"],
        within: "sim/",
        except: &[],
        instead: "BTree collections, and draws from plan::dice",
    },
    Rule {
        words: &["futures::select!", "futures_util::select!"],
        within: "src/",
        except: &[],
        instead: "use tokio::select! with `biased;`",
    },
];

/// Complaints about a file of the product or the simulator.
pub fn check(file: &Source) -> Vec<String> {
    let code = flatten_groups(&file.code);
    let mut complaints = Vec::new();
    for rule in RULES {
        let exempt = rule.except.iter().any(|place| file.path.starts_with(place));
        if exempt || !file.path.starts_with(rule.within) {
            continue;
        }
        for word in rule.words {
            complaints.extend(
                find_words(&code, word).map(|line| format!("line {line}: `{word}`: {}", rule.instead)),
            );
        }
    }
    for (position, found) in file.code.match_indices("select!") {
        let rest = file.code.get(position + found.len()..).unwrap_or_default();
        let body = rest.trim_start().trim_start_matches(['{', '(']).trim_start();
        if !body.starts_with("biased;") {
            complaints.push(format!("line {}: select! without `biased;`", file.line(position)));
        }
    }
    complaints
}

/// The lines on which a word stands by itself.
fn find_words<'a>(lines: &'a [String], word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    lines.iter().enumerate().flat_map(move |(index, line)| {
        line.match_indices(word)
            .filter(move |(position, _)| {
                let (before, after) = line.split_at(*position);
                let after = after.get(word.len()..).unwrap_or_default();
                !before.ends_with(is_word) && !after.starts_with(is_word)
            })
            .map(move |_| index + 1)
    })
}

/// The code by lines, with one-level groups spelled out: `a::{b, c}` becomes `a::b a::c` on the group's first
/// line, so that a name cannot hide in braces.
fn flatten_groups(code: &str) -> Vec<String> {
    let mut lines: Vec<String> = code.lines().map(str::to_owned).collect();
    for (position, _) in code.match_indices("::{") {
        let (before, group) = code.split_at(position);
        let root: String = before
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let inside = group.get(3..).and_then(|inside| inside.split('}').next()).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count();
        if let Some(flat) = lines.get_mut(line) {
            for member in inside.split(',') {
                let head = member.trim().split([':', ' ', '{']).next().unwrap_or_default();
                // `HashMap` and the like are found by themselves; only paths of the form a::b need spelling.
                if RULES.iter().any(|rule| rule.words.contains(&format!("{root}::{head}").as_str())) {
                    flat.push_str(&format!(" {root}::{head}"));
                }
            }
        }
    }
    lines
}
