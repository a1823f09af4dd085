//! Users, roles and permissions with the real `etcdctl`; and taken along in an image to a real `etcd`, which lets the same
//! users in.

use quorate_jepsen::program;
use serde_json::{Value, json};

use crate::ctl::start;
use crate::etcdctl::Etcdctl;
use crate::image::Restored;

const ROOT: &str = "--user=root:secret of root";
const ALICE: &str = "--user=alice:secret of alice";
const DENIED: &str = "Error: etcdserver: permission denied";
const EMPTY: &str = "Error: etcdserver: user name is empty";

/// Users `root` and `alice`, who may read `a..m` and write what begins with `g`; then everybody is asked.
fn guard(ctl: &Etcdctl) {
    ctl.prints(&["user", "add", "root:secret of root"], "User root created\n");
    ctl.prints(&["user", "add", "alice:secret of alice"], "User alice created\n");
    ctl.prints(&["user", "add", "bob", "--no-password"], "User bob created\n");
    ctl.prints(&["user", "grant-role", "root", "root"], "Role root is granted to user root\n");
    ctl.prints(&["role", "add", "both"], "Role both created\n");
    ctl.prints(&["role", "grant-permission", "both", "read", "a", "m"], "Role both updated\n");
    ctl.prints(&["role", "grant-permission", "both", "write", "g", "--prefix"], "Role both updated\n");
    ctl.prints(&["user", "grant-role", "alice", "both"], "Role both is granted to user alice\n");
    ctl.prints(&["auth", "enable"], "Authentication Enabled\n");
}

fn is_not_let_in(ctl: &Etcdctl, user: &str) {
    let ended = ctl.end(&["put", "g1", "x", user], "");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.error, "Error: etcdserver: authentication failed, invalid user ID or password");
}

/// What holds of such users wherever they came to.
fn is_guarded(ctl: &Etcdctl) {
    ctl.fails(&["get", "g1"], EMPTY);
    ctl.fails(&["put", "g1", "x"], EMPTY);
    is_not_let_in(ctl, "--user=alice:wrong");
    is_not_let_in(ctl, "--user=nobody:secret of alice");
    ctl.prints(&["put", "g1", "one", ALICE], "OK\n");
    ctl.prints(&["get", "g1", ALICE], "g1\none\n");
    ctl.prints(&["get", "a", "m", "--keys-only", ALICE], "g1\n\n");
    ctl.fails(&["get", "a", "n", ALICE], DENIED);
    ctl.fails(&["put", "h", "x", ALICE], DENIED);
    ctl.fails(&["del", "g", "i", ALICE], DENIED);
    ctl.fails(&["user", "list", ALICE], DENIED);
    ctl.prints(&["user", "list", ROOT], "alice\nbob\nroot\n");
    ctl.prints(&["user", "get", "alice", ALICE], "User: alice\nRoles: both\n");
    ctl.prints(&["role", "list", ROOT], "both\n");
    ctl.prints(
        &["role", "get", "both", ALICE],
        "Role both\nKV Read:\n\t[a, m)\nKV Write:\n\t[g, h) (prefix g)\n",
    );
    ctl.prints(&["put", "anything", "x", ROOT], "OK\n");
    ctl.prints(&["del", "anything", ROOT], "1\n");
}

fn status(ctl: &Etcdctl) -> Value {
    let status = ctl.run(&["auth", "status", ROOT, "-w", "json"]);
    let mut status: Value = serde_json::from_str(&status).unwrap();
    json!([status["enabled"].take(), status["authRevision"].take()])
}

#[test]
fn users_are_let_in_and_kept_within_their_bounds() {
    let Some((_cluster, ctl)) = start() else { return };
    ctl.fails(&["auth", "enable"], "Error: etcdserver: root user does not exist");
    guard(&ctl);
    is_guarded(&ctl);
    assert_eq!(status(&ctl), json!([true, 9]));
    ctl.fails(&["user", "delete", "root", ROOT], "Error: etcdserver: invalid auth management");
    ctl.fails(&["user", "add", "alice:x", ROOT], "Error: etcdserver: user name already exists");
    ctl.fails(&["role", "add", "both", ROOT], "Error: etcdserver: role name already exists");
    ctl.fails(&["user", "grant-role", "alice", "none", ROOT], "Error: etcdserver: role name not found");
    ctl.fails(&["user", "delete", "none", ROOT], "Error: etcdserver: user name not found");
    ctl.fails(
        &["user", "revoke-role", "bob", "both", ROOT],
        "Error: etcdserver: role is not granted to the user",
    );
    ctl.fails(
        &["role", "revoke-permission", "both", "z", ROOT],
        "Error: etcdserver: permission is not granted to the role",
    );
    ctl.prints(
        &["role", "revoke-permission", "both", "a", "m", ROOT],
        "Permission of range [a, m) is revoked from role both\n",
    );
    ctl.fails(&["get", "g1", ALICE], DENIED);
    assert_eq!(
        ctl.run_with(&["user", "passwd", "alice", "--interactive=false", ROOT], "new\n"),
        "Password updated\n"
    );
    is_not_let_in(&ctl, ALICE);
    ctl.prints(&["put", "g1", "two", "--user=alice", "--password=new"], "OK\n");
    ctl.prints(&["user", "revoke-role", "alice", "both", ROOT], "Role both is revoked from user alice\n");
    ctl.fails(&["put", "g1", "x", "--user=alice:new"], DENIED);
    ctl.prints(&["role", "delete", "both", ROOT], "Role both deleted\n");
    ctl.prints(&["user", "delete", "alice", ROOT], "User alice deleted\n");
    ctl.prints(&["auth", "disable", ROOT], "Authentication Disabled\n");
    ctl.prints(&["get", "g1"], "g1\ntwo\n");
}

#[test]
fn users_and_roles_go_along_in_an_image() {
    let (Some((_cluster, ctl)), Some(_)) = (start(), program::reference("etcdutl")) else { return };
    guard(&ctl);
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("guarded.db");
    let image = image.to_str().unwrap();
    let one = ctl.at(ctl.endpoints[0].clone());
    assert_eq!(status(&one), json!([true, 9]));
    let refused = one.end(&["snapshot", "save", image, ALICE], "");
    assert!(refused.code == Some(5) && refused.error.ends_with("permission denied"), "{refused:?}");
    one.run(&["snapshot", "save", image, ROOT]);
    let restored = Restored::from(image, folder.path(), &ctl);
    assert_eq!(status(&restored.ctl), json!([true, 9]));
    is_guarded(&restored.ctl);
}
