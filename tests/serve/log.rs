//! A member's log as lines of JSON: beside the running member and after it; what is asked for alone; nothing changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Ended, Program, free_ports};
use crate::{READY, ctl, parsed, start_alone};

fn dump(dir: &Path, more: &[&str]) -> Ended {
    Program::start(dir, &[&["util", "log", "dump", "--data-dir", "default.etcd"], more].concat()).end()
}

/// The lines of one kind.
fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// Every file of a folder, with what it holds.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn the_log_of_a_member_is_told_while_it_runs_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ports = free_ports(2);
    let mut member = start_alone(dir, &ports, &[]);
    member.wait_for(READY);
    let ctl = |args: &[&str]| ctl(dir, ports[0], args);
    ctl(&["put", "first", "one"]);
    let granted = ctl(&["lease", "grant", "500"]);
    let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
    ctl(&["put", "leased", "two", &format!("--lease={lease}"), "--prev-kv"]);
    ctl(&["del", "f", "--prefix"]);
    ctl(&["compaction", "2"]);
    let live = dump(dir, &[]);
    let live: Vec<Value> = live.printed().lines().map(parsed).collect();

    member.signal("TERM");
    assert!(member.end().status.success());
    let before = files(&dir.join("default.etcd/wal"));
    let after = dump(dir, &[]);
    let lines: Vec<Value> = after.printed().lines().map(parsed).collect();
    assert_eq!(files(&dir.join("default.etcd/wal")), before, "nothing was changed");
    assert_eq!(
        lines[..live.len()].iter().map(|line| &line["index"]).collect::<Vec<_>>(),
        live.iter().map(|line| &line["index"]).collect::<Vec<_>>()
    );

    let indexes: Vec<u64> = lines.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert!(indexes.is_sorted() && indexes[0] == 0, "{indexes:?}");
    assert_eq!(lines[0]["kind"], "membership");
    assert_eq!(lines[0]["voters"][0][0], lines[0]["members"][0]["id"]);
    let puts = of_kind(&lines, "put");
    let shown = |put: &Value| {
        (put["key"].clone(), put["value"].clone(), put["lease"].clone(), put["prev_kv"].clone())
    };
    let lease = i64::from_str_radix(&lease, 16).unwrap();
    assert_eq!(
        puts.iter().map(|put| shown(put)).collect::<Vec<_>>(),
        [
            (json!("Zmlyc3Q="), json!("b25l"), Value::Null, Value::Null),
            (json!("bGVhc2Vk"), json!("dHdv"), json!(lease), json!(true)),
        ]
    );
    let delete = of_kind(&lines, "delete_range")[0];
    assert_eq!((&delete["key"], &delete["range_end"]), (&json!("Zg=="), &json!("Zw==")));
    assert_eq!(of_kind(&lines, "lease_grant")[0]["ttl"], 500);
    assert_eq!(of_kind(&lines, "compact")[0]["revision"], 2);
    for put in &puts {
        assert_eq!((&put["caller"], &put["committed"]), (&json!("anonymous"), &json!(true)));
        assert!(put["term"].as_u64().unwrap() > 0 && put["sequence"].as_u64().unwrap() > 0, "{put}");
    }
    let told = after.stderr.join("\n");
    assert!(told.starts_with("log of member ") && told.contains("vote of term"), "{told}");

    // A part of it.
    let (from, to) = (puts[0]["index"].as_u64().unwrap(), puts[1]["index"].as_u64().unwrap());
    let part = dump(dir, &["--from-index", &from.to_string(), "--to-index", &to.to_string()]);
    let part: Vec<u64> = part.printed().lines().map(|line| parsed(line)["index"].as_u64().unwrap()).collect();
    assert_eq!(part, indexes.iter().copied().filter(|index| (from..=to).contains(index)).collect::<Vec<_>>());
}

#[test]
fn a_log_that_is_not_there_or_damaged_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ports = free_ports(2);
    let mut member = start_alone(dir, &ports, &[]);
    member.wait_for(READY);
    for value in ["1", "2", "3"] {
        ctl(dir, ports[0], &["put", "k", value]);
    }
    member.signal("KILL");
    member.end();
    let wal = dir.join("default.etcd/wal");
    let segment = files(&wal).into_keys().rfind(|name| name.ends_with(".wal")).unwrap();
    let mut bytes = std::fs::read(wal.join(&segment)).unwrap();
    // Behind the checkpoint and the seal stands the first batch of records: everything later vouches for it.
    let place = 12_288 + 2 * 4_096 + 90;
    bytes[place] ^= 1;
    std::fs::write(wal.join(&segment), &bytes).unwrap();
    let damaged = dump(dir, &[]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(damaged.only_line().contains("is corrupt at offset"), "{}", damaged.only_line());
    for (args, code, want) in [
        (&["util", "log", "dump"][..], 128, "Error: log dump needs --data-dir"),
        (&["util", "log", "dump", "x"], 128, "Error: log dump takes no arguments"),
        (&["util", "log", "dump", "--data-dir", "nowhere"], 1, "Error: nowhere/wal: there is no log"),
        (
            &["util", "log", "dump", "--data-dir", "default.etcd", "--from-index", "5", "--to-index", "4"],
            128,
            "Error: --from-index is behind --to-index",
        ),
    ] {
        let ended = Program::start(dir, args).end();
        assert_eq!(ended.status.code(), Some(code), "{args:?}");
        assert!(ended.only_line().starts_with(want), "{args:?}: {}", ended.only_line());
        assert!(ended.stdout.is_empty());
    }
}
