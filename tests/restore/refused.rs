//! What is no store's image, or a damaged one: refused in one line that says where, and nothing is left of it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use quorate::pb::{etcdserverpb, leasepb, mvccpb};
use quorate::restore::{Origin, restore};

use crate::image::{Image, place, rich};
use crate::{data_dir, env_on, lay, order, restored};

/// The line with which an image is refused.
fn refusal(bytes: &[u8]) -> String {
    let (disk, made) = restored(bytes, &order(0));
    let line = made.expect_err("it is refused").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    let left = disk.list(&data_dir()).unwrap_or_default();
    assert!(left.is_empty(), "{line}: {left:?} is left");
    line
}

fn kv(key: &str, created: i64, modified: i64, version: i64) -> Vec<u8> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let (create_revision, mod_revision) = (created, modified);
    mvccpb::KeyValue { key, create_revision, mod_revision, version, ..mvccpb::KeyValue::default() }
        .encode_to_vec()
}

#[test]
fn a_history_that_no_store_wrote_is_refused() {
    let with = |key: Vec<u8>, value: Vec<u8>| rich().with("key", vec![(key, value)]);
    for (image, want) in [
        (Image::new().put(3, 0, "a", 3, 1, 0), "what lies between revision 1 and revision 3/0 is missing"),
        (rich().put(13, 0, "a", 2, 4, 0), "what lies between revision 11 and revision 13/0 is missing"),
        (rich().put(11, 2, "f", 11, 1, 0), "what lies between revision 11 and revision 11/2 is missing"),
        (rich().delete(11, 0, "e"), "revision 11/0 comes twice, or too late"),
        (
            Image::new().put(1, 0, "a", 1, 1, 0),
            "revision 1/0 is before the first one that can change anything",
        ),
        (with(place(12, 0, false), kv("", 12, 12, 1)), "it is empty"),
        (with(place(12, 0, false), Vec::new()), "it is empty"),
        (with(place(12, 0, false), kv("f", 12, 12, 0)), "its version is not positive"),
        (with(place(12, 0, false), kv("f", 13, 12, 1)), "it was created at no revision of its history"),
        (with(place(12, 0, false), kv("f", 12, 11, 1)), "its record says another revision"),
        (with(place(12, 0, false), vec![0xff; 9]), "bucket key: revision 12/0: "),
        (with(b"short".to_vec(), kv("f", 12, 12, 1)), "bucket key: short is no place in history"),
        (with([place(12, 0, false), b"x".to_vec()].concat(), kv("f", 12, 12, 1)), "is no place in history"),
        (with(place(12, 1 << 40, false), kv("f", 12, 12, 1)), "is no place in history"),
        (with(place(-1, 0, false), kv("f", 12, 12, 1)), "is no place in history"),
        (rich().put(12, 0, "f", 12, 1, 99), "names lease 0000000000000063, which does not exist"),
    ] {
        let line = refusal(&image.bytes());
        assert!(line.contains(want), "want {want:?}, found {line:?}");
        assert!(line.starts_with("/backup/"), "it names the image: {line}");
    }
}

#[test]
fn garbage_beside_the_keys_is_refused() {
    let with = |bucket, key: &[u8], value: Vec<u8>| rich().with(bucket, vec![(key.to_vec(), value)]);
    let lease = |id, ttl| leasepb::Lease { id, ttl, remaining_ttl: 0 }.encode_to_vec();
    let no_alarm = etcdserverpb::AlarmMember { member_id: 1, alarm: 9 }.encode_to_vec();
    for (image, want) in [
        (with("meta", b"consistent_index", vec![1]), "its consistent_index makes no sense"),
        (with("meta", b"term", u64::MAX.to_be_bytes().to_vec()), "its term makes no sense"),
        (with("meta", b"scheduledCompactRev", b"x".to_vec()), "its scheduledCompactRev makes no sense"),
        (
            with("meta", b"finishedCompactRev", place(i64::MAX, 0, false)),
            "its finishedCompactRev makes no sense",
        ),
        (with("lease", &9_i64.to_be_bytes(), lease(10, 60)), "its lease has another id"),
        (with("lease", &9_i64.to_be_bytes(), lease(9, 0)), "it lives for no sensible time"),
        (with("lease", &0_i64.to_be_bytes(), lease(0, 5)), "its lease has another id"),
        (with("lease", b"x", vec![0xff]), "bucket lease: x: "),
        (with("alarm", &no_alarm, Vec::new()), "is no alarm"),
        (with("auth", b"authEnabled", vec![7]), "bucket auth: authEnabled makes no sense"),
        (with("auth", b"authRevision", vec![7]), "bucket auth: authRevision makes no sense"),
        (with("authUsers", b"eve", vec![0xff]), "bucket authUsers: eve: "),
        (with("authUsers", b"eve", Vec::new()), "it is not the name of its user"),
        (rich().role("odd", &[("a", "b", 9)]), "a permission of no known kind"),
        (rich().role("odd", &[("a", "b", 0), ("a", "b", 1)]), "it gives one range twice"),
    ] {
        let line = refusal(&image.bytes());
        assert!(line.contains(want), "want {want:?}, found {line:?}");
    }
}

