//! What came over one watch, response by response, against what had to come.

use super::Ground;
use crate::history::{Event, KeyValue, Watch, WatchEnd, WatchReceived};
use crate::model::show;
use crate::types::Revision;
use crate::verdict::{Oracle, Violation};

struct Course<'a, 'h, 'w> {
    ground: &'w Ground<'a, 'h>,
    watch: &'w Watch,
    expected: &'w [&'a Event],
    start: Revision,
    /// How many of the expected events have come.
    delivered: usize,
    /// The largest revision delivered, and the largest bookmark.
    last: Revision,
    bookmark: Revision,
    /// The member's own compaction when the watch was made: below it nothing may come.
    compacted: Revision,
    /// The header's revision of the response whose last piece has not come.
    unfinished: Option<Revision>,
    canceled: bool,
}

/// How many of the expected events were delivered, if nothing was wrong with what came.
pub fn check<'a>(ground: &Ground<'a, '_>, watch: &Watch, expected: &[&'a Event]) -> Result<usize, Violation> {
    let Some((first, rest)) = watch.received.split_first() else { return Ok(0) };
    let broken = |sentence: String| Violation::safety(Oracle::Watch, sentence).watch(watch.id);
    if !first.created {
        return Err(broken(format!(
            "watch {} delivered something before it said that it was created",
            watch.id
        )));
    }
    if !first.events.is_empty() {
        return Err(broken(format!("the created response of watch {} carries events", watch.id)));
    }
    if first.canceled {
        if first.cancel_reason.is_empty() && first.compact_revision == Revision(0) {
            return Err(broken(format!("watch {} was refused without a reason", watch.id)));
        }
        if !rest.is_empty() {
            return Err(broken(format!("watch {} was refused and yet goes on", watch.id)));
        }
        return Ok(0);
    }
    let mut course = Course {
        ground,
        watch,
        expected,
        start: Ground::start(watch).unwrap_or_default(),
        delivered: 0,
        last: Revision(0),
        bookmark: Revision(0),
        compacted: ground.compacted_by(watch.member.id, watch.invoked, first.at),
        unfinished: None,
        canceled: false,
    };
    for response in rest {
        course.respond(first, response)?;
    }
    Ok(course.delivered)
}

