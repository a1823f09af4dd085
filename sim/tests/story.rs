//! Drives the simulator's program as a person does: a plan written by hand, a failure that shrinks, a replay that stops,
//! two runs that are compared.
//!
//! Only in the simulated build (`make story`): in the plain one there is no program to drive.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quorate_sim::plan::Plan;
use quorate_sim::story::{COLUMNS_MAX, LINES_MAX};

fn output(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate-sim")).args(arguments).output().expect("the program starts")
}

fn sim(arguments: &[&str]) -> (i32, String) {
    let output = output(arguments);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn by_hand() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/leader-loses-power.json").display().to_string()
}

/// A folder of one test's own, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("quorate-story-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_plan_written_by_hand_runs_and_passes() {
    let (code, said) = sim(&["replay", &by_hand()]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" 2 faults"), "both strike: {said}");
}

#[test]
fn a_failing_seed_shrinks_to_a_story_that_fits_a_screen_and_still_fails() {
    let folder = Folder::new("shrink");
    let (mutant, saved) = ("read-index-skipped", folder.file("shrunk.json"));
    // Time enough on a slow machine: it is the size that counts.
    let time = ["--jobs", "2", "--minutes", "20"];
    let (code, screen) =
        sim(&[&["shrink", "--seed", "1", "--mutant", mutant, "--save", &saved][..], &time].concat());
    assert_eq!(code, 10, "{screen}");
    assert!(screen.lines().count() <= LINES_MAX, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{screen}");
    for part in ["seed 1: safety", "->", "cargo sim replay"] {
        assert!(screen.contains(part), "{part:?} is missing: {screen}");
    }
    let plan = Plan::load(Path::new(&saved)).unwrap();
    assert!(plan.operations().count() <= 10, "{screen}");
    assert!(plan.faults.len() <= 2, "{screen}");
    assert_eq!(sim(&["replay", &saved, "--mutant", mutant]).0, 10, "it still fails");
    assert_eq!(sim(&["replay", &saved]).0, 0, "without the planted bug it passes");
}

#[test]
fn a_shrunk_plan_is_kept_with_the_nearest_plan_that_passes() {
    let folder = Folder::new("passing");
    let (mutant, saved) = ("raft-leader-stays-unanswered", folder.file("shrunk.json"));
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/deaf-leader-stays-in-office.json");
    let plan = plan.display().to_string();
    let (code, screen) =
        sim(&["shrink", "--plan", &plan, "--mutant", mutant, "--jobs", "2", "--save", &saved]);
    assert_eq!(code, 11, "{screen}");
    let passing = folder.file("shrunk.passing.json");
    assert_eq!(sim(&["replay", &passing, "--mutant", mutant]).0, 0, "with the planted bug it passes");
    let size = |path: &str| {
        let plan = Plan::load(Path::new(path)).unwrap();
        plan.faults.len() + plan.operations().count()
    };
    assert_eq!(size(&passing) + 1, size(&saved), "one thing is missing");
}

#[test]
fn a_read_of_the_hosts_clock_is_caught_by_running_a_seed_twice() {
    let sweep = ["sweep", "--seeds", "1..2", "--double-every", "1"];
    // A failure leaves a folder where it was found.
    let folder = Folder::new("leak");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-sim"));
    command.env("QUORATE_SIM_LEAK_HOST_CLOCK", "1").current_dir(&folder.0);
    let output = command.args(sweep).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("two runs differ") && said.contains("first difference"), "{said}");
    assert_eq!(sim(&sweep).0, 0, "without the leak both are the same");
}

#[test]
fn a_replay_stops_at_its_moment_and_shows_what_came_last() {
    let (code, said) = sim(&["replay", &by_hand(), "--until", "1.506s"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("fault power/one") && said.contains("open faults: power/one"), "{said}");
    let (code, said) = sim(&["replay", &by_hand(), "--until", "3"]);
    assert_eq!((code, said.contains("        3 0 start a3")), (0, true), "{said}");
}

#[test]
fn a_replay_prints_what_the_members_log_in_its_window() {
    let window = ["--from", "1400ms", "--until", "1600ms"];
    let plan = by_hand();
    let replay = [&["replay", &plan, "--log", "raft=debug"][..], &window].concat();
    let said = String::from_utf8_lossy(&output(&replay).stderr).into_owned();
    let moments: Vec<f64> =
        said.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert!(moments.len() > 100, "{} lines", moments.len());
    assert!(moments.iter().all(|moment| (1.4..=1.6).contains(moment)), "{moments:?}");
}

#[test]
fn a_page_shows_the_run_that_it_was_made_of() {
    let folder = Folder::new("page");
    let page = folder.file("run.html");
    let (code, said) = sim(&["page", "--plan", &by_hand(), "--out", &page]);
    assert_eq!(code, 0, "{said}");
    let (_, replayed) = sim(&["replay", &by_hand()]);
    let html = std::fs::read_to_string(&page).unwrap();
    let trace = replayed.split("trace ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(html.contains(&format!(r#""trace":"{trace}""#)), "the same run: {replayed}");
    assert!(html.contains("power/one"), "its faults are on it");
}

#[test]
fn a_sweep_leaves_a_page_of_all_its_seeds() {
    let folder = Folder::new("sweep");
    let page = folder.file("sweep.html");
    let (code, said) = sim(&["sweep", "--seeds", "1..3", "--jobs", "2", "--page", &page]);
    assert_eq!(code, 0, "{said}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains(r#"{"seed":2,"class":"pass","#), "the last of them is on it");
}

#[test]
fn what_says_nothing_about_the_product_lets_a_bisection_skip() {
    assert_eq!(sim(&["replay", "no-such-plan.json"]).0, 125);
    assert_eq!(sim(&["replay", "7", "--no-such-option"]).0, 125);
    assert_eq!(sim(&["run", "--plan", "no-such-plan.json"]).0, 2, "elsewhere it is wrong use");
}

#[test]
fn two_runs_of_one_plan_are_the_same_and_another_course_is_not() {
    let folder = Folder::new("diff");
    let (code, said) = sim(&["diff", &by_hand(), &by_hand()]);
    assert_eq!(code, 0, "{said}");
    let other = folder.file("other.trace");
    assert_eq!(sim(&["replay", &by_hand(), "--schedule-seed", "5", "--trace", &other]).0, 0);
    let (code, said) = sim(&["diff", &by_hand(), &other]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the runs part at event") && said.contains("A > ") && said.contains("B > "),
        "{said}"
    );
}
