//! The table as a page.

use std::fmt::Write;

use super::claims::Claim;
use super::rows::Row;

const HEAD: &str = "# What is tested of the API

Every call, field and value of the client API, and the tests that show it. Names are those of `proto/etcd`; a test is named
by its file below `tests` and its function. Most stand in `tests/conformance` and run against any server with the
reference's flags (`QUORATE_SERVER=/path/to/etcd cargo test --test conformance`). etcd 3.5.1 passes them, but for two whose
calls it leaves unanswered (`a_member_is_removed_for_good`, `only_a_learner_that_keeps_up_is_promoted`); what it is too old
for is skipped.

This page is made from the comments of the tests, and a test holds it to them: a call or field that no test shows fails
it. `QUORATE_WRITE_TABLE=1 cargo test --test conformance table` writes it anew.
";

/// The page, whole.
pub fn page(rows: &[Row], claims: &[Claim]) -> String {
    let shown = super::by_row(claims);
    let mut page = HEAD.to_owned();
    let mut owner = "";
    for row in rows {
        if row.owner != owner {
            owner = &row.owner;
            write!(page, "\n## {owner}\n\n| what | tests |\n|---|---|\n").unwrap();
        }
        let tests = shown.get(row.name.as_str()).into_iter().flatten();
        let tests: Vec<String> = tests.map(|claim| format!("`{}`", claim.test)).collect();
        let part = row.name.trim_start_matches(owner).trim_start_matches(['/', '.']);
        writeln!(page, "| {part} | {} |", tests.join(", ")).unwrap();
    }
    page
}
