//! The product's log lines on standard error, with simulated time in front.
//!
//! Own and tiny: what a run prints must not change what it does, so nothing here reads a clock of the host, and
//! spans, which carry numbers of the process, are left out.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use quorate_check::types::Nanos;

use crate::replay::Window;

/// Which lines are wanted: a level, and others for single targets, as `info,quorate::raft=trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    level: Option<Level>,
    targets: Vec<(String, Option<Level>)>,
}

/// What the product's targets begin with.
const PRODUCT: &str = "quorate::";
/// What the consensus core's targets begin with; nearly all that there is to say of `raft`, it says.
const CORE: &str = "openraft::";
/// The module of the product that the consensus core belongs to.
const RAFT: &str = "raft";

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log level {0:?}: one of off, error, warn, info, debug, trace is wanted, or target=level, by commas")]
pub struct BadFilter(String);

fn level(text: &str) -> Result<Option<Level>, BadFilter> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| BadFilter(text.to_owned()))
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`BadFilter`].
    pub fn parse(text: &str) -> Result<Filter, BadFilter> {
        let mut filter = Filter { level: None, targets: Vec::new() };
        for part in text.split(',') {
            match part.split_once('=') {
                Some((target, wanted)) => filter.targets.push((target.to_owned(), level(wanted)?)),
                None => filter.level = level(part)?,
            }
        }
        // The longest target that fits decides.
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }

    /// Whether lines of this target and level are wanted.
    pub fn wants(&self, target: &str, of: Level) -> bool {
        // The product's own modules may be named without its name in front.
        let own = target.strip_prefix(PRODUCT).unwrap_or(target);
        let own = if target.starts_with(CORE) { RAFT } else { own };
        let fits = |prefix: &String| target.starts_with(prefix.as_str()) || own.starts_with(prefix.as_str());
        let named = self.targets.iter().find(|(prefix, _)| fits(prefix));
        named.map_or(self.level, |(_, level)| *level).is_some_and(|most| of <= most)
    }
}

/// Prints lines to standard error.
pub struct Printer {
    filter: Filter,
    window: Window,
    now: fn() -> Option<std::time::Duration>,
}

impl Printer {
    /// A printer of what happens in this part of the run; `now` is simulated time, where there is any.
    pub fn new(filter: Filter, window: Window, now: fn() -> Option<std::time::Duration>) -> Printer {
        Printer { filter, window, now }
    }
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.filter.wants(metadata.target(), *metadata.level())
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let now = (self.now)().unwrap_or_default();
        if !self.window.is_open(Nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        eprintln!(
            "{:>5}.{:06} {:5} {}:{}{}",
            now.as_secs(),
            now.subsec_micros(),
            metadata.level(),
            metadata.target(),
            line.message,
            line.fields
        );
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, " {value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_target_that_fits_decides() {
        let filter = Filter::parse("info,quorate=warn,quorate::raft=trace,openraft=off").unwrap();
        assert!(filter.wants("elsewhere", Level::INFO));
        assert!(!filter.wants("elsewhere", Level::DEBUG));
        assert!(!filter.wants("quorate::storage", Level::INFO));
        assert!(filter.wants("quorate::raft::core", Level::TRACE));
        assert!(!filter.wants("openraft::core", Level::ERROR));
        assert!(Filter::parse("loud").is_err());
        let filter = Filter::parse("raft=trace").unwrap();
        assert!(filter.wants("quorate::raft::core", Level::TRACE) && filter.wants("raft", Level::TRACE));
        assert!(filter.wants("openraft::core::tick", Level::TRACE), "the core speaks for raft");
        assert!(!filter.wants("quorate::storage", Level::ERROR));
    }
}
