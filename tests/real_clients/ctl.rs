//! The real `etcdctl`, command by command, option by option, with what it must print.

use quorate_jepsen::program;
use serde_json::Value;

use crate::etcdctl::Etcdctl;

/// `etcdctl` on a new cluster; `None`, said loudly, without the program.
pub fn start() -> Option<(quorate_jepsen::cluster::Cluster, Etcdctl)> {
    let program = program::etcdctl()?;
    let cluster = crate::cluster();
    let ctl = Etcdctl::new(program, &cluster);
    Some((cluster, ctl))
}

/// A command's JSON output.
fn json(ctl: &Etcdctl, args: &[&str]) -> Value {
    let output = ctl.run(&[args, &["-w", "json"]].concat());
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{args:?}: {error}: {output}"))
}

/// The revision of the store.
fn revision(ctl: &Etcdctl) -> i64 {
    json(ctl, &["get", "no such key"])["header"]["revision"].as_i64().unwrap()
}

#[test]
fn keys_are_put_read_and_deleted_with_every_option() {
    let Some((_cluster, ctl)) = start() else { return };
    for (key, value) in [("a/1", "nine"), ("a/2", "eight"), ("a/3", "seven"), ("b/1", "six")] {
        ctl.prints(&["put", key, value], "OK\n");
    }
    assert_eq!(ctl.run_with(&["put", "a/4"], "from the input"), "OK\n");
    ctl.prints(&["put", "a/1", "ten", "--prev-kv"], "OK\na/1\nnine\n");
    ctl.prints(&["put", "a/1", "--ignore-value"], "OK\n");
    let now = revision(&ctl);
    assert_eq!(now, 8, "the empty store is at 1 and seven puts came");

    ctl.prints(&["get", "a/1"], "a/1\nten\n");
    ctl.prints(&["get", "nothing"], "");
    ctl.prints(&["get", "a/1", "--print-value-only"], "ten\n");
    ctl.prints(&["get", "a/", "--prefix"], "a/1\nten\na/2\neight\na/3\nseven\na/4\nfrom the input\n");
    ctl.prints(&["get", "a/4", "--from-key"], "a/4\nfrom the input\nb/1\nsix\n");
    ctl.prints(&["get", "a/2", "a/4"], "a/2\neight\na/3\nseven\n");
    ctl.prints(&["get", "a/", "--prefix", "--limit=2"], "a/1\nten\na/2\neight\n");
    ctl.prints(&["get", "a/", "--prefix", "--keys-only"], "a/1\n\na/2\n\na/3\n\na/4\n\n");
    ctl.prints(&["get", "a/", "--prefix", "--order=DESCEND", "--keys-only"], "a/4\n\na/3\n\na/2\n\na/1\n\n");
    for (by, order, want) in [
        ("KEY", "ASCEND", "a/1\n\na/2\n\n"),
        ("VALUE", "ASCEND", "a/2\n\na/4\n\n"),
        ("VERSION", "DESCEND", "a/1\n\na/2\n\n"),
        ("CREATE", "DESCEND", "a/4\n\na/3\n\n"),
        ("MODIFY", "ASCEND", "a/2\n\na/3\n\n"),
    ] {
        let (by, order) = (format!("--sort-by={by}"), format!("--order={order}"));
        let found = ctl.run(&["get", "a/", "--prefix", "--limit=2", "--keys-only", &by, &order]);
        assert_eq!(found, want, "{by} {order}");
    }
    ctl.prints(&["get", "a/1", "--rev=2"], "a/1\nnine\n");
    ctl.prints(&["get", "a/", "--prefix", "--rev=3", "--keys-only"], "a/1\n\na/2\n\n");
    ctl.fails(
        &["get", "a/1", "--rev=1000"],
        "Error: etcdserver: mvcc: required revision is a future revision",
    );
    ctl.fails(&["put", "", "x"], "Error: etcdserver: key is not provided");

    let counted = ctl.run(&["get", "a/", "--prefix", "--count-only", "--write-out=fields"]);
    assert!(counted.ends_with("\"More\" : false\n\"Count\" : 4\n") && !counted.contains("Key"), "{counted}");
    let found = json(&ctl, &["get", "a/1"]);
    let pair = &found["kvs"][0];
    // Keys and values are base64 in JSON.
    for (field, want) in [("key", Value::from("YS8x")), ("value", Value::from("dGVu"))] {
        assert_eq!(pair[field], want, "{found}");
    }
    for (field, want) in [("create_revision", 2), ("mod_revision", 8), ("version", 3)] {
        assert_eq!(pair[field], Value::from(want), "{found}");
    }
    assert_eq!(found["header"]["revision"], Value::from(now));

    // A member that answers from what it has may lag behind: it is asked after it answered a read of the cluster.
    for member in ctl.each() {
        member.prints(&["get", "a/1", "--consistency=l"], "a/1\nten\n");
        member.prints(&["get", "a/1", "--consistency=s"], "a/1\nten\n");
    }

    ctl.prints(&["del", "nothing"], "0\n");
    ctl.prints(&["del", "a/4", "--prev-kv"], "1\na/4\nfrom the input\n");
    ctl.prints(&["del", "a/2", "b"], "2\n");
    ctl.prints(&["del", "a/", "--prefix", "--prev-kv"], "1\na/1\nten\n");
    ctl.prints(&["del", "b", "--from-key"], "1\n");
    ctl.prints(&["get", "", "--prefix", "--keys-only"], "");
}