#[test]
fn what_is_no_stores_file_is_refused() {
    let without_keys = Image::default().with("meta", Vec::new()).bytes();
    assert!(refusal(&without_keys).ends_with("it is no store's: it has no bucket \"key\""));
    let without_meta = Image::default().with("key", Vec::new()).bytes();
    assert!(refusal(&without_meta).ends_with("it is no store's: it has no bucket \"meta\""));
    assert!(refusal(b"").starts_with("snapshot missing hash but --skip-hash-check=false"));
    assert!(refusal(&[0; 32]).contains("expected sha256"));
}

#[test]
fn any_flipped_byte_is_found_out_and_without_a_checksum_none_brings_a_member_down() {
    let sound = rich().bytes();
    for at in (0..sound.len()).step_by(61) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        assert!(refusal(&damaged).contains("expected sha256"), "byte {at}");
    }
    // Trusted files are taken or refused: what was taken loads.
    let mut trusting = order(0);
    trusting.from = Origin::Image { file: "/backup/image.db".into(), trusted: true };
    let (mut taken, mut refused) = (0, 0);
    for at in (0..sound.len()).step_by(13) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        match restored(&damaged, &trusting) {
            (disk, Ok(made)) => {
                assert_eq!(crate::find(&disk).state.hash(), made.hash);
                taken += 1;
            }
            (disk, Err(_)) => {
                assert!(disk.list(&data_dir()).unwrap_or_default().is_empty());
                refused += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 20, "{taken} taken, {refused} refused");
}

#[test]
fn a_truncated_image_is_refused() {
    let sound = rich().bytes();
    for left in [0, 31, 32, 4096, 4096 + 32, sound.len() - 4096, sound.len() - 33, sound.len() - 1] {
        let line = refusal(&sound[..left]);
        assert!(
            line.starts_with("snapshot missing hash") || line.starts_with("expected sha256"),
            "{left}: {line}"
        );
    }
}

#[test]
fn one_directory_is_made_by_one_at_a_time() {
    let disk = quorate_disk::SimDisk::new(quorate_disk::Config::new(7)).mount();
    lay(&*disk, &rich().bytes());
    let begun = data_dir().join("restoring");
    disk.create_dir_all(&begun).unwrap();
    let refused =
        restore(&env_on(Arc::clone(&disk)), &order(0)).expect_err("another one makes it").to_string();
    assert!(refused.contains("is being restored into, or that ended half way: remove it"), "{refused}");
    assert!(disk.exists(&begun).unwrap(), "what the other one makes is left alone");
}

#[test]
fn a_copied_file_that_an_etcd_has_open_is_refused() {
    let disk = quorate_disk::SimDisk::new(quorate_disk::Config::new(7)).mount();
    lay(&*disk, &rich().bytes());
    let mut trusting = order(0);
    trusting.from = Origin::Image { file: "/backup/image.db".into(), trusted: true };
    let open = disk.lock(Path::new("/backup/image.db")).unwrap();
    let refused = restore(&env_on(Arc::clone(&disk)), &trusting).expect_err("it changes").to_string();
    assert!(refused.ends_with("an etcd runs on it: stop it first, or take a snapshot of it"), "{refused}");
    drop(open);
    restore(&env_on(Arc::clone(&disk)), &trusting).unwrap();
}
