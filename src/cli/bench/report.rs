//! What is printed of a load: for people, or as one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::args::{CommandLine, Shape, Work};
use super::process::Cost;
use super::tally::Tally;
use crate::cli::ctl::error::CtlError;

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Simple,
    /// One object.
    Json,
}

impl Format {
    /// The format of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Format, CtlError> {
        match name {
            "simple" => Ok(Format::Simple),
            "json" => Ok(Format::Json),
            other => Err(CtlError::bad_args(format!("--write-out {other}: one of simple, json is wanted"))),
        }
    }
}

/// A load that is over.
pub struct Report<'a> {
    /// What was asked for.
    pub line: &'a CommandLine,
    /// The same, checked.
    pub shape: &'a Shape,
    /// What came of it.
    pub tally: &'a Tally,
    /// What it has cost each server that was named.
    pub servers: Vec<(u32, Cost)>,
    /// What it has cost the generator.
    pub own: Cost,
}

impl Report<'_> {
    /// The report in a format.
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Simple => self.simple(),
            Format::Json => format!("{}\n", self.json()),
        }
    }

    fn loop_words(&self) -> String {
        match self.shape.rate {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop, {rate}/s"),
        }
    }

    fn simple(&self) -> String {
        let Report { shape, tally, servers, own, .. } = self;
        let mut text = format!(
            "{}: {} clients, {} connections, {}, {:.1} s\n",
            work_words(&self.line.work),
            shape.clients,
            shape.connections,
            self.loop_words(),
            tally.measured.as_secs_f64(),
        );
        let mut line = |words: String| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{words}");
        };
        let unit = self.unit();
        line(format!("rate       {:.0}/s, {} {unit}s", tally.rate(), tally.latencies.count()));
        if tally.writes > 0 {
            line(format!("writes     {}", tally.writes));
        }
        if tally.keys_read > 0 {
            line(format!("keys read  {}", tally.keys_read));
        }
        if !tally.latencies.is_empty() {
            let each =
                PERCENTILES.map(|(name, at)| format!("{name} {}", millis(tally.latencies.percentile(at))));
            let (mean, longest) = (millis(tally.latencies.mean()), millis(tally.latencies.longest()));
            line(format!("latency    mean {mean}  {}  max {longest}", each.join("  ")));
        }
        for (pid, cost) in servers {
            line(format!("server     {pid}: {}", self.cost(*cost)));
        }
        if let [_, _, ..] = servers.as_slice() {
            line(format!("servers    together: {}", self.cost(self.together())));
        }
        line(format!("generator  {}", self.cost(*own)));
        if tally.unanswered > 0 {
            line(format!("unanswered {} that were due before the end", tally.unanswered));
        }
        for (error, count) in &tally.errors {
            line(format!("error      {count} times {error}"));
        }
        text
    }

    fn cost(&self, cost: Cost) -> String {
        let each = self.tally.micros_each(cost.cpu);
        let (unit, mebibytes) = (self.unit(), cost.resident_bytes >> 20);
        format!("{each:.1} us of CPU for each {unit}, {mebibytes} MiB resident")
    }

    /// What is counted.
    fn unit(&self) -> &'static str {
        if matches!(self.line.work, Work::Watch { .. }) { "event" } else { "operation" }
    }

    fn together(&self) -> Cost {
        let sum = |what: fn(&Cost) -> u64| self.servers.iter().map(|(_, cost)| what(cost)).sum::<u64>();
        let cpu = self.servers.iter().map(|(_, cost)| cost.cpu).sum();
        Cost { cpu, resident_bytes: sum(|cost| cost.resident_bytes) }
    }

    fn json(&self) -> serde_json::Value {
        let Report { shape, tally, servers, own, .. } = self;
        let cost = |cost: &Cost| {
            json!({
                "cpu_us_per_operation": tally.micros_each(cost.cpu),
                "cpu_us": micros(cost.cpu),
                "resident_bytes": cost.resident_bytes,
            })
        };
        let latencies: serde_json::Map<String, serde_json::Value> = PERCENTILES
            .iter()
            .map(|(name, at)| ((*name).to_owned(), micros(tally.latencies.percentile(*at)).into()))
            .chain([
                ("mean".to_owned(), micros(tally.latencies.mean()).into()),
                ("max".to_owned(), micros(tally.latencies.longest()).into()),
            ])
            .collect();
        let each: serde_json::Map<String, serde_json::Value> =
            servers.iter().map(|(pid, spent)| (pid.to_string(), cost(spent))).collect();
        json!({
            "work": work_words(&self.line.work),
            "clients": shape.clients,
            "connections": shape.connections,
            "threads": shape.threads,
            "rate_asked": shape.rate,
            "keys": shape.keys,
            "key_size": shape.key_size,
            "value_size": shape.value_size,
            "seed": shape.seed,
            "measured_us": micros(tally.measured),
            "operations": tally.latencies.count(),
            "operations_per_second": tally.rate(),
            "writes": tally.writes,
            "keys_read": tally.keys_read,
            "latency_us": latencies,
            "unanswered": tally.unanswered,
            "errors": tally.errors,
            "servers": each,
            "servers_together": cost(&self.together()),
            "generator": cost(own),
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn work_words(work: &Work) -> String {
    match work {
        Work::Fill => "fill".to_owned(),
        Work::Put => "put".to_owned(),
        Work::KeepAlive => "keep-alive".to_owned(),
        Work::Watch { watchers } => format!("watch, {watchers} watchers"),
        Work::TxnPut { ops } => format!("txn-put of {ops}"),
        Work::Range(range) => {
            let what = match range {
                _ if range.count_only => "count",
                _ if range.keys_only => "keys",
                _ => "range",
            };
            let how = if range.serializable { "serializable" } else { "linearizable" };
            let page = if range.page > 1 { format!(", pages of {}", range.page) } else { String::new() };
            format!("{what}, {how}{page}")
        }
        Work::Mixed { reads, serializable } => {
            let how = if *serializable { "serializable" } else { "linearizable" };
            format!("mixed, {reads} % {how} reads")
        }
    }
}
