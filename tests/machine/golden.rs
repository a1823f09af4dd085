//! Transcripts: commands and what the machine says to them, reviewed as prose and compared literally.
//!
//! Each file in `tests/golden/` is a story. Lines that begin with `#` are its text, lines that begin with two
//! spaces are the machine's answers, all others are commands. `GOLDEN=rewrite cargo test --test machine`
//! writes the answers anew; read the difference before you commit it.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use quorate::machine::command::*;
use quorate::machine::downgrade::DowngradeChange;
use quorate::machine::effects::Event;
use quorate::types::{KeyRange, LeaseId, MemberId, Revision, TtlSecs};

use crate::store::Node;

#[test]
fn the_machine_tells_its_stories_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() >= 5, "the stories are there: {files:?}");
    let rewrite = std::env::var("GOLDEN").is_ok_and(|mode| mode == "rewrite");
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let told = tell(&written);
        if rewrite {
            std::fs::write(&file, &told).unwrap();
            continue;
        }
        assert!(told == written, "{} is now told so:\n{told}", file.display());
    }
    // A variable that is left over must not make whatever is told the truth.
    assert!(!rewrite, "the stories are rewritten; read them, and run again without GOLDEN");
}

fn tell(story: &str) -> String {
    let mut node = Node::default();
    let mut told = String::new();
    for line in story.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(told, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            perform(&mut node, line, &mut told);
        }
    }
    told
}

fn perform(node: &mut Node, line: &str, told: &mut String) {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["get", rest @ ..] => match node.state.range(&node.store, &get(rest)).unwrap() {
            Ok(reply) => write_reply(told, &Reply::Range(reply), 2),
            Err(refused) => writeln!(told, "  refused: {refused}").unwrap(),
        },
        ["sweep"] => {
            let before = node.store.0.len();
            while !node.sweep(10) {}
            writeln!(told, "  {} records deleted", before - node.store.0.len()).unwrap();
        }
        ["restart"] => {
            let loaded = node.store.load();
            assert_eq!(loaded.hash(), node.state.hash(), "a restart changes nothing");
            node.state = loaded;
        }
        ["size"] => writeln!(told, "  {} bytes", node.state.logical_size()).unwrap(),
        ["leases"] => {
            for (id, lease) in node.state.leases().iter() {
                let keys: Vec<_> = lease.keys().map(text).collect();
                let (left, ttl) = (lease.left().0, lease.ttl.0);
                writeln!(told, "  lease {}: {left} of {ttl} s, keys [{}]", id.0, keys.join(" ")).unwrap();
            }
        }
        ["prepared"] => {
            let target = node.state.downgrade().map_or("nothing".to_owned(), |target| target.to_string());
            writeln!(told, "  for {target}").unwrap();
        }
        ["alarms"] => {
            for (kind, member) in node.state.alarms().iter() {
                writeln!(told, "  {kind:?} of member {member}").unwrap();
            }
        }
        _ => {
            let (answer, events) = node.run(parse(line));
            match &answer.result {
                Ok(reply) => {
                    writeln!(told, "  revision {}", answer.revision).unwrap();
                    write_reply(told, reply, 2);
                }
                Err(refused) => writeln!(told, "  revision {}, refused: {refused}", answer.revision).unwrap(),
            }
            for event in events {
                match event {
                    Event::Put(kv) => writeln!(told, "  event put {}", key_value(&kv)).unwrap(),
                    Event::Delete { key, mod_revision } => {
                        writeln!(told, "  event delete {} at {mod_revision}", text(&key)).unwrap();
                    }
                }
            }
        }
    }
}

