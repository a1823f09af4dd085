//! The page of one run: all that was recorded, with its first violation in view.

use std::collections::BTreeSet;

use quorate_check::history::{History, Operation};
use quorate_check::types::{MemberId, Nanos};
use serde::Serialize;

use super::data::{FaultData, MemberData, Operations, Tables, WatchData};
use super::document::Document;
use super::pins::{Pin, Places};
use crate::figures::Figures;
use crate::mutants;
use crate::plan::{Plan, generate};
use crate::report::Report;
use crate::timeline::Timeline;

/// What the page needs of the browser, in the order in which it is read.
const SCRIPTS: [&str; 13] = [
    include_str!("assets/model.js"),
    include_str!("assets/theme.js"),
    include_str!("assets/filter.js"),
    include_str!("assets/events.js"),
    include_str!("assets/canvas.js"),
    include_str!("assets/lanes.js"),
    include_str!("assets/draw_faults.js"),
    include_str!("assets/draw_members.js"),
    include_str!("assets/draw_clients.js"),
    include_str!("assets/draw_story.js"),
    include_str!("assets/draw.js"),
    include_str!("assets/panel.js"),
    include_str!("assets/run.js"),
];

/// The page of a run.
pub struct RunPage<'a> {
    plan: &'a Plan,
    history: &'a History,
    timeline: &'a Timeline,
    report: &'a Report,
}

/// All that the page holds.
#[derive(Serialize)]
struct Data {
    seed: u64,
    class: String,
    mutant: Option<String>,
    breaks: Option<&'static str>,
    trace: String,
    trace_events: u64,
    figures: Figures,
    commands: Vec<String>,
    end: Nanos,
    healed: Option<Nanos>,
    violations: usize,
    clients: Vec<String>,
    members: Vec<MemberData>,
    operations: Operations,
    watches: Vec<WatchData>,
    faults: Vec<FaultData>,
    key_sets: Vec<Vec<(String, String)>>,
    texts: Vec<String>,
    pins: Vec<Pin>,
}

impl<'a> RunPage<'a> {
    /// The page of a run that was made from `plan`.
    pub fn new(
        plan: &'a Plan,
        history: &'a History,
        timeline: &'a Timeline,
        report: &'a Report,
    ) -> RunPage<'a> {
        RunPage { plan, history, timeline, report }
    }

    /// The page's text.
    ///
    /// # Errors
    /// When it has no JSON form, which would be a fault of this program.
    pub fn render(&self) -> serde_json::Result<String> {
        self.document(&self.title()).render(&self.data())
    }

    fn title(&self) -> String {
        format!("seed {}: {}", self.report.seed, self.report.class)
    }

    fn document<'t>(&self, title: &'t str) -> Document<'t> {
        Document {
            title,
            style: include_str!("assets/run.css"),
            body: include_str!("assets/run.html"),
            scripts: &SCRIPTS,
        }
    }

    /// The last moment that anything is known of.
    fn end(&self) -> Nanos {
        let History { operations, watches, faults, .. } = self.history;
        let returned = operations.iter().map(|operation| operation.returned);
        let received = watches.iter().filter_map(|watch| watch.received.last()).map(|response| response.at);
        let struck = faults.iter().map(|fault| fault.until.unwrap_or(fault.from));
        let found = self.report.violations.iter().filter_map(|finding| finding.spot.at);
        returned.chain(received).chain(struck).chain(found).fold(self.timeline.end(), Nanos::max)
    }

    fn data(&self) -> Data {
        let RunPage { plan, history, timeline, report } = self;
        let end = self.end();
        let mut operations: Vec<&Operation> = history.operations.iter().collect();
        operations.sort_by_key(|operation| (operation.invoked, operation.id));
        // Ids go up with places, and every member of a plan is started.
        let members: BTreeSet<MemberId> = history.incarnations.iter().map(|life| life.member).collect();
        let members: Vec<MemberId> = members.into_iter().collect();
        let mut tables = Tables::new(plan, history);
        Data {
            seed: report.seed,
            class: report.class.to_string(),
            mutant: report.mutant.clone(),
            breaks: report.mutant.as_deref().and_then(mutants::find).map(|mutant| mutant.breaks),
            trace: report.trace.clone(),
            trace_events: report.events,
            figures: report.figures,
            commands: self.commands(),
            end,
            healed: history.settled.first().map(|settled| settled.healed),
            violations: report.violations.len(),
            clients: tables.clients(),
            members: tables.members(timeline),
            faults: tables.faults(history, &members),
            pins: Places::new(&operations, history, end).pins(report),
            operations: tables.operations(&operations),
            watches: tables.watches(&history.watches, end),
            key_sets: tables.key_sets().into_iter().cloned().collect(),
            texts: tables.texts.into_list(),
        }
    }

    /// How to get this run again. A plan that its seed no longer makes must come from a file.
    fn commands(&self) -> Vec<String> {
        let from = match generate::generate(self.plan.seed) == *self.plan {
            true => format!("--seed {}", self.plan.seed),
            false => "--plan PLAN.json".to_owned(),
        };
        let mutant = self.report.mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
        ["run", "run --log info", "run --trace TRACE.txt --history HISTORY.jsonl"]
            .map(|how| {
                let (command, flags) = how.split_once(' ').unwrap_or((how, ""));
                format!("cargo sim {command} {from}{mutant} {flags}").trim_end().to_owned()
            })
            .to_vec()
    }
}
