//! The pages in a real browser: what is on them, what the keys do, and how long a frame takes with 100,000 operations.
//!
//! Without chromium and chromedriver the suite says that it was skipped; under `CI=true` that is a failure.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

#[path = "page/browser.rs"]
mod browser;
#[path = "page/synthetic.rs"]
mod synthetic;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use quorate_check::verdict::Class;
use quorate_sim::cli::{Cli, Command};
use quorate_sim::hooks;
use quorate_sim::page::{RunPage, SweepPage};
use quorate_sim::report::{Finding, Report};
use quorate_sim::sweep::Summary;
use serde_json::Value;

use browser::{Browser, ENTER, ESCAPE, LEFT, RIGHT};
use synthetic::{CLIENTS, FAULTS, KEYS, MEMBERS, OPERATIONS, Run, SENTENCE, STALE};

/// The most that a frame may cost without a graphics card, pixels read back: what the quickest tenth of frames takes,
/// in which nothing else had the processor.
const FRAME_COST_MS: f64 = 50.0;
/// The most that the median frame may take, however busy the machine is with other things.
const FRAME_MEDIAN_MS: f64 = 250.0;

/// A file that goes with the test.
struct Page(PathBuf);

impl Page {
    fn new(name: &str) -> Page {
        Page(std::env::temp_dir().join(format!("quorate-{}-{name}.html", std::process::id())))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// How the run page stands.
fn state(browser: &Browser) -> Value {
    browser.script("return page.state()")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn lanes<'a>(state: &'a Value, kind: &str) -> Vec<&'a Value> {
    state["lanes"].as_array().unwrap().iter().filter(|lane| lane["type"] == kind).collect()
}

/// How many colours stand in a box of the chart, in pixels of the page.
fn colours(browser: &Browser, x: f64, y: f64, width: f64, height: f64) -> usize {
    let found = browser.script(&format!(
        "const chart = document.getElementById('chart'), ratio = devicePixelRatio;
         const at = [{x}, {y}, {width}, {height}].map((n) => Math.round(n * ratio));
         const pixels = new Uint32Array(chart.getContext('2d').getImageData(...at).data.buffer);
         return new Set(pixels).size;"
    ));
    usize::try_from(found.as_u64().unwrap()).unwrap()
}

/// Text and its ground, where the pages put one on the other.
const PAIRS: [(&str, &str); 14] = [
    ("ink", "bg"),
    ("ink", "surface"),
    ("muted", "surface"),
    ("muted", "bg"),
    ("danger", "surface"),
    ("danger", "danger-bg"),
    ("fault", "fault-bg"),
    ("bar-ink", "read"),
    ("bar-ink", "write"),
    ("bar-ink", "lease"),
    ("bar-ink", "admin"),
    ("leader-ink", "leader"),
    ("follower-ink", "follower"),
    ("none-ink", "none"),
];

/// The contrast of each pair, as the accessibility guidelines define it.
fn contrasts(browser: &Browser) -> Vec<(String, f64)> {
    let pairs = serde_json::to_string(&PAIRS).unwrap();
    let found = browser.script(&format!(
        "const style = getComputedStyle(document.documentElement);
         const light = (name) => {{
           const parts = style.getPropertyValue('--' + name).trim().slice(1).match(/../g).map((part) => parseInt(part, 16) / 255);
           const [r, g, b] = parts.map((part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
           return .2126 * r + .7152 * g + .0722 * b;
         }};
         return {pairs}.map(([text, ground]) => {{
           const [low, high] = [light(text), light(ground)].sort((a, b) => a - b);
           return [`${{text}} on ${{ground}}`, (high + .05) / (low + .05)];
         }});"
    ));
    let pairs = found.as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), number(&pair[1]))).collect()
}

fn every_colour_can_be_read(browser: &Browser) {
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (pair, contrast) in contrasts(browser) {
            assert!(contrast >= 4.5, "{scheme}: {pair} has a contrast of {contrast:.2}");
        }
    }
    browser.prefer("light");
}

fn every_control_has_a_name(browser: &Browser) {
    let nameless = browser.script(
        "return [...document.querySelectorAll('button, input, canvas:not([aria-hidden]), aside, [role=listbox], [role=option]')]
           .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim()))
           .map((element) => element.outerHTML)",
    );
    assert_eq!(nameless, Value::Array(Vec::new()), "controls without a name");
}

