//! Moving in: images and data directories of a real `etcd` become ours, and ours go there and come back; the same content at
//! every revision. What is no image, or a damaged one, is refused in a line and leaves nothing.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::ctl::start;
use crate::etcdctl::Etcdctl;
use crate::image::{Restored, answer, content, fill, printed, quorate, refusal};
use crate::single::{Single, client};

const ROOT: &str = "--user=root:secret of root";
const ALICE: &str = "--user=alice:secret of alice";

/// Our own restore, for a cluster of `server` alone.
fn restore(folder: &Path, from: &str, server: &Single, more: &[&str]) -> Output {
    let (data, cluster) = (server.data.to_str().unwrap(), server.cluster());
    let words = ["util", "snapshot", "restore", from, "--data-dir", data, "--initial-cluster", &cluster];
    let peer = ["--initial-advertise-peer-urls", &server.peer];
    quorate(folder, &[&words[..], &peer, more].concat())
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Users, roles and permissions; nobody is asked yet.
fn add_users(ctl: &Etcdctl) {
    for command in [
        &["user", "add", "root:secret of root"][..],
        &["user", "add", "alice:secret of alice"],
        &["user", "add", "bob", "--no-password"],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "keys"],
        &["role", "grant-permission", "keys", "readwrite", "key", "--prefix"],
        &["role", "grant-permission", "keys", "read", "a", "c"],
        &["user", "grant-role", "alice", "keys"],
    ] {
        ctl.run(command);
    }
}

/// What both say of users, roles and leases.
fn same_beside_keys(ours: &Etcdctl, theirs: &Etcdctl, user: &[&str]) {
    for command in ["user list", "user get alice", "user get bob", "role list", "role get keys", "lease list"]
    {
        let command = [&words(command)[..], user].concat();
        assert_eq!(ours.run(&command), theirs.run(&command), "{command:?}");
    }
    let lease = theirs.run(&[&["lease", "list"], user].concat()).lines().nth(1).unwrap().to_owned();
    let life = |ctl: &Etcdctl| {
        let life = answer(ctl, &[&["lease", "timetolive", &lease, "--keys"], user].concat());
        (life["granted-ttl"].clone(), life["keys"].clone())
    };
    assert_eq!(life(ours), life(theirs));
    assert_eq!(life(ours).0, json!(4000));
    let revision = |ctl: &Etcdctl| answer(ctl, &[&["auth", "status"], user].concat())["authRevision"].clone();
    assert_eq!(revision(ours), revision(theirs));
}

fn same_at_every_revision(ours: &Etcdctl, theirs: &Etcdctl, compacted: i64, now: i64) {
    for revision in compacted..=now {
        assert_eq!(content(ours, revision), content(theirs, revision), "as of revision {revision}");
    }
    let before = format!("--rev={}", compacted - 1);
    let gone = "Error: etcdserver: mvcc: required revision has been compacted";
    ours.fails(&["get", "", "--prefix", &before], gone);
    assert_eq!(answer(ours, &["get", "nothing"])["header"]["revision"], json!(now));
}

#[test]
fn an_image_of_etcds_is_served_with_all_that_it_held() {
    let Some(ctl) = client() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(mut etcd) = Single::reference(&ctl, &folder.join("etcd")) else { return };
    etcd.start(&[]);
    let (now, compacted) = fill(&etcd.ctl);
    add_users(&etcd.ctl);
    let image = folder.join("theirs.db");
    let image = image.to_str().unwrap();
    etcd.ctl.run(&["snapshot", "save", image]);
    let mut ours = Single::ours(&ctl, &folder.join("ours"));
    let said = printed(&restore(folder, image, &ours, &["-w", "json"]));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["revision"], &said["compactRevision"]), (&json!(now), &json!(compacted)), "{said}");
    ours.start(&[]);
    same_at_every_revision(&ours.ctl, &etcd.ctl, compacted, now);
    same_beside_keys(&ours.ctl, &etcd.ctl, &[]);
    // It lives on where it was taken away, and passwords are known.
    ours.ctl.run(&["auth", "enable"]);
    ours.ctl.prints(&["put", "key0001", "after", ALICE], "OK\n");
    ours.ctl.fails(&["put", "other", "x", ALICE], "Error: etcdserver: permission denied");
    let after = answer(&ours.ctl, &["get", "key0001", ROOT]);
    assert_eq!(
        (&after["header"]["revision"], &after["kvs"][0]["version"]),
        (&json!(now + 1), &json!(2)),
        "{after}"
    );
    // What is compacted and swept after that is no other history than theirs.
    ours.ctl.run(&["compact", &(now - 2).to_string(), "--physical", ROOT]);
    ours.ctl.prints(&["get", "leased", ROOT], "leased\nx\n");
    ours.kill();
    ours.start(&[]);
    ours.ctl.prints(&["get", "key0001", ROOT], "key0001\nafter\n");
}