fn parse(line: &str) -> Command {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["txn", ..] => Command::Txn(txn(line.strip_prefix("txn ").unwrap())),
        ["compact", revision] => Command::Compact(Compact { revision: Revision(number(revision)) }),
        ["grant", id, ttl] => Command::LeaseGrant { id: LeaseId(number(id)), ttl: TtlSecs(number(ttl)) },
        ["revoke", id] => Command::LeaseRevoke { id: LeaseId(number(id)) },
        ["expire", ids @ ..] => {
            Command::LeaseExpire { ids: ids.iter().map(|id| LeaseId(number(id))).collect() }
        }
        ["checkpoint", id, left] => {
            Command::LeaseCheckpoint { remaining: vec![(LeaseId(number(id)), TtlSecs(number(left)))] }
        }
        ["downgrade", "cancel"] => Command::Downgrade(DowngradeChange::Cancel),
        ["downgrade", target] => Command::Downgrade(DowngradeChange::Enable(target.parse().unwrap())),
        ["alarm", action, kind, member] => Command::Alarm {
            raise: *action == "raise",
            member: MemberId(member.parse().unwrap()),
            kind: if *kind == "nospace" { AlarmKind::NoSpace } else { AlarmKind::Corrupt },
        },
        ["bootstrap", ids @ ..] => {
            let member = |id: &&str| Member { id: MemberId(id.parse().unwrap()), ..Member::default() };
            Command::Bootstrap { members: ids.iter().map(member).collect() }
        }
        ["member", change @ ..] => Command::ChangeMembers(member_change(change)),
        ["name", id, name] => Command::MemberAttributes {
            member: MemberId(id.parse().unwrap()),
            name: (*name).to_owned(),
            client_urls: Vec::new(),
        },
        _ => match op(line) {
            TxnOp::Put(put) => Command::Put(put),
            TxnOp::DeleteRange(delete) => Command::DeleteRange(delete),
            other => panic!("{other:?} is no command of its own"),
        },
    }
}

/// `add 7 URL [learner]`, `remove 7`, `update 7 URL`, `promote 7`, `replace 7 8 URL`.
fn member_change(words: &[&str]) -> MemberChange {
    let id = |text: &str| MemberId(text.parse().unwrap());
    match words {
        ["add", member, url, flags @ ..] => MemberChange::Add(Member {
            id: id(member),
            peer_urls: vec![(*url).to_owned()],
            is_learner: flags.contains(&"learner"),
            ..Member::default()
        }),
        ["remove", member] => MemberChange::Remove(id(member)),
        ["update", member, url] => {
            MemberChange::Update { member: id(member), peer_urls: vec![(*url).to_owned()] }
        }
        ["promote", member] => MemberChange::Promote(id(member)),
        ["replace", member, by, url] => {
            MemberChange::Replace { member: id(member), by: id(by), peer_urls: vec![(*url).to_owned()] }
        }
        _ => panic!("unknown change: {words:?}"),
    }
}

/// `txn if <compares> then <ops> else <ops>`, entries separated by `; `; any part may be empty.
fn txn(rest: &str) -> Txn {
    let rest = rest.strip_prefix("if").unwrap();
    let (compares, rest) = rest.split_once("then").unwrap();
    let (success, failure) = rest.split_once("else").unwrap();
    let parts = |part: &str| -> Vec<String> {
        part.split(';').map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect()
    };
    Txn {
        compares: parts(compares).iter().map(|entry| compare(entry)).collect(),
        success: parts(success).iter().map(|entry| op(entry)).collect(),
        failure: parts(failure).iter().map(|entry| op(entry)).collect(),
    }
}

/// `version a = 0`, `value a..d > x` and so on.
fn compare(entry: &str) -> Compare {
    let [target, keys, result, operand] = entry.split(' ').collect::<Vec<_>>()[..] else { panic!("{entry}") };
    Compare {
        range: key_range(keys),
        result: match result {
            "=" => CompareResult::Equal,
            ">" => CompareResult::Greater,
            "<" => CompareResult::Less,
            "!=" => CompareResult::NotEqual,
            _ => panic!("{entry}"),
        },
        target: match target {
            "version" => CompareTarget::Version(number(operand)),
            "create" => CompareTarget::Create(Revision(number(operand))),
            "mod" => CompareTarget::Mod(Revision(number(operand))),
            "lease" => CompareTarget::Lease(LeaseId(number(operand))),
            "value" => CompareTarget::Value(bytes(operand)),
            _ => panic!("{entry}"),
        },
    }
}

fn op(entry: &str) -> TxnOp {
    let words: Vec<&str> = entry.split(' ').collect();
    match words.as_slice() {
        ["put", key, value, flags @ ..] => TxnOp::Put(put(key, value, flags)),
        ["del", keys, flags @ ..] => {
            TxnOp::DeleteRange(DeleteRange { range: key_range(keys), prev_kv: flags.contains(&"prev") })
        }
        ["get", rest @ ..] => TxnOp::Range(get(rest)),
        _ => panic!("unknown command: {entry}"),
    }
}

