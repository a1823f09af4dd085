//! Every call of the client API and everything that goes over the wire with it, against a server in a process of its own.
//!
//! One file a service. A test says in its comment which calls, fields and values it shows; `table` holds docs/conformance.md
//! to that and fails where something of the API is shown by nobody. `QUORATE_SERVER` names another server to put under it,
//! such as the reference itself; what that is too old for is said to be skipped.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

mod auth;
mod cluster;
mod election;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod server;
mod table;
mod watch;

use std::path::Path;

#[test]
fn the_table_names_a_test_for_every_call_and_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (rows, claims) = (table::rows::rows(), table::claims::claims(&root.join("tests")));
    assert!(rows.len() > 300, "the API has more to it: {} rows", rows.len());
    let complaints = table::complaints(&rows, &claims);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));

    let (path, page) = (root.join("docs/conformance.md"), table::page::page(&rows, &claims));
    if std::env::var_os("QUORATE_WRITE_TABLE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/conformance.md is not what the tests say: QUORATE_WRITE_TABLE=1 writes it anew"
    );
}

#[test]
fn the_table_sees_what_is_missing_unknown_or_hollow() {
    let rows: Vec<_> = table::rows::rows().into_iter().filter(|row| row.owner.starts_with("Lock")).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let all = [
        "Lock/Lock",
        "Lock/Unlock",
        "LockRequest.name",
        "LockRequest.lease",
        "LockResponse.header",
        "LockResponse.key",
    ];
    assert_eq!(names, all);
    let test =
        |comment: &str, body: &str| format!("{comment}\n#[tokio::test]\nasync fn a_test() {{ {body} }}\n");
    let complaints = |text: &str| table::complaints(&rows, &table::claims::claims_of("some/file", text));
    let whole = "/// Says more.\n///\n/// Covers Lock/Lock, Lock/Unlock; LockRequest: name, lease;\n/// LockResponse: header, key.";
    let words = "lock unlock name lease header key";
    assert_eq!(complaints(&test(whole, words)), [""; 0]);
    assert_eq!(
        complaints(&test(&whole.replace(", key.", "."), words)),
        ["LockResponse.key: no test shows it"]
    );
    assert_eq!(
        complaints(&test(&whole.replace("lease;", "lease, leese;"), words)),
        ["some/file::a_test: LockRequest.leese is not in the API"]
    );
    assert_eq!(
        complaints(&test(whole, "lock unlock name leases header key // lease")),
        ["some/file::a_test: its file never says lease, for LockRequest.lease"]
    );
}