#[test]
fn transactions_are_read_from_the_input() {
    let Some((_cluster, ctl)) = start() else { return };
    ctl.prints(&["put", "k", "old"], "OK\n");
    let txn = "value(\"k\") = \"old\"\nversion(\"k\") > \"0\"\n\nput k new\nget k\n\nget k\n\n";
    assert_eq!(ctl.run_with(&["txn"], txn), "SUCCESS\n\nOK\n\nk\nnew\n", "the comparisons hold");
    assert_eq!(ctl.run_with(&["txn"], txn), "FAILURE\n\nk\nnew\n", "they hold no more");
    let create = "create(\"c\") = \"0\"\n\nput c 1\nput d 2\ndel k\n\n\n";
    assert_eq!(ctl.run_with(&["txn"], create), "SUCCESS\n\nOK\n\nOK\n\n1\n");
    assert_eq!(ctl.run_with(&["txn"], create), "FAILURE\n");
    assert_eq!(revision(&ctl), 4, "a transaction is one revision, one without a change is none");
    let twice = ctl.end(&["txn"], "\nput k 1\nput k 2\n\n\n");
    assert_eq!(twice.error, "Error: etcdserver: duplicate key given in txn request", "{twice:?}");
}

#[test]
fn watches_print_what_happens() {
    let Some((_cluster, ctl)) = start() else { return };
    ctl.prints(&["put", "w/a", "1"], "OK\n");
    ctl.prints(&["put", "w/a", "2"], "OK\n");
    ctl.prints(&["del", "w/a"], "1\n");
    ctl.prints(&["put", "x", "elsewhere"], "OK\n");
    let past = ctl.start(&["watch", "w/", "--prefix", "--rev=2", "--prev-kv"]);
    past.prints(&["PUT", "w/a", "1", "PUT", "w/a", "1", "w/a", "2", "DELETE", "w/a", "2", "w/a", ""]);
    let key = ctl.start(&["watch", "w/a", "--rev=3"]);
    key.prints(&["PUT", "w/a", "2", "DELETE", "w/a", ""]);
    // Both have shown the past, so both are there to see the future.
    ctl.prints(&["put", "w/b", "3"], "OK\n");
    ctl.prints(&["put", "w/a", "4"], "OK\n");
    past.prints(&["PUT", "w/b", "3", "PUT", "w/a", "4"]);
    key.prints(&["PUT", "w/a", "4"]);
    let range = ctl.start(&["watch", "w/a", "w/b", "--rev=5"]);
    range.prints(&["PUT", "w/a", "4"]);
}