impl Course<'_, '_, '_> {
    fn broken(&self, what: impl std::fmt::Display) -> Violation {
        Violation::safety(Oracle::Watch, format!("watch {} {what}", self.watch.id)).watch(self.watch.id)
    }

    fn respond(&mut self, created: &WatchReceived, response: &WatchReceived) -> Result<(), Violation> {
        if self.canceled {
            return Err(self.broken("delivered something after it was cancelled"));
        }
        if response.created {
            return Err(self.broken("said twice that it was created"));
        }
        let for_stream = response.watch_id == -1 && response.is_progress();
        if response.watch_id != created.watch_id && !for_stream {
            return Err(self.broken(format_args!("changed its id to {}", response.watch_id)));
        }
        if response.canceled {
            self.finished("its cancel")?;
            return self.cancel(response);
        }
        if response.is_progress() && self.unfinished.is_none() {
            return self.progress(response.header.revision);
        }
        self.deliver(response)
    }

    fn finished(&self, before: &str) -> Result<(), Violation> {
        let Some(revision) = self.unfinished else { return Ok(()) };
        Err(self
            .broken(format_args!(
                "left a response unfinished before {before}: a piece said that more follows"
            ))
            .at(revision))
    }

    fn deliver(&mut self, response: &WatchReceived) -> Result<(), Violation> {
        if response.fragment && !self.watch.create.fragment {
            return Err(self.broken("split a response although it was not asked to"));
        }
        let (Some(first), Some(last)) = (response.events.first(), response.events.last()) else {
            return Err(self.broken("sent an empty piece of a split response"));
        };
        let (first, last) = (first.kv.mod_revision, last.kv.mod_revision);
        if self.unfinished.is_some_and(|revision| revision != response.header.revision) {
            self.finished("the next")?;
        }
        if self.unfinished.is_none() && first == self.last {
            return Err(self.broken(format_args!("delivered revision {first} in two responses")).at(first));
        }
        if response.header.revision < last {
            return Err(self
                .broken(format_args!(
                    "delivered revision {last} under a header that says {}",
                    response.header.revision
                ))
                .at(last));
        }
        for event in &response.events {
            self.event(event, response)?;
        }
        self.unfinished = response.fragment.then_some(response.header.revision);
        if self.unfinished.is_none()
            && let Some(next) = self.expected.get(self.delivered)
            && next.kv.mod_revision == self.last
        {
            return Err(self
                .broken(format_args!(
                    "delivered only a part of revision {}: {} is missing",
                    self.last, next.kv.key
                ))
                .at(self.last));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, response: &WatchReceived) -> Result<(), Violation> {
        let revision = event.kv.mod_revision;
        if revision > self.ground.replayed.reached && !self.ground.replayed.complete {
            self.last = self.last.max(revision);
            return Ok(());
        }
        let own_compaction = self.compacted;
        if revision < own_compaction {
            let what = format_args!(
                "delivered revision {revision} below its member's compaction to {own_compaction}"
            );
            return Err(self.broken(what).at(revision));
        }
        match self.expected.get(self.delivered) {
            Some(want) if want.kind == event.kind && want.kv == event.kv => {
                self.previous(event, response)?;
                self.delivered += 1;
                self.last = revision;
                Ok(())
            }
            want => Err(self.wrong_event(want.copied(), event).at(revision)),
        }
    }

    /// The previous pair is right, and is there if and only if it was asked for; it may be missing once compacted.
    /// See [`Event::previous`].
    fn previous(&self, event: &Event, response: &WatchReceived) -> Result<(), Violation> {
        let revision = event.kv.mod_revision;
        let of_revision = self.ground.replayed.events.get(&revision);
        let wanted = of_revision.and_then(|events| event.previous(events));
        let wanted = wanted.filter(|_| self.watch.create.prev_kv);
        if event.prev_kv.as_ref() == wanted {
            return Ok(());
        }
        let may_be_compacted =
            self.ground.options.auto_compaction || self.ground.asked.until(response.at) >= revision;
        if event.prev_kv.is_none() && may_be_compacted {
            return Ok(());
        }
        let text = |kv: Option<&KeyValue>| kv.map_or("nothing".to_owned(), show);
        let what = format_args!(
            "gave a wrong previous value of {} at revision {revision}: expected {}, came {}",
            event.kv.key,
            text(wanted),
            text(event.prev_kv.as_ref())
        );
        Err(self.broken(what).at(revision))
    }

    fn wrong_event(&self, want: Option<&Event>, event: &Event) -> Violation {
        let revision = event.kv.mod_revision;
        let key = &event.kv.key;
        let same_place = |other: &&Event| other.kv.mod_revision == revision && other.kv.key == *key;
        if !self.watch.wants(event) {
            return self
                .broken(format_args!("delivered {key} at revision {revision}, which it did not ask for"));
        }
        if revision < self.start {
            let start = self.start;
            return self.broken(format_args!("delivered revision {revision} though it starts at {start}"));
        }
        let known = self.ground.replayed.events.get(&revision).into_iter().flatten().find(same_place);
        let Some(known) = known else {
            return self.broken(format_args!("delivered {key} at revision {revision}, which never happened"));
        };
        if known.kind != event.kind || known.kv != event.kv {
            return self.broken(format_args!(
                "delivered {:?} {} where {:?} {} happened",
                event.kind,
                show(&event.kv),
                known.kind,
                show(&known.kv)
            ));
        }
        if self.expected.iter().take(self.delivered).copied().any(|before| same_place(&before)) {
            return self.broken(format_args!("delivered {key} at revision {revision} again or out of order"));
        }
        match want {
            Some(want) => self.broken(format_args!(
                "went on to {key} at revision {revision} without {} at revision {}",
                want.kv.key, want.kv.mod_revision
            )),
            None => self.broken(format_args!("delivered {key} at revision {revision} beyond the end")),
        }
    }

    fn progress(&mut self, bookmark: Revision) -> Result<(), Violation> {
        if bookmark < self.bookmark {
            let before = self.bookmark;
            return Err(self
                .broken(format_args!("took its bookmark back from {before} to {bookmark}"))
                .at(bookmark));
        }
        self.bookmark = bookmark;
        match self.expected.get(self.delivered) {
            Some(next) if next.kv.mod_revision <= bookmark => {
                let what = format_args!(
                    "claims to be at revision {bookmark}, but {} of revision {} has not come",
                    next.kv.key, next.kv.mod_revision
                );
                Err(self.broken(what).at(bookmark))
            }
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, response: &WatchReceived) -> Result<(), Violation> {
        self.canceled = true;
        if !response.events.is_empty() {
            return Err(self.broken("delivered events with its cancel"));
        }
        let compacted = response.compact_revision;
        if compacted > Revision(0) {
            let next = self.start.max(self.last.next());
            if compacted <= next {
                let what = format_args!(
                    "was cancelled for compaction {compacted}, but it only needed revision {next} and above"
                );
                return Err(self.broken(what).at(compacted));
            }
            if !self.ground.options.auto_compaction && self.ground.asked.until(response.at) < compacted {
                let what = format_args!("was cancelled for compaction {compacted}, which nobody asked for");
                return Err(self.broken(what).at(compacted));
            }
            return Ok(());
        }
        let by_client = matches!(self.watch.end, WatchEnd::ClientCancel { .. });
        if !by_client && response.cancel_reason.is_empty() {
            return Err(self.broken("was cancelled without a reason"));
        }
        Ok(())
    }
}
