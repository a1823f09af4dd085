//! What a trace tells of the world up to some event: members, leader, open faults, operations under way.
//!
//! A fold over the trace's lines that keeps no line. It knows no more than the trace says: that a member is up, not
//! what is in its memory. Lines of a kind that it does not know change nothing.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use crate::trace::TraceHash;

/// What was seen of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    events: u64,
    at: u64,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Members' names by the ids that starts and ends carry: the cluster starts in the order of the plan.
    names: BTreeMap<String, String>,
    faults: BTreeMap<String, u64>,
    under_way: BTreeMap<String, String>,
    answered: u64,
    healed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Member {
    phase: String,
    starts: u64,
    disk_calls: u64,
    disk: TraceHash,
    revision: i64,
    term: u64,
}

/// The simulated time of a trace's line, nanoseconds.
pub fn time(line: &str) -> Option<u64> {
    line.split(' ').next()?.parse().ok()
}

impl Seen {
    /// Takes in the next line of a trace.
    pub fn take(&mut self, line: &str) {
        self.events += 1;
        let Some((at, what)) = line.split_once(' ') else { return };
        self.at = at.parse().unwrap_or(self.at);
        let (kind, rest) = what.split_once(' ').unwrap_or((what, ""));
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        match kind {
            "start" => {
                let next = format!("m{}", self.names.len() + 1);
                let name = self.names.entry(first.to_owned()).or_insert(next).clone();
                let member = self.members.entry(name).or_default();
                member.phase = "starting".to_owned();
                member.starts += 1;
            }
            "up" => self.member(first).phase = "up".to_owned(),
            "end" if first == "of" => {
                if let Some(open) = self.faults.get_mut(more) {
                    *open -= 1;
                }
                self.faults.retain(|_, open| *open > 0);
            }
            "end" => {
                if let Some(name) = self.names.get(first).cloned() {
                    self.member(&name).phase = format!("down, {more}");
                }
            }
            "leader" => self.leader = Some(first.to_owned()),
            "heal" => self.healed = true,
            "fault" => *self.faults.entry(first.to_owned()).or_default() += 1,
            "invoke" => {
                let mut words = more.split([' ', '(']);
                let client = words.next().unwrap_or_default();
                let request = words.nth(1).unwrap_or_default();
                self.under_way.insert(first.to_owned(), format!("{client} {request}"));
            }
            "return" => {
                self.under_way.remove(first);
                self.answered += 1;
                self.header(more);
            }
            "watched" => self.header(more),
            "disk" => {
                let member = self.member(first);
                member.disk_calls += 1;
                member.disk.write(more.as_bytes());
            }
            _ => {}
        }
    }

    fn member(&mut self, name: &str) -> &mut Member {
        self.members.entry(name.to_owned()).or_default()
    }

    /// What an answer's header tells of the member that gave it.
    fn header(&mut self, text: &str) {
        let number = |name: &str| -> Option<i64> {
            let (_, rest) = text.split_once(name)?;
            rest.split(')').next()?.parse().ok()
        };
        let Some(id) = number("member_id: MemberId(") else { return };
        let Some(name) = self.names.get(&format!("{id:x}")).cloned() else { return };
        let revision = number("revision: Revision(").unwrap_or(0);
        let term = number("raft_term: Term(").and_then(|term| u64::try_from(term).ok()).unwrap_or(0);
        let member = self.member(&name);
        member.revision = member.revision.max(revision);
        member.term = member.term.max(term);
    }

    /// The simulated time of the last event, nanoseconds.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What is known, each under a name, for people and for comparing.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let nobody = || "nobody so far".to_owned();
        let mut facts = BTreeMap::from([
            ("leader seen last".to_owned(), self.leader.clone().unwrap_or_else(nobody)),
            ("operations ended".to_owned(), self.answered.to_string()),
            ("under way".to_owned(), listed(self.under_way.iter().map(|(id, what)| format!("{id} {what}")))),
            ("open faults".to_owned(), listed(self.faults.keys().cloned())),
        ]);
        if self.healed {
            facts.insert("healed".to_owned(), "yes".to_owned());
        }
        for (name, member) in &self.members {
            let Member { phase, starts, disk_calls, revision, term, disk } = member;
            let calls = format!("{disk_calls} disk calls ({:08x})", disk.value() >> 96);
            facts.insert(
                name.clone(),
                format!("{phase}, {starts} starts, showed revision {revision} in term {term}, {calls}"),
            );
        }
        facts
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> BTreeMap<String, String> {
        let mut seen = Seen::default();
        lines.iter().for_each(|line| seen.take(line));
        seen.facts()
    }

    #[test]
    fn members_go_through_their_phases() {
        let facts = seen(&[
            "0 start a1",
            "0 start a2",
            "5 up m1",
            "7 leader m1",
            "8 fault power/one Some(MemberId(162)) 1 m2",
            "8 end a2 lost power",
            "9 disk m1 Write /data/x 0+0 0 true",
        ]);
        let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
        assert!(fact("m1").starts_with("up, 1 starts") && fact("m1").contains("1 disk calls"), "{facts:?}");
        assert!(fact("m2").starts_with("down, lost power"), "{facts:?}");
        assert_eq!(fact("leader seen last"), "m1");
        assert_eq!(fact("open faults"), "power/one");
    }

    #[test]
    fn operations_are_under_way_until_they_end_and_faults_open_until_they_do() {
        let invoke = "10 invoke #700001 c7 1 Put(Put { key: k07 })";
        let answer = "20 return #700001 Some(Ok { header: Header { cluster_id: ClusterId(193), member_id: \
                      MemberId(162), revision: Revision(3), raft_term: Term(2) }, response: Put(PutResponse) })";
        let facts = seen(&["0 start a1", "0 start a2", "1 fault kill/one x", invoke]);
        assert_eq!(facts.get("under way").map(String::as_str), Some("#700001 c7 Put"));
        assert_eq!(facts.get("open faults").map(String::as_str), Some("kill/one"));
        let facts =
            seen(&["0 start a1", "0 start a2", "1 fault kill/one x", invoke, answer, "21 end of kill/one"]);
        assert_eq!(facts.get("under way").map(String::as_str), Some("none"));
        assert_eq!(facts.get("open faults").map(String::as_str), Some("none"));
        assert!(facts.get("m2").is_some_and(|member| member.contains("revision 3 in term 2")), "{facts:?}");
    }

    #[test]
    fn a_disk_call_with_other_bytes_is_another_state() {
        let one = seen(&["9 disk m1 Write /data/x 0+0 0 true"]);
        assert_ne!(one, seen(&["9 disk m1 Write /data/x 0+0 1 true"]));
        assert_eq!(one, seen(&["9 disk m1 Write /data/x 0+0 0 true"]));
    }
}