#[test]
fn leases_are_granted_kept_listed_and_revoked() {
    let Some((_cluster, ctl)) = start() else { return };
    let granted = ctl.run(&["lease", "grant", "60"]);
    let words: Vec<&str> = granted.split_whitespace().collect();
    let ["lease", id, "granted", "with", "TTL(60s)"] = words[..] else { panic!("{granted}") };
    let lease = format!("--lease={id}");
    ctl.prints(&["put", "l/1", "x", &lease], "OK\n");
    ctl.prints(&["put", "l/2", "y", &lease], "OK\n");
    ctl.prints(&["put", "l/2", "z", "--ignore-lease"], "OK\n");
    ctl.prints(&["lease", "keep-alive", "--once", id], &format!("lease {id} keepalived with TTL(60)\n"));
    ctl.prints(&["lease", "list"], &format!("found 1 leases\n{id}\n"));
    let left = ctl.run(&["lease", "timetolive", id, "--keys"]);
    let begins = format!("lease {id} granted with TTL(60s), remaining(");
    assert!(left.starts_with(&begins) && left.ends_with("s), attached keys([l/1 l/2])\n"), "{left}");
    let seconds: i64 = left[begins.len()..].split('s').next().unwrap().parse().unwrap();
    assert!((30..=60).contains(&seconds), "{left}");
    ctl.prints(&["lease", "revoke", id], &format!("lease {id} revoked\n"));
    ctl.prints(&["get", "l/", "--prefix"], "");
    ctl.prints(&["lease", "timetolive", id], &format!("lease {id} already expired\n"));
    ctl.prints(&["lease", "list"], "found 0 leases\n");
    ctl.fails(
        &["lease", "revoke", id],
        "Error: failed to revoke lease (etcdserver: requested lease not found)",
    );
    ctl.fails(&["put", "l/3", "x", &lease], "Error: etcdserver: requested lease not found");
}

#[test]
fn what_is_compacted_is_gone() {
    let Some((_cluster, ctl)) = start() else { return };
    for value in ["1", "2", "3"] {
        ctl.prints(&["put", "c", value], "OK\n");
    }
    ctl.prints(&["compaction", "3", "--physical"], "compacted revision 3\n");
    ctl.prints(&["get", "c", "--rev=3"], "c\n2\n");
    ctl.prints(&["get", "c"], "c\n3\n");
    let compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    ctl.fails(&["get", "c", "--rev=2"], compacted);
    ctl.fails(&["compaction", "2"], compacted);
    ctl.fails(&["compaction", "100"], "Error: etcdserver: mvcc: required revision is a future revision");
    let watch = ctl.end(&["watch", "c", "--rev=2"], "");
    assert_ne!(watch.code, Some(0), "a watch cannot start in what is gone: {watch:?}");
    assert!(watch.errors.contains("required revision has been compacted"), "it says why: {watch:?}");
}

#[test]
fn members_and_their_health_are_shown() {
    let Some((cluster, ctl)) = start() else { return };
    ctl.prints(&["put", "k", "v"], "OK\n");
    let list = ctl.run(&["member", "list"]);
    let mut lines: Vec<Vec<String>> =
        list.lines().map(|line| line.split(", ").map(str::to_owned).collect()).collect();
    lines.sort_by(|one, other| one[2].cmp(&other[2]));
    assert_eq!(lines.len(), 3, "{list}");
    for (line, member) in lines.iter().zip(cluster.members()) {
        let want = ["started", &member.name, &member.peer_url(), &member.client_url(), "false"];
        assert_eq!(line[1..], want, "{list}");
    }

    let status = json(&ctl, &["endpoint", "status", "--cluster"]);
    let status = status.as_array().unwrap();
    assert_eq!(status.len(), 3, "{status:?}");
    let leaders: Vec<&Value> = status.iter().map(|one| &one["Status"]["leader"]).collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0]), "{status:?}");
    let ids: Vec<&Value> = status.iter().map(|one| &one["Status"]["header"]["member_id"]).collect();
    assert!(ids.contains(&leaders[0]), "{status:?}");

    let health = json(&ctl, &["endpoint", "health", "--cluster"]);
    let health = health.as_array().unwrap();
    assert_eq!(health.len(), 3, "{health:?}");
    assert!(health.iter().all(|one| one["health"] == true), "{health:?}");

    // A member that lags hashes less; a linearizable read through each brings all to the last put.
    for member in ctl.each() {
        member.prints(&["get", "k"], "k\nv\n");
    }
    let hashes = json(&ctl, &["endpoint", "hashkv", "--cluster"]);
    let hashes = hashes.as_array().unwrap();
    assert_eq!(hashes.len(), 3, "{hashes:?}");
    let hash = |one: &Value| one["HashKV"]["hash"].as_u64();
    assert!(hash(&hashes[0]).is_some_and(|hash| hash != 0), "{hashes:?}");
    assert!(hashes.iter().all(|one| hash(one) == hash(&hashes[0])), "{hashes:?}");
}