fn nothing_was_fetched_and_nothing_failed(browser: &Browser) {
    assert_eq!(browser.script("return performance.getEntriesByType('resource').length"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_run_of_100k_operations() {
    let Some(browser) = Browser::start() else { return };
    let run = Run::new();
    let page = Page::new("run");
    RunPage::new(&run.plan, &run.history, &run.timeline, &run.report).write(&page.0).unwrap();
    browser.open(&page.0);

    the_violation_is_pinned_and_in_view(&browser);
    the_lanes_are_there(&browser);
    faults_are_hatched_bands(&browser);
    keys_step_through_the_run(&browser);
    the_pointer_chooses(&browser);
    the_filter_lets_through_what_it_says(&browser);
    scrolling_is_smooth(&browser);
    every_colour_can_be_read(&browser);
    every_control_has_a_name(&browser);
    nothing_was_fetched_and_nothing_failed(&browser);
}

fn the_violation_is_pinned_and_in_view(browser: &Browser) {
    let state = state(browser);
    assert_eq!(state["pin"], 0, "the first violation is chosen when the page opens");
    let (at, from, to) = (number(&state["at"]), number(&state["from"]), number(&state["to"]));
    assert!(from < at && at < to, "{at} is not within {from}..{to}");
    assert!(to - from < 10e9, "the window is as near as the story allows");
    let involved: Vec<&Value> =
        lanes(&state, "client").into_iter().filter(|lane| lane["involved"] == true).collect();
    assert_eq!(involved.len(), 2, "the clients of the read and of the write");
    let height =
        number(&browser.script("return document.getElementById('chart').getBoundingClientRect().height"));
    for lane in involved {
        let top = number(&lane["top"]);
        assert!(top > 0.0 && top + number(&lane["height"]) <= height, "{lane} is out of sight");
    }
    assert_eq!(browser.script("return document.getElementById('headline').textContent"), SENTENCE);
    let told = browser.script("return document.getElementById('panel').textContent");
    assert!(told.as_str().unwrap().contains(SENTENCE), "{told}");
    let line = browser.script(
        "const c = document.getElementById('chart').getContext('2d'), ratio = devicePixelRatio, s = page.state();
         const red = (x) => [...c.getImageData(Math.round(x * ratio), Math.round((s.top + 6) * ratio), 1, 1).data].slice(0, 3);
         return [red(page.place(s.at)), red(page.place(s.at) + 30)]",
    );
    assert_ne!(line[0], line[1], "a line stands where the violation is");
}

fn the_lanes_are_there(browser: &Browser) {
    let state = state(browser);
    assert_eq!(state["operations"], OPERATIONS);
    assert_eq!(lanes(&state, "faults").len(), 1);
    assert_eq!(lanes(&state, "member").len(), usize::from(MEMBERS));
    assert_eq!(lanes(&state, "client").len(), usize::try_from(CLIENTS).unwrap());
    assert_eq!(lanes(&state, "watch").len(), usize::from(MEMBERS));
    let titles: Vec<&Value> = lanes(&state, "member").into_iter().map(|lane| &lane["title"]).collect();
    assert_eq!(titles, ["m1", "m2", "m3"]);
}

fn faults_are_hatched_bands(browser: &Browser) {
    // A fault that lasts 4 s of a window of 10 s, on one member.
    browser.keys(&["n"]);
    let chosen = state(browser);
    assert_eq!(chosen["kind"], 3, "n goes to the next fault: {}", chosen["words"]);
    let at = number(&chosen["at"]);
    browser.script(&format!("page.scroll(0); page.window({}, {})", at - 4e9, at + 6e9));
    browser.keys(&[]);
    let state = state(browser);
    let lane = |kind: &str, nth: usize| {
        let lane = lanes(&state, kind)[nth];
        (number(&lane["top"]), number(&lane["height"]))
    };
    let x = |seconds: f64| number(&browser.script(&format!("return page.place({})", at + seconds * 1e9)));
    let (top, height) = lane("faults", 0);
    let (inside, outside) = (x(3.0), x(-2.0));
    assert!(colours(browser, inside, top + 2.0, 30.0, height - 4.0) > 3, "the bar is hatched");
    assert_eq!(colours(browser, outside, top + 3.0, 30.0, height - 4.0), 1, "beside it there is nothing");
    let bands: Vec<usize> = (0..usize::from(MEMBERS))
        .map(|nth| {
            let (top, height) = lane("member", nth);
            // Between the disk's line and the clock's nothing else is drawn.
            colours(browser, inside, top + height - 9.0, 30.0, 5.0)
        })
        .collect();
    let struck = bands.iter().filter(|colours| **colours > 3).count();
    assert_eq!(struck, 1, "the band goes through the lane of the member that was struck: {bands:?}");
}

fn keys_step_through_the_run(browser: &Browser) {
    browser.keys(&["a"]);
    let start = state(browser);
    assert_eq!(start["kind"], 7, "a is back at the violation");
    browser.keys(&[LEFT, LEFT, LEFT]);
    let before = state(browser);
    assert_eq!(number(&before["step"]), number(&start["step"]) - 3.0);
    assert!(number(&before["at"]) <= number(&start["at"]));
    let spoken = browser.script("return document.getElementById('live').textContent");
    assert!(spoken.as_str().unwrap().ends_with(before["words"].as_str().unwrap()), "{spoken}");
    browser.keys(&[RIGHT]);
    assert_eq!(number(&state(browser)["step"]), number(&before["step"]) + 1.0);
    let changed = browser.script(
        "for (let i = 0; i < 200 && !document.getElementById('difference'); i++) document.getElementById('forth').click();
         return document.querySelectorAll('#difference tbody tr').length",
    );
    assert!(number(&changed) > 0.0, "within 200 steps some member has changed, and the panel says how");
    for (key, wanted) in [("n", 1), ("p", 0)] {
        let mut found = Vec::new();
        for _ in 0..FAULTS {
            browser.keys(&[key]);
            let state = state(browser);
            found.push(state["kind"].as_u64().unwrap());
            if state["kind"] == 7 {
                assert_eq!(state["pin"], wanted, "{key} reaches the other violation");
                break;
            }
        }
        assert_eq!(found.last(), Some(&7), "{key} goes by faults and violations alone: {found:?}");
        assert!(found.iter().all(|kind| [3, 7].contains(kind)), "{found:?}");
    }
    let span = |state: &Value| number(&state["to"]) - number(&state["from"]);
    let wide = state(browser);
    browser.keys(&["+"]);
    assert!((span(&state(browser)) / span(&wide) - 0.5).abs() < 0.01, "+ halves the window");
    browser.keys(&["-", "0"]);
    assert!(span(&state(browser)) > 600e9, "0 shows the whole run");
    browser.keys(&["?"]);
    assert_eq!(browser.script("return document.getElementById('help').open"), true);
    browser.keys(&[ESCAPE]);
    assert_eq!(browser.script("return document.getElementById('help').open"), false);
}

fn the_pointer_chooses(browser: &Browser) {
    browser.keys(&["a"]);
    let state = state(browser);
    let lane = lanes(&state, "client")[0];
    let told =
        || browser.script("return document.getElementById('panel').textContent").as_str().unwrap().to_owned();
    let name = format!("#{}", STALE.0);
    assert!(!told().contains(&name), "the panel speaks of the violation: {}", told());
    let place = browser.script(&format!(
        "const box = document.getElementById('chart').getBoundingClientRect(), at = page.state().at;
         return [box.left + page.place(at) - 2, box.top + {} + 10].map(Math.round)",
        lane["top"]
    ));
    browser.click(place[0].as_i64().unwrap(), place[1].as_i64().unwrap());
    assert!(told().contains(&name), "the panel speaks of the bar under the pointer: {}", told());
}

fn the_filter_lets_through_what_it_says(browser: &Browser) {
    browser.keys(&["/"]);
    assert_eq!(browser.script("return document.activeElement.id"), "filter");
    let typed: Vec<String> = "key:k07".chars().map(String::from).collect();
    browser.keys(&typed.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(state(browser)["matches"], OPERATIONS / KEYS);
    browser.keys(&[ENTER, "a"]);
    for _ in 0..20 {
        browser.keys(&[RIGHT]);
        let state = state(browser);
        // Steps of operations are those of the key; others are of members, watches and faults.
        if [0, 1].contains(&state["kind"].as_u64().unwrap()) {
            let words = state["words"].as_str().unwrap();
            assert!(words.contains("k07"), "{words}");
        }
    }
    for (text, matches) in [("is:unknown", OPERATIONS / 50), ("client:c3 is:unknown", 250), ("v31416", 1)] {
        browser.script(&format!(
            "const filter = document.getElementById('filter'); filter.value = '{text}'; filter.dispatchEvent(new Event('input'))"
        ));
        browser.keys(&[]);
        assert_eq!(state(browser)["matches"], matches, "{text}");
    }
    browser.keys(&[ESCAPE]);
    assert_eq!(state(browser)["matches"], OPERATIONS);
}

fn scrolling_is_smooth(browser: &Browser) {
    let before = state(browser);
    let middle = browser.script(
        "const box = document.getElementById('chart').getBoundingClientRect(); return [box.left + 600, box.top + 300].map(Math.round)",
    );
    browser.script("page.scroll(0)");
    browser.wheel(middle[0].as_i64().unwrap(), middle[1].as_i64().unwrap(), 120);
    let after = state(browser);
    assert!(
        number(&after["scroll"]) > 0.0,
        "the wheel moves the lanes: {} {}",
        before["scroll"],
        after["scroll"]
    );
    browser.script("page.scroll(0)");
    // Windows of the whole run, of a minute, and of a second, across all of it.
    for seconds in [625.0, 60.0, 1.0] {
        let took = browser.script(&format!("return page.measure(100, {})", seconds * 1e9));
        let mut took: Vec<f64> = took.as_array().unwrap().iter().map(number).collect();
        took.sort_by(f64::total_cmp);
        let (cost, median) = (took[10], took[50]);
        eprintln!("frames of {seconds} s: cost {cost:.1} ms, median {median:.1} ms");
        assert!(cost <= FRAME_COST_MS, "a frame of {seconds} s costs {cost:.1} ms");
        assert!(median <= FRAME_MEDIAN_MS, "a frame of {seconds} s takes {median:.1} ms in the median");
    }
}

/// A sweep of 40 seeds, 7 of which failed in two ways.
fn sweep() -> Summary {
    let reports = (0..40).map(|seed| {
        let mut report = match seed {
            3 | 9 | 11 | 20 | 33 => {
                Report::lost(seed, Class::Safety, format!("read at revision {seed} is stale"))
            }
            14 | 30 => Report::lost(seed, Class::Liveness, format!("m{} is not up", seed % 3)),
            _ => Report {
                class: Class::Pass,
                violations: Vec::<Finding>::new(),
                ..Report::lost(seed, Class::Pass, "")
            },
        };
        report.wall_ms = 2_000 + seed * 37 % 900;
        report.figures.operations = 4_000 + seed;
        report.figures.simulated_ms = 75_000;
        report.faults.insert("kill/one".to_owned(), seed % 5);
        report.marks.insert("snapshot built".to_owned(), 3);
        report
    });
    Summary::new(reports.collect(), 1, Duration::from_secs(90))
}

#[test]
fn a_sweep() {
    let Some(browser) = Browser::start() else { return };
    let page = Page::new("sweep");
    let cli = Cli::try_parse_from(["sim", "sweep", "--seeds", "0..40", "--mutant", "planted"]).unwrap();
    let Command::Sweep(told) = cli.command else { panic!("the command is a sweep") };
    SweepPage::new(&sweep(), &told).write(&page.0).unwrap();
    browser.open(&page.0);

    let texts = |selector: &str| {
        let found = browser.script(&format!(
            "return [...document.querySelectorAll('{selector}')].map((element) => element.textContent)"
        ));
        let texts = found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        texts.collect::<Vec<String>>()
    };
    assert_eq!(texts("#headline"), ["7 of 40 seeds failed, in 2 ways"]);
    let groups = texts("#failures .group");
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert!(groups[0].contains("5 seeds") && groups[0].contains("seeds 3, 9, 11, 20, 33"), "{}", groups[0]);
    assert!(groups[1].contains("liveness") && groups[1].contains("2 seeds"), "{}", groups[1]);
    assert!(texts(".group code")[0].starts_with("cargo sim page --seed 3 --mutant planted "));
    let marks: BTreeSet<&str> = hooks::MARKS.iter().map(|place| place.name).collect();
    assert_eq!(texts("#marks .never li").len(), marks.len() - 1, "all but the one that was reached");
    assert!(texts("#faults tr")[0].starts_with("kill/one80"), "{:?}", texts("#faults tr"));
    assert!(texts("#medians .short").len() > 2, "most medians are below what is due");
    assert_eq!(texts("#plot .pass").len() + texts("#plot .fail").len(), 40);
    browser.script("document.querySelector('#plot svg').focus()");
    browser.keys(&[RIGHT, RIGHT, RIGHT, RIGHT]);
    assert!(texts("#seed")[0].starts_with("seed 3: safety"), "{:?}", texts("#seed"));

    every_colour_can_be_read(&browser);
    every_control_has_a_name(&browser);
    nothing_was_fetched_and_nothing_failed(&browser);
}

#[test]
fn a_page_names_no_address_and_is_always_the_same() {
    let run = Run::new();
    let text = RunPage::new(&run.plan, &run.history, &run.timeline, &run.report).render().unwrap();
    let outside =
        |text: &str| ["https://", "src=", "href=", "@import", "url("].iter().any(|word| text.contains(word));
    assert!(!outside(&text), "a page holds all that it needs");
    assert_eq!(text.matches("</script>").count(), 2, "no text of a run ends a script");
    let again = Run::new();
    let page = RunPage::new(&again.plan, &again.history, &again.timeline, &again.report);
    assert!(page.render().unwrap() == text, "the same run gives the same page");
}
