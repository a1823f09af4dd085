//! The program `quorate-explore`: lists the models, searches one, or serves one to a browser.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::catalogue::{self, Entry};
use crate::planted::Planted;

/// Look at a model of the replicated state machine in the browser, or search all of it.
#[derive(Debug, Parser)]
#[command(name = "quorate-explore", version)]
pub struct Cli {
    /// The model; without one, all are listed.
    pub model: Option<String>,
    /// Where to serve the Explorer.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub address: SocketAddr,
    /// Plant a bug in the model: see the list.
    #[arg(long, value_name = "BUG", default_value = "nothing", hide_possible_values = true)]
    pub planted: Planted,
    /// Do not serve: search every state and print the figures; with a bug, the shortest way to a violation.
    #[arg(long)]
    pub check: bool,
}

impl Cli {
    /// Does what was asked. 0 when all is well, 1 when a model is violated, 2 when the request is wrong.
    pub fn obey(self) -> ExitCode {
        let Some(name) = &self.model else { return say(&list(), ExitCode::SUCCESS) };
        let Some(entry) = catalogue::find(name) else {
            return say(&format!("there is no model {name:?}\n{}", list()), ExitCode::from(2));
        };
        if self.planted != Planted::Nothing && !entry.planted.contains(&self.planted) {
            let text = format!("{} cannot be planted in {name}\n{}", self.planted, list());
            return say(&text, ExitCode::from(2));
        }
        if self.check {
            return check(entry, self.planted);
        }
        // The Explorer would panic.
        if let Err(error) = TcpListener::bind(self.address) {
            return say(&format!("{} cannot be served: {error}\n", self.address), ExitCode::from(2));
        }
        let text = format!(
            "{}: {}\nhttp://{}/ explores it; `Run to completion` there searches all states. Ctrl-C ends.\n",
            entry.name, entry.about, self.address
        );
        let said = say(&text, ExitCode::SUCCESS);
        (entry.explore)(self.planted, self.address);
        said
    }
}

fn check(entry: &Entry, planted: Planted) -> ExitCode {
    let began = Instant::now();
    if planted != Planted::Nothing {
        let Some(found) = (entry.hunt)(planted) else {
            return say(&format!("{}: {planted} is not noticed\n", entry.name), ExitCode::from(1));
        };
        let mut text = format!(
            "{}: {planted} violates {:?} in {} steps\n",
            entry.name,
            found.property,
            found.steps.len()
        );
        for (number, step) in (1..).zip(&found.steps) {
            // Writing to a string does not fail.
            let _written = writeln!(text, "{number:4}  {step}");
        }
        return say(&text, ExitCode::SUCCESS);
    }
    let figures = (entry.exhaust)(planted);
    let (states, steps, depth) = (figures.states, figures.steps, figures.depth);
    let secs = began.elapsed().as_secs_f32();
    let mut text = format!("{}: {states} states, {steps} steps, depth {depth}, {secs:.1} s\n", entry.name);
    for found in &figures.violated {
        let _written = writeln!(text, "VIOLATED {:?}: {}", found.property, found.steps.join(", "));
    }
    for missed in &figures.missed {
        let _written = writeln!(text, "NEVER REACHED {missed:?}");
    }
    let sound = figures.violated.is_empty() && figures.missed.is_empty();
    say(&text, if sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn list() -> String {
    let mut text = String::from("models, and the bugs that can be planted in each:\n");
    for entry in catalogue::ALL {
        let planted: Vec<String> = entry.planted.iter().map(Planted::to_string).collect();
        let _written =
            writeln!(text, "  {:<12} {}\n{:15}{}", entry.name, entry.about, "", planted.join(", "));
    }
    text
}

/// Prints; that nobody reads it is no failure.
fn say(text: &str, code: ExitCode) -> ExitCode {
    let _printed = io::stdout().write_all(text.as_bytes());
    let _flushed = io::stdout().flush();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn every_model_and_bug_is_listed() {
        let list = list();
        for entry in catalogue::ALL {
            assert!(list.contains(entry.name), "{}", entry.name);
            assert!(!entry.planted.is_empty(), "{} cannot be shown to fail", entry.name);
        }
        for bug in <Planted as clap::ValueEnum>::value_variants() {
            let held = catalogue::ALL.iter().any(|entry| entry.planted.contains(bug));
            assert_eq!(held, *bug != Planted::Nothing, "{bug}");
        }
    }
}
