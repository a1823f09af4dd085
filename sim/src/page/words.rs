//! Requests, answers, watches and faults in a line each, as the page's bars and panels show them.

use std::fmt::Write as _;

use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Alarm, AlarmAction, Compare, CompareResult, CompareTarget, Downgrade, DowngradeAction, Event, EventKind,
    KeyValue, Operation, Outcome, Raised, Range, Request, Response, Txn, TxnOp, WatchCreate, WatchReceived,
};
use quorate_check::types::{LeaseId, Revision};

use crate::plan::Fault;
use crate::plan::ambush::Blow;
use crate::plan::fault::{DamageArea, Direction, DiskArea, DiskCall, LogMoment, Unseat};

/// Items of a list that are shown.
const ITEMS_MAX: usize = 12;
/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 40;

fn damaged(area: DamageArea) -> &'static str {
    match area {
        DamageArea::SealedLog => "a full log segment",
        DamageArea::LogTail => "the last log segment",
        DamageArea::Engine => "the state engine",
        DamageArea::EngineHead => "the head of the state engine",
    }
}

fn while_down(down: bool) -> &'static str {
    if down { " while it is down" } else { ", then killed" }
}

/// Items by commas, the first few of them.
fn listed<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let mut text = items.iter().take(ITEMS_MAX).map(show).collect::<Vec<_>>().join(", ");
    if let Some(more) = items.len().checked_sub(ITEMS_MAX).filter(|more| *more > 0) {
        // Writing into a string cannot fail.
        let _ = write!(text, ", and {more} more");
    }
    text
}

fn value(bytes: &Bytes) -> String {
    let text = bytes.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{}… ({} bytes)", text.get(..cut).unwrap_or_default(), bytes.len()),
        None => text,
    }
}

fn keys(key: &Bytes, end: &Bytes) -> String {
    match end.as_slice() {
        [] => key.to_string(),
        [0] if key.as_slice() == [0] => "everything".to_owned(),
        [0] => format!("{key} and beyond"),
        _ => format!("{key}..{end}"),
    }
}

fn pair(kv: &KeyValue) -> String {
    let lease = if kv.lease == LeaseId::NONE { String::new() } else { format!(" lease {}", kv.lease) };
    format!("{}={} (rev {}{lease})", kv.key, value(&kv.value), kv.mod_revision)
}

fn range(range: &Range) -> String {
    let mut text = format!("read {}", keys(&range.key, &range.range_end));
    let mut add = |holds: bool, word: String| {
        if holds {
            text.push_str(&word);
        }
    };
    add(range.revision.0 != 0, format!(" at rev {}", range.revision));
    add(range.limit != 0, format!(" limit {}", range.limit));
    add(range.serializable, " serializable".to_owned());
    add(range.keys_only, " keys only".to_owned());
    add(range.count_only, " count only".to_owned());
    add(range.min_mod_revision.0 != 0, format!(" modified since {}", range.min_mod_revision));
    add(range.max_mod_revision.0 != 0, format!(" modified until {}", range.max_mod_revision));
    add(range.min_create_revision.0 != 0, format!(" created since {}", range.min_create_revision));
    add(range.max_create_revision.0 != 0, format!(" created until {}", range.max_create_revision));
    text
}

fn compare(compare: &Compare) -> String {
    let relation = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "≠",
    };
    let (what, with) = match &compare.target {
        CompareTarget::Version(version) => ("version", version.to_string()),
        CompareTarget::Create(revision) => ("create rev", revision.to_string()),
        CompareTarget::Mod(revision) => ("mod rev", revision.to_string()),
        CompareTarget::Value(bytes) => ("value", value(bytes)),
        CompareTarget::Lease(lease) => ("lease", lease.to_string()),
    };
    format!("{what} of {} {relation} {with}", keys(&compare.key, &compare.range_end))
}

fn step(step: &TxnOp) -> String {
    match step {
        TxnOp::Put(put) => request(&Request::Put(put.clone())),
        TxnOp::Range(asked) => range(asked),
        TxnOp::DeleteRange(delete) => format!("delete {}", keys(&delete.key, &delete.range_end)),
        TxnOp::Txn(inner) => format!("({})", txn(inner)),
    }
}

fn txn(txn: &Txn) -> String {
    let nothing = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
    let success = nothing(listed(&txn.success, step));
    if txn.compare.is_empty() && txn.failure.is_empty() {
        return format!("txn {success}");
    }
    let conditions = nothing(listed(&txn.compare, compare));
    format!("txn if {conditions} then {success} else {}", nothing(listed(&txn.failure, step)))
}