#[test]
fn ours_goes_to_etcd_and_comes_back_the_same() {
    let Some((_cluster, ctl)) = start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (now, compacted) = fill(&ctl);
    let image = folder.join("ours.db");
    let image = image.to_str().unwrap();
    let member = ctl.at(ctl.endpoints[0].clone());
    answer(&member, &["get", "nothing"]);
    member.run(&["snapshot", "save", image]);
    let etcd = Restored::from(image, folder, &ctl);
    let back = folder.join("back.db");
    let back = back.to_str().unwrap();
    etcd.ctl.run(&["snapshot", "save", back]);
    let mut hashes = Vec::new();
    for (name, image) in [("straight", image), ("round", back)] {
        let mut again = Single::ours(&ctl, &folder.join(name));
        let said = printed(&restore(folder, image, &again, &["-w", "json"]));
        again.start(&[]);
        same_at_every_revision(&again.ctl, &ctl, compacted, now);
        let hash = answer(&again.ctl, &["endpoint", "hashkv"])[0]["HashKV"]["hash"].clone();
        hashes.push((serde_json::from_str::<Value>(&said).unwrap()["totalKey"].clone(), hash));
    }
    assert_eq!(hashes[0], hashes[1], "keys, places, revisions, versions, values and leases");
    assert!(hashes[0].1.as_u64().is_some_and(|hash| hash != 0), "{hashes:?}");
}

#[test]
fn a_raised_revision_is_never_seen_to_go_back() {
    let Some((_cluster, ctl)) = start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let member = ctl.at(ctl.endpoints[0].clone());
    for value in ["1", "2", "3"] {
        member.run(&["put", "a", value]);
    }
    member.run(&["snapshot", "save", folder.join("image.db").to_str().unwrap()]);
    // What nobody will know of any more.
    for value in ["4", "5"] {
        member.run(&["put", "a", value]);
    }
    let lost = answer(&member, &["get", "a"])["header"]["revision"].as_i64().unwrap();
    let mut ours = Single::ours(&ctl, &folder.join("ours"));
    let bump = ["--bump-revision", "100", "--mark-compacted"];
    printed(&restore(folder, "image.db", &ours, &bump));
    ours.start(&[]);
    let found = answer(&ours.ctl, &["get", "a"]);
    assert_eq!(found["header"]["revision"], json!(lost - 2 + 100));
    assert_eq!(found["kvs"][0]["value"], json!("Mw=="));
    let compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    ours.ctl.fails(&["get", "a", &format!("--rev={lost}")], compacted);
    let watch = ours.ctl.end(&["watch", "a", &format!("--rev={}", lost + 1)], "");
    assert!(watch.errors.contains("required revision has been compacted"), "{watch:?}");
    ours.ctl.run(&["put", "a", "6"]);
    // Away once more: an image of it says the same.
    ours.ctl.run(&["snapshot", "save", folder.join("again.db").to_str().unwrap()]);
    let again = Single::ours(&ctl, &folder.join("again"));
    let said = printed(&restore(folder, "again.db", &again, &["-w", "json"]));
    let said: Value = serde_json::from_str(&said).unwrap();
    let (revision, compacted) = (lost - 2 + 101, lost - 2 + 100);
    assert_eq!(
        (&said["revision"], &said["compactRevision"]),
        (&json!(revision), &json!(compacted)),
        "{said}"
    );
}

/// Keeps the reference from writing its state: whatever it acknowledges stands in its log alone.
const LAZY: [&str; 4] = ["--backend-batch-interval", "1h", "--backend-batch-limit", "1000000"];

/// How many entries of the log were carried out.
fn carried_out(restored: &Output) -> usize {
    printed(restored);
    let told = String::from_utf8_lossy(&restored.stderr).into_owned();
    words(&told)[0].parse().unwrap()
}

