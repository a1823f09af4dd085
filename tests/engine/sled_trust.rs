//! When a sled folder is trusted: after a clean close, as it was closed, by the member that closed it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quorate::env::real::RealDisk;
use quorate::storage::engine::{EngineError, EngineKind, Identity, Opened, open_engine};
use quorate::types::MemberId;

use crate::script::{Progress, content_of, contents_after, run};
use crate::{OWNER, SMALL, World};

fn world(dir: &Path) -> World {
    World { kind: EngineKind::Sled, disk: Arc::new(RealDisk), dir: dir.join("state") }
}

/// A closed engine with batches 1..=20.
fn closed(dir: &Path) -> World {
    let world = world(dir);
    let engine = world.engine();
    run(&*engine, 1, 20, &mut Progress::default()).unwrap();
    engine.close().unwrap();
    world
}

fn why_not(world: &World) -> String {
    match world.open().unwrap() {
        Opened::Untrusted { why } => why,
        other => panic!("trusted: {other:?}"),
    }
}

#[test]
fn a_clean_close_is_trusted_once() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    assert!(world.dir.join("clean").exists());
    let Opened::Existing(engine) = world.open().unwrap() else { panic!("it was closed cleanly") };
    assert!(!world.dir.join("clean").exists(), "the mark goes before the first write");
    assert_eq!(content_of(&*engine), contents_after(20)[20]);
    assert!(!engine.survives_power_loss());
    drop(engine);
    assert_eq!(why_not(&world), "it was not closed cleanly");
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    let engine = world.engine();
    let error = world.open().unwrap_err().to_string();
    assert!(error.ends_with("is refused: another process has it open"), "{error}");
    engine.close().unwrap();
    assert!(matches!(world.open().unwrap(), Opened::Existing(_)));
}

#[test]
fn a_close_under_an_open_reader_leaves_no_mark() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    let engine = world.engine();
    let reader = engine.reader().unwrap();
    engine.close().unwrap();
    drop((reader, engine));
    assert_eq!(why_not(&world), "it was not closed cleanly");
}

#[test]
fn files_that_changed_after_the_close_are_not_trusted() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    fs::write(world.dir.join("data/stray"), b"x").unwrap();
    assert_eq!(why_not(&world), "its files are not the ones that were closed");
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    let mark = world.dir.join("clean");
    let mut bytes = fs::read(&mark).unwrap();
    bytes[10] ^= 1;
    fs::write(&mark, bytes).unwrap();
    assert_eq!(why_not(&world), "the mark of its clean close is damaged");
}

#[test]
fn a_foreign_folder_and_one_without_identity_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    let stranger = Identity { member: MemberId(0xb2), ..OWNER };
    let error = open_engine(world.kind, &world.disk, &world.dir, stranger, SMALL).unwrap_err();
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    assert!(world.dir.join("clean").exists(), "a refusal changes nothing");
    fs::remove_file(world.dir.join("identity")).unwrap();
    let error = world.open().unwrap_err().to_string();
    assert!(error.ends_with("is corrupt: its identity file is missing"), "{error}");
}

#[test]
fn a_rotten_file_is_not_trusted() {
    let temp = tempfile::tempdir().unwrap();
    let world = closed(temp.path());
    let path = world.dir.join("data/db");
    let clean = fs::read(&path).unwrap();
    for at in (0..clean.len()).step_by(clean.len() / 200) {
        let mut bytes = clean.clone();
        bytes[at] ^= 0x20;
        fs::write(&path, bytes).unwrap();
        assert_eq!(why_not(&world), "its files are not the ones that were closed", "byte {at}");
    }
    fs::write(&path, clean).unwrap();
    assert_eq!(content_of(&*world.engine()), contents_after(20)[20]);
}