/// What a client asked.
pub(super) fn request(request: &Request) -> String {
    match request {
        Request::Put(put) => {
            let with = if put.ignore_value { "its value".to_owned() } else { value(&put.value) };
            let lease =
                if put.lease == LeaseId::NONE { String::new() } else { format!(" lease {}", put.lease) };
            let keep = if put.ignore_lease { " keeping its lease" } else { "" };
            format!("put {} = {with}{lease}{keep}", put.key)
        }
        Request::Range(asked) => range(asked),
        Request::DeleteRange(delete) => format!("delete {}", keys(&delete.key, &delete.range_end)),
        Request::Txn(asked) => txn(asked),
        Request::Compact(compact) => format!("compact below rev {}", compact.revision),
        Request::LeaseGrant(grant) => format!("grant lease {} for {} s", grant.id, grant.ttl_secs),
        Request::LeaseRevoke(lease) => format!("revoke lease {}", lease.id),
        Request::LeaseKeepAlive(lease) => format!("keep lease {} alive", lease.id),
        Request::LeaseTimeToLive(lease) => format!("time to live of lease {}", lease.id),
        Request::LeaseLeases => "list leases".to_owned(),
        Request::Status => "status".to_owned(),
        Request::HashKv(hash) if hash.revision.0 == 0 => "hash".to_owned(),
        Request::HashKv(hash) => format!("hash at rev {}", hash.revision),
        Request::Alarm(asked) => alarm(asked),
        Request::Downgrade(asked) => downgrade(asked),
    }
}

fn alarm(asked: &Alarm) -> String {
    let kind = asked.kind.map_or("every".to_owned(), |kind| format!("{kind:?}"));
    match asked.action {
        AlarmAction::List => format!("list alarms of {kind} kind"),
        AlarmAction::Raise => format!("raise {kind} of member {}", asked.member),
        AlarmAction::Clear if asked.member.0 == 0 => format!("clear {kind} of all members"),
        AlarmAction::Clear => format!("clear {kind} of member {}", asked.member),
    }
}

fn raised(alarm: &Raised) -> String {
    format!("{:?} of member {}", alarm.kind, alarm.member)
}

fn downgrade(asked: &Downgrade) -> String {
    match asked.action {
        DowngradeAction::Validate => format!("could it be prepared for version {}", asked.version),
        DowngradeAction::Enable => format!("prepare for version {}", asked.version),
        DowngradeAction::Cancel => "be prepared for a lower version no longer".to_owned(),
    }
}

fn response(response: &Response) -> String {
    match response {
        Response::Put(put) => {
            put.prev_kv.as_ref().map_or("done".to_owned(), |kv| format!("was {}", pair(kv)))
        }
        Response::Range(found) if found.kvs.is_empty() => format!("{} keys", found.count),
        Response::Range(found) => format!("{} keys: {}", found.count, listed(&found.kvs, pair)),
        Response::DeleteRange(gone) if gone.prev_kvs.is_empty() => format!("{} deleted", gone.deleted),
        Response::DeleteRange(gone) => format!("{} deleted: {}", gone.deleted, listed(&gone.prev_kvs, pair)),
        Response::Txn(done) => {
            let branch = if done.succeeded { "then" } else { "else" };
            format!("{branch}: {}", listed(&done.responses, |inner| self::response(&inner.response)))
        }
        Response::Compact => "compacted".to_owned(),
        Response::LeaseGrant(lease) => format!("lease {} for {} s", lease.id, lease.ttl_secs),
        Response::LeaseRevoke => "revoked".to_owned(),
        Response::LeaseKeepAlive(lease) => format!("lease {} has {} s", lease.id, lease.ttl_secs),
        Response::LeaseTimeToLive(lease) => {
            format!("{} s of {} s left", lease.ttl_secs, lease.granted_ttl_secs)
        }
        Response::LeaseLeases(found) => {
            format!("{} leases: {}", found.leases.len(), listed(&found.leases, LeaseId::to_string))
        }
        Response::Status(status) => format!("applied {}", status.raft_applied_index),
        Response::HashKv(hash) => format!("hash {:08x} at rev {}", hash.hash, hash.hash_revision),
        Response::Alarm(told) if told.alarms.is_empty() => "no alarms".to_owned(),
        Response::Alarm(told) => listed(&told.alarms, raised),
        Response::Downgrade(told) => format!("version {}", told.version),
    }
}

/// What came of an operation.
pub(super) fn outcome(operation: &Operation) -> String {
    match &operation.outcome {
        Outcome::Ok { response: answer, .. } => response(answer),
        Outcome::Failed { message, .. } => message.clone(),
        Outcome::Unknown { reason } => reason.clone(),
    }
}

/// What a watch asked for.
pub(super) fn watch(create: &WatchCreate) -> String {
    let from = match create.start_revision {
        Revision(0) => "from now on".to_owned(),
        revision => format!("from rev {revision}"),
    };
    format!("watch {} {from}", keys(&create.key, &create.range_end))
}