#[test]
fn a_killed_etcds_directory_is_taken_over_with_what_its_log_alone_holds() {
    let Some(ctl) = client() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(mut etcd) = Single::reference(&ctl, &folder.join("etcd")) else { return };
    etcd.start(&LAZY);
    // With its compaction the state is written; what follows stands in the log.
    let (_, compacted) = fill(&etcd.ctl);
    for key in 20..50 {
        etcd.ctl.run(&["put", &format!("key00{key}"), "again"]);
    }
    let granted = etcd.ctl.run(&["lease", "grant", "1000"]);
    let lease = words(&granted)[1].to_owned();
    etcd.ctl.run(&["put", "doomed", "x", &format!("--lease={lease}")]);
    etcd.ctl.run(&["lease", "revoke", &lease]);
    etcd.ctl.run_with(&["txn"], "value(\"key0001\") = \"no\"\n\nput c 1\n\nput c 2\ndel key0100 key0103\n\n");
    add_users(&etcd.ctl);
    etcd.ctl.run(&["put", "the last", "1"]);
    let from = etcd.data.to_str().unwrap().to_owned();
    let mut ours = Single::ours(&ctl, &folder.join("ours"));
    let (code, line) = refusal(&restore(folder, &from, &ours, &["--from-data-dir"]));
    assert_eq!(code, Some(1), "{line}");
    assert!(line.ends_with("an etcd runs on it: stop it first, or take a snapshot of it"), "{line}");
    etcd.kill();
    let carried = carried_out(&restore(folder, &from, &ours, &["--from-data-dir"]));
    assert!(carried > 40, "{carried}");
    ours.start(&[]);
    // It starts on the same files, and does as we did.
    etcd.start(&LAZY);
    let now = answer(&etcd.ctl, &["get", "nothing"])["header"]["revision"].as_i64().unwrap();
    same_at_every_revision(&ours.ctl, &etcd.ctl, compacted, now);
    same_beside_keys(&ours.ctl, &etcd.ctl, &[]);
    ours.ctl.prints(&["get", "doomed"], "");
    ours.ctl.prints(&["get", "the last"], "the last\n1\n");
    ours.kill();

    // Now everybody is asked, which is written; what users do then is in the log.
    etcd.ctl.run(&["auth", "enable"]);
    etcd.ctl.prints(&["put", "key0002", "alice's", ALICE], "OK\n");
    etcd.ctl.fails(&["put", "other", "x", ALICE], "Error: etcdserver: permission denied");
    etcd.ctl.run(&["role", "add", "another", ROOT]);
    etcd.ctl.run(&["user", "grant-role", "bob", "another", ROOT]);
    etcd.ctl.run(&["role", "revoke-permission", "keys", "a", "c", ROOT]);
    etcd.ctl.run(&["put", "the last", "2", ROOT]);
    etcd.kill();
    let mut guarded = Single::ours(&ctl, &folder.join("guarded"));
    let carried = carried_out(&restore(folder, &from, &guarded, &["--from-data-dir"]));
    assert!(carried >= 5, "{carried}");
    guarded.start(&[]);
    etcd.start(&LAZY);
    same_beside_keys(&guarded.ctl, &etcd.ctl, &[ROOT]);
    for command in
        [&["get", "", "--prefix", ROOT][..], &["role", "get", "keys", ROOT], &["role", "list", ROOT]]
    {
        assert_eq!(guarded.ctl.run(command), etcd.ctl.run(command), "{command:?}");
    }
    guarded.ctl.prints(&["get", "key0002", "--print-value-only", ALICE], "alice's\n");
    guarded.ctl.fails(&["get", "the last"], "Error: etcdserver: user name is empty");
}

#[test]
fn a_directory_whose_log_is_damaged_is_not_taken_over() {
    let Some(ctl) = client() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(mut etcd) = Single::reference(&ctl, &folder.join("etcd")) else { return };
    etcd.start(&LAZY);
    for key in 0..20 {
        etcd.ctl.run(&["put", &format!("key{key}"), "value that stands in the log"]);
    }
    etcd.kill();
    let wal = std::fs::read_dir(etcd.data.join("member/wal")).unwrap();
    let wal =
        wal.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|ext| ext == "wal"));
    let wal = wal.unwrap();
    let sound = std::fs::read(&wal).unwrap();
    let ours = Single::ours(&ctl, &folder.join("ours"));
    let from = etcd.data.to_str().unwrap().to_owned();
    let place = sound.windows(4).position(|bytes| bytes == b"key9").unwrap();
    let mut damaged = sound.clone();
    damaged[place] ^= 1;
    std::fs::write(&wal, &damaged).unwrap();
    let (code, line) = refusal(&restore(folder, &from, &ours, &["--from-data-dir"]));
    assert_eq!(code, Some(1), "{line}");
    assert!(
        line.contains("damaged at offset") && line.contains("its checksum is wrong: take an image"),
        "{line}"
    );
    assert!(!ours.data.exists(), "nothing is left of it");
    // The last write, cut off by the end of the file: it was never acknowledged.
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&wal, &sound[..used - 5]).unwrap();
    let cut = restore(folder, &from, &ours, &["--from-data-dir"]);
    printed(&cut);
    let told = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(told.contains("its log ends in a write that was torn"), "{told}");
    let without = Single::ours(&ctl, &folder.join("without"));
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let (_, line) = refusal(&restore(folder, elsewhere.to_str().unwrap(), &without, &["--from-data-dir"]));
    assert!(line.ends_with("it is no data directory of etcd's: it has no member/snap/db"), "{line}");
}

