//! The header oracle: one cluster, the member that was asked, and numbers that never fall in a member's life; nothing
//! is applied that is not in the log.
//!
//! Within one life of a member, whatever is asked after an answer came must be answered with no smaller revision, no
//! smaller term, and no smaller applied index. Revisions of serializable reads are covered by this. Where two lives
//! touch an operation, nobody can tell which one answered, and it is not judged.

use crate::history::{Header, History, MemberAsked, Response};
use crate::lives::Lives;
use crate::options::Options;
use crate::revision_order::Witness;
use crate::types::{ClusterId, MemberId, Nanos};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

struct Reading {
    asked: Nanos,
    answered: Nanos,
    value: i128,
    by: Witness,
}

type Readings = BTreeMap<(MemberId, Nanos), Vec<Reading>>;

/// Judges every header.
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    let mut violations = check_ids(history);
    let lives = Lives::new(history);
    let mut revisions = Readings::new();
    let mut terms = Readings::new();
    let mut applied = Readings::new();
    let note = |into: &mut Readings, member: MemberId, asked, answered, value: i128, by| {
        if let Some(life) = lives.serving(member, asked, answered) {
            into.entry((member, life)).or_default().push(Reading { asked, answered, value, by });
        }
    };
    for operation in &history.operations {
        let Some((header, response)) = operation.answer() else { continue };
        let (member, asked, answered) = (operation.member.id, operation.invoked, operation.returned);
        let by = Witness::Operation(operation.id);
        note(&mut revisions, member, asked, answered, header.revision.0.into(), by);
        note(&mut terms, member, asked, answered, header.raft_term.0.into(), by);
        if let Response::Status(status) = response {
            note(&mut applied, member, asked, answered, status.raft_applied_index.into(), by);
            if status.raft_index > 0 && status.raft_applied_index > status.raft_index {
                let sentence = format!(
                    "member {member} has applied entry {}, but its log ends with entry {}",
                    status.raft_applied_index, status.raft_index
                );
                violations.push(Violation::safety(Oracle::Header, sentence).operation(operation.id));
            }
        }
    }
    for watch in &history.watches {
        let Some(created) = watch.created() else { continue };
        let by = Witness::Watch(watch.id);
        let header = created.header;
        note(&mut revisions, watch.member.id, watch.invoked, created.at, header.revision.0.into(), by);
        note(&mut terms, watch.member.id, watch.invoked, created.at, header.raft_term.0.into(), by);
        if !watch.received.is_sorted_by_key(|response| response.header.raft_term) {
            let sentence = format!("the raft term fell between two responses of watch {}", watch.id);
            violations.push(Violation::safety(Oracle::Header, sentence).watch(watch.id));
        }
    }
    for (what, readings) in [("revision", revisions), ("raft term", terms), ("applied index", applied)] {
        for ((member, _), readings) in readings {
            violations.extend(first_fall(what, member, readings));
        }
    }
    violations.truncate(options.violations_max);
    violations
}

fn check_ids(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut cluster: Option<ClusterId> = None;
    let mut check = |header: &Header, asked: MemberAsked, by: Witness| {
        let known = *cluster.get_or_insert(header.cluster_id);
        let sentence = if header.cluster_id != known {
            format!("an answer names cluster {} in cluster {known}", header.cluster_id)
        } else if header.member_id != asked.id {
            format!("member {} was asked, but the answer names member {}", asked.id, header.member_id)
        } else {
            return;
        };
        violations.push(with(Violation::safety(Oracle::Header, sentence), by));
    };
    for operation in &history.operations {
        if let Some((header, _)) = operation.answer() {
            check(header, operation.member, Witness::Operation(operation.id));
        }
    }
    for watch in &history.watches {
        for response in &watch.received {
            check(&response.header, watch.member, Witness::Watch(watch.id));
        }
    }
    violations
}

/// The first reading that is smaller than one answered before it was asked for.
fn first_fall(what: &str, member: MemberId, mut readings: Vec<Reading>) -> Option<Violation> {
    readings.sort_by_key(|reading| (reading.asked, reading.by));
    let mut done: Vec<&Reading> = readings.iter().collect();
    done.sort_by_key(|reading| (reading.answered, reading.by));
    let mut done = done.into_iter().peekable();
    let mut largest: Option<&Reading> = None;
    for reading in &readings {
        while let Some(before) = done.next_if(|before| before.answered < reading.asked) {
            if largest.is_none_or(|largest| before.value > largest.value) {
                largest = Some(before);
            }
        }
        if let Some(before) = largest.filter(|before| before.value > reading.value) {
            let sentence = format!(
                "the {what} of member {member} fell from {} to {} within one life of its process",
                before.value, reading.value
            );
            return Some(with(with(Violation::safety(Oracle::Header, sentence), before.by), reading.by));
        }
    }
    None
}

fn with(violation: Violation, by: Witness) -> Violation {
    match by {
        Witness::Operation(id) => violation.operation(id),
        Witness::Watch(id) => violation.watch(id),
    }
}