fn event(event: &Event) -> String {
    match event.kind {
        EventKind::Put => pair(&event.kv),
        EventKind::Delete => format!("{} deleted (rev {})", event.kv.key, event.kv.mod_revision),
    }
}

/// A response of a watch.
pub(super) fn received(received: &WatchReceived) -> String {
    let what = if received.created {
        "created".to_owned()
    } else if received.canceled {
        format!("cancelled: {}", received.cancel_reason)
    } else if received.events.is_empty() {
        "progress".to_owned()
    } else {
        listed(&received.events, event)
    };
    if received.compact_revision.0 == 0 {
        what
    } else {
        format!("{what} (compacted {})", received.compact_revision)
    }
}

fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// What a fault does, beyond its name.
pub(super) fn fault(fault: &Fault) -> String {
    let way = |direction| match direction {
        Direction::Both => "both ways",
        Direction::In => "hears nothing",
        Direction::Out => "is not heard",
    };
    let calls = |call, area| {
        let call = match call {
            DiskCall::Write => "write",
            DiskCall::Sync => "sync",
            DiskCall::Name => "change of names",
        };
        match area {
            DiskArea::Any => call.to_owned(),
            DiskArea::Wal => format!("{call} of the log"),
        }
    };
    let then = |after: Option<u64>| after.map_or(String::new(), |ms| format!(", power lost {ms} ms after"));
    match *fault {
        Fault::Kill { .. } => "process killed".to_owned(),
        Fault::KillAll {} => "all processes killed".to_owned(),
        Fault::RollingRestart { down_ms } => {
            format!("processes killed one after the other, each down for {down_ms} ms")
        }
        Fault::KillInStart { after_ms, .. } => format!("killed, and again {after_ms} ms into its start"),
        Fault::PowerLoss { .. } => "power lost".to_owned(),
        Fault::PowerLossAll {} => "power lost everywhere".to_owned(),
        Fault::KillThenPowerLoss { after_ms, .. } => format!("killed, power lost {after_ms} ms after"),
        Fault::Pause { .. } => "process stands still".to_owned(),
        Fault::Isolate { direction, .. } => format!("cut off, {}", way(direction)),
        Fault::Split { side, direction } => {
            let members =
                (0..8).filter(|bit| u32::from(side) >> bit & 1 == 1).map(|bit| format!("m{}", bit + 1));
            format!("{} cut off, {}", members.collect::<Vec<_>>().join(" "), way(direction))
        }
        Fault::Bridge { .. } => "the others in two halves around it".to_owned(),
        Fault::Ring { .. } => "each hears only its neighbours in a ring".to_owned(),
        Fault::Flap { direction, period_ms, .. } => {
            format!("its links come and go every {period_ms} ms, {}", way(direction))
        }
        Fault::Swizzle { permille, .. } => {
            format!("{permille} of 1000 links cut one by one, and mended in another order")
        }
        Fault::SlowLink { other, direction, least_us, most_us, .. } => {
            let (least, most) = (milliseconds(least_us), milliseconds(most_us));
            format!("messages to other {other} take {least} to {most}, {}", way(direction))
        }
        Fault::LossyLink { other, direction, permille, .. } => {
            format!("{permille} of 1000 messages to other {other} lost, {}", way(direction))
        }
        Fault::Reset { every_ms, .. } => format!("its calls break every {every_ms} ms"),
        Fault::Copies { permille } => format!("{permille} of 1000 requests arrive twice"),
        Fault::ClientCut { client, direction, .. } => format!("cut off from {client}, {}", way(direction)),
        Fault::ClientReset { every_ms, .. } => format!("its clients' calls break every {every_ms} ms"),
        Fault::Loss { permille } => format!("{permille} of 1000 messages lost"),
        Fault::Delay { least_us, most_us } => {
            format!("messages take {} to {}", milliseconds(least_us), milliseconds(most_us))
        }
        Fault::ClockJump { by_ms, .. } => format!("monotonic clock jumps {by_ms} ms ahead"),
        Fault::ClockRate { ppm, .. } => format!("monotonic clock {ppm:+} ppm"),
        Fault::WallJump { by_ms, .. } => format!("wall clock {by_ms:+} ms"),
        Fault::DiskDeath { call, area, nth, power, power_after_ms, .. } => {
            let how = if power { "loses power" } else { "dies" };
            format!("{how} inside {} number {nth} from here{}", calls(call, area), then(power_after_ms))
        }
        Fault::DiskError { call, area, nth, power_after_ms, .. } => {
            format!("{} number {nth} from here fails{}", calls(call, area), then(power_after_ms))
        }
        Fault::MoveLeader { .. } => "leadership is to go there".to_owned(),
        Fault::AddMember { learner: true } => "a learner is added".to_owned(),
        Fault::AddMember { learner: false } => "a member is added".to_owned(),
        Fault::Guard {} => "clients are asked who they are".to_owned(),
        Fault::PromoteMember {} => "a learner gets its vote".to_owned(),
        Fault::RemoveMember { .. } => "member removed".to_owned(),
        Fault::ReplaceMember { .. } => "disk lost: member removed, another added".to_owned(),
        Fault::PowerLossInStall { stall_ms, .. } => {
            format!("next sync of the log stands still, power lost {stall_ms} ms later")
        }
        Fault::Ambush { member, place, nth, hold_ms, blow, .. } => {
            let struck = match blow {
                Blow::None => "",
                Blow::Kill => " and killed",
                Blow::Power => " and loses power",
                Blow::Isolate => " and cut off",
                Blow::StallLog => " while its log stands still, then loses power",
                Blow::FailSync => " before the names in its state are synced in vain, and later loses power",
            };
            let who = match member {
                None => format!("number {nth} to come to \"{}\"", place.0),
                Some(member) => format!("{member}, the time number {nth} that it comes to \"{}\",", place.0),
            };
            format!("{who} is held up {hold_ms} ms{struck}")
        }
        Fault::Succession { first, second, dwell_ms, gap_ms, .. } => {
            let falls = |how| match how {
                Unseat::Kill => "killed",
                Unseat::Isolate => "cut off",
                Unseat::Pause => "stands still",
            };
            let next = second.map_or("stays".to_owned(), |how| format!("{} after {dwell_ms} ms", falls(how)));
            format!("leader {}, its successor {next}, it comes back {gap_ms} ms later", falls(first))
        }
        Fault::DiskStall { call, .. } => format!("next {} stands still", calls(call, DiskArea::Any)),
        Fault::DiskFull { free_bytes, .. } => format!("disk full, {} KiB left", free_bytes >> 10),
        Fault::Rot { area, down, .. } => format!("{} rots{}", damaged(area), while_down(down)),
        Fault::RotBeyond { .. } => "a majority's logs rot: each must refuse to start".to_owned(),
        Fault::Unreadable { area, down, .. } => {
            format!("part of {} cannot be read{}", damaged(area), while_down(down))
        }
        Fault::DeathAfter { moment, nth, power } => {
            let how = if power { "loses power" } else { "dies" };
            match moment {
                LogMoment::Cut => {
                    format!("who first cuts its log {how} inside write number {nth} from there")
                }
                LogMoment::Recycled => {
                    format!(
                        "who first recycles all segments but one {how} inside write number {nth} from there"
                    )
                }
                LogMoment::Unused => format!("who first has an unused segment {how}"),
            }
        }
        Fault::LoseDisk { .. } => "power and all of the disk lost".to_owned(),
        Fault::DeathInRepair { call, nth, power } => {
            let how = if power { "loses power" } else { "dies" };
            let what = calls(call, DiskArea::Any);
            format!("who first begins to repair itself {how} inside {what} number {nth} from there")
        }
        Fault::WriteAstray { area, nth, lost, .. } => {
            let how = if lost { "is lost" } else { "lands elsewhere" };
            format!("{} number {nth} from here {how}, then power lost", calls(DiskCall::Write, area))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::history::Put;

    #[test]
    fn key_ranges_read_as_people_say_them() {
        let shown = |key: &[u8], end: &[u8]| keys(&Bytes::from(key), &Bytes::from(end));
        assert_eq!(shown(b"a", b""), "a");
        assert_eq!(shown(b"a", b"c"), "a..c");
        assert_eq!(shown(b"a", b"\0"), "a and beyond");
        assert_eq!(shown(b"\0", b"\0"), "everything");
    }

    #[test]
    fn long_values_are_cut_and_say_how_long_they_are() {
        let put = |value: &str| {
            request(&Request::Put(Put { key: "k".into(), value: value.into(), ..Put::default() }))
        };
        assert_eq!(put("v1"), "put k = v1");
        assert_eq!(put(&"x".repeat(600)), format!("put k = {}… (600 bytes)", "x".repeat(40)));
    }

    #[test]
    fn a_transaction_says_its_branches() {
        let write = TxnOp::Put(Put { key: "k".into(), value: "v".into(), ..Put::default() });
        let condition = Compare {
            key: "k".into(),
            range_end: Bytes::default(),
            result: CompareResult::NotEqual,
            target: CompareTarget::Version(1),
        };
        let asked = Txn { compare: vec![condition], success: vec![write], failure: Vec::new() };
        assert_eq!(txn(&asked), "txn if version of k ≠ 1 then put k = v else nothing");
    }
}