#[test]
fn what_cannot_be_restored_is_refused_in_a_line_and_leaves_nothing() {
    let Some((_cluster, ctl)) = start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let member = ctl.at(ctl.endpoints[0].clone());
    member.run(&["put", "a", "1"]);
    member.run(&["snapshot", "save", folder.join("sound.db").to_str().unwrap()]);
    let sound = std::fs::read(folder.join("sound.db")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("short.db", b"short");
    write("cut.db", &sound[..sound.len() - 4096]);
    write("copied.db", &sound[..sound.len() - 32]);
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 4;
    write("flipped.db", &flipped);
    write("other.db", &[b"not a store at all".repeat(1000).as_slice(), &[0; 14]].concat());
    std::fs::create_dir_all(folder.join("full/x")).unwrap();
    std::fs::create_dir_all(folder.join("begun/restoring")).unwrap();
    let missing = "Error: snapshot missing hash but --skip-hash-check=false";
    for (args, code, want) in [
        (&[][..], 128, "Error: snapshot restore requires exactly one argument"),
        (&["a", "b"], 128, "Error: snapshot restore requires exactly one argument"),
        (&["absent.db"], 1, "Error: absent.db: No such file"),
        (&["short.db"], 1, missing),
        (&["cut.db"], 1, "Error: expected sha256 "),
        (&["copied.db"], 1, missing),
        (&["flipped.db"], 1, "Error: expected sha256 "),
        (&["short.db", "--skip-hash-check"], 1, "Error: short.db: it is no bbolt file"),
        (&["other.db", "--skip-hash-check"], 1, "Error: other.db: it is no bbolt file"),
        (&["cut.db", "--skip-hash-check"], 1, "Error: cut.db: page "),
        (&["sound.db", "--data-dir", "full"], 1, "Error: data-dir \"full\" not empty or could not be read"),
        (&["sound.db", "--data-dir", "begun"], 1, "Error: data-dir \"begun\" is being restored into"),
        (&["sound.db", "--wal-dir", "w"], 4, "Error: --wal-dir is not supported yet"),
        (
            &["sound.db", "--bump-revision", "5"],
            128,
            "Error: --mark-compacted required if --bump-revision > 0",
        ),
        (&["sound.db", "--mark-compacted"], 128, "Error: --mark-compacted required if --bump-revision > 0"),
        (&["sound.db", "--name", "b"], 1, "Error: couldn't find local name \"b\" in the initial cluster"),
        (&["sound.db", "--initial-cluster", "a"], 1, "Error: invalid value \"a\" for --initial-cluster"),
        (
            &["sound.db", "--initial-advertise-peer-urls", "http://127.0.0.1:1"],
            1,
            "Error: --initial-cluster has default=",
        ),
        (
            &["sound.db", "--bump-revision", "9223372036854775807", "--mark-compacted"],
            1,
            "Error: revision 2 cannot be raised by 9223372036854775807",
        ),
    ] {
        let given = args.contains(&"--data-dir");
        let place = if given { &[][..] } else { &["--data-dir", "made"] };
        let (exit, line) =
            refusal(&quorate(folder, &[&["util", "snapshot", "restore"], args, place].concat()));
        assert_eq!(exit, Some(code), "{args:?}: {line}");
        assert!(line.starts_with(want), "{args:?}: {line}");
        assert!(!folder.join("made").exists(), "{args:?} left something");
    }
    // Copied without its checksum it is whole, and said to be trusted; the directory may be there if it is empty.
    std::fs::create_dir(folder.join("made")).unwrap();
    let made = ["util", "snapshot", "restore", "copied.db", "--skip-hash-check", "--data-dir", "made"];
    assert!(printed(&quorate(folder, &made)).starts_with("Snapshot copied.db restored in made: revision 2"));
}