fn put(key: &str, value: &str, flags: &[&str]) -> Put {
    let mut put = Put { key: bytes(key), value: bytes(value), ..Put::default() };
    for flag in flags {
        match flag.split_once('=') {
            Some(("lease", id)) => put.lease = LeaseId(number(id)),
            None if *flag == "prev" => put.prev_kv = true,
            None if *flag == "keep_value" => (put.ignore_value, put.value) = (true, Bytes::new()),
            None if *flag == "keep_lease" => put.ignore_lease = true,
            _ => panic!("unknown flag: {flag}"),
        }
    }
    put
}

fn get(words: &[&str]) -> Range {
    let mut range = Range::of(key_range(words[0]));
    range.keys_only = words.contains(&"keys");
    range.count_only = words.contains(&"count");
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        match (name, value) {
            ("limit", limit) => range.limit = number(limit),
            ("rev", revision) => range.revision = Revision(number(revision)),
            ("min_mod", revision) => range.min_mod_revision = Revision(number(revision)),
            ("max_create", revision) => range.max_create_revision = Revision(number(revision)),
            ("order", "up") => range.sort_order = SortOrder::Ascend,
            ("order", "down") => range.sort_order = SortOrder::Descend,
            ("by", "version") => range.sort_target = SortTarget::Version,
            ("by", "create") => range.sort_target = SortTarget::Create,
            ("by", "mod") => range.sort_target = SortTarget::Mod,
            ("by", "value") => range.sort_target = SortTarget::Value,
            _ => panic!("unknown option: {name}={value}"),
        }
    }
    range
}

/// `a` is one key, `a..c` ends before c, `a..` never.
fn key_range(keys: &str) -> KeyRange {
    match keys.split_once("..") {
        None => KeyRange::single(bytes(keys)),
        Some((start, "")) => KeyRange::from_wire(bytes(start), Bytes::from_static(b"\0")),
        Some((start, end)) => KeyRange::from_wire(bytes(start), bytes(end)),
    }
}

fn write_reply(told: &mut String, reply: &Reply, indent: usize) {
    let pad = " ".repeat(indent);
    match reply {
        Reply::Put { prev_kv: None } | Reply::Done => {}
        Reply::Put { prev_kv: Some(kv) } => writeln!(told, "{pad}before {}", key_value(kv)).unwrap(),
        Reply::DeleteRange { deleted, prev_kvs } => {
            writeln!(told, "{pad}deleted {deleted}").unwrap();
            prev_kvs.iter().for_each(|kv| writeln!(told, "{pad}before {}", key_value(kv)).unwrap());
        }
        Reply::Range(reply) => {
            let more = if reply.more { ", there are more" } else { "" };
            writeln!(told, "{pad}count {}{more}", reply.count).unwrap();
            reply.kvs.iter().for_each(|kv| writeln!(told, "{pad}{}", key_value(kv)).unwrap());
        }
        Reply::Txn(reply) => {
            let branch = if reply.succeeded { "then" } else { "else" };
            writeln!(told, "{pad}took {branch}").unwrap();
            for (revision, reply) in &reply.replies {
                writeln!(told, "{pad}- at {revision}").unwrap();
                write_reply(told, reply, indent + 2);
            }
        }
        Reply::LeaseGrant { id, ttl } => writeln!(told, "{pad}lease {} for {} s", id.0, ttl.0).unwrap(),
        Reply::LeaseRevoke { deleted } => writeln!(told, "{pad}deleted {deleted}").unwrap(),
        Reply::Token(token) => writeln!(told, "{pad}token {token}").unwrap(),
        Reply::Members(members) => {
            for member in members {
                let votes = if member.is_learner { ", a learner" } else { "" };
                let (name, urls) = (&member.name, member.peer_urls.join(" "));
                writeln!(told, "{pad}member {} '{name}' at {urls}{votes}", member.id).unwrap();
            }
        }
    }
}

fn key_value(kv: &KeyValue) -> String {
    let lease = if kv.lease.is_some() { format!(", lease {}", kv.lease.0) } else { String::new() };
    let (create, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
    format!(
        "{} = '{}' (create {create}, mod {modified}, version {version}{lease})",
        text(&kv.key),
        text(&kv.value)
    )
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
