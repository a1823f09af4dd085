//! A real process on the host's disk, killed while it writes: what it wrote is there, in whole batches.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use quorate::env::real::RealDisk;
use quorate::storage::engine::{EngineKind, Opened, set_aside};

use crate::World;
use crate::script::{Content, apply_to, batch, content_of, last_batch};

/// Set for the child: the engine's kind and folder.
const CHILD: &str = "QUORATE_ENGINE_CHILD";

/// Not a test of its own: the body of the killed process. Without the variable it does nothing.
#[test]
fn child_writes_until_it_is_killed() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (kind, dir) = task.split_once(' ').unwrap();
    let world = World { kind: kind.parse().unwrap(), disk: Arc::new(RealDisk), dir: PathBuf::from(dir) };
    let engine = world.engine();
    for number in last_batch(&content_of(&*engine)) + 1.. {
        engine.apply(&batch(number)).unwrap();
        if number % 5 == 0 {
            engine.flush().unwrap();
            println!("flushed {number}");
        }
    }
}

/// Lets a child write until it has flushed `batches` more, kills it, and returns the last flush it reported.
fn kill_after(kind: EngineKind, dir: &std::path::Path, batches: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::child_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{kind} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut flushed = 0;
    let mut seen = 0;
    for line in lines {
        if let Some((_, number)) = line.unwrap().split_once("flushed ") {
            flushed = number.parse().unwrap();
            seen += 5;
            if seen >= batches {
                break;
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(flushed > 0, "the child never got to a flush");
    flushed
}

fn contents_up_to(last: u64) -> Content {
    let mut content = Content::new();
    (1..=last).for_each(|number| apply_to(&mut content, &batch(number)));
    content
}

#[test]
fn redb_survives_kills_with_all_it_flushed() {
    let temp = tempfile::tempdir().unwrap();
    let world = World { kind: EngineKind::Redb, disk: Arc::new(RealDisk), dir: temp.path().join("state") };
    for round in 1..=6 {
        let flushed = kill_after(world.kind, &world.dir, round * 11);
        let Opened::Existing(engine) = world.open().unwrap() else { panic!("it was there") };
        let content = content_of(&*engine);
        let k = last_batch(&content);
        assert!(k >= flushed, "round {round}: {k} is the last, {flushed} was flushed");
        assert_eq!(content, contents_up_to(k), "round {round}: not exactly batches 1..{k}");
        engine.integrity_check().unwrap();
    }
}

#[test]
fn sled_is_not_trusted_after_a_kill() {
    let temp = tempfile::tempdir().unwrap();
    let world = World { kind: EngineKind::Sled, disk: Arc::new(RealDisk), dir: temp.path().join("state") };
    kill_after(world.kind, &world.dir, 20);
    let Opened::Untrusted { why } = world.open().unwrap() else { panic!("it was killed") };
    assert_eq!(why, "it was not closed cleanly");
    let aside = set_aside(&*world.disk, &world.dir).unwrap();
    assert_eq!(aside, temp.path().join("state.aside-1"));
    let Opened::Created(engine) = world.open().unwrap() else { panic!("there is nothing left") };
    assert_eq!(content_of(&*engine), Content::new());
}
