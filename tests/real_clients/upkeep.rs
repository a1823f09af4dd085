//! The real `etcdctl` looks after members: alarms, space, and what each says of itself.

use quorate::pb::etcdserverpb::alarm_request::AlarmAction;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::{AlarmRequest, AlarmType};
use serde_json::Value;

use crate::ctl::start;
use crate::etcdctl::Etcdctl;

/// Each member's status.
fn statuses(ctl: &Etcdctl) -> Vec<Value> {
    let output = ctl.run(&["endpoint", "status", "--cluster", "-w", "json"]);
    let all: Value = serde_json::from_str(&output).unwrap();
    all.as_array().unwrap().iter().map(|one| one["Status"].clone()).collect()
}

/// Raises an alarm of member 7, as a server does.
fn raise(endpoint: &str, alarm: AlarmType) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url =
            if endpoint.starts_with("http") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        let mut maintenance = MaintenanceClient::connect(url).await.unwrap();
        let action = AlarmAction::Activate.into();
        maintenance.alarm(AlarmRequest { action, member_id: 7, alarm: alarm.into() }).await.unwrap();
    });
}

#[test]
fn alarms_are_listed_stop_writes_and_are_disarmed() {
    let Some((_cluster, ctl)) = start() else { return };
    ctl.prints(&["alarm", "list"], "");
    ctl.prints(&["put", "a", "1"], "OK\n");
    for (alarm, name, refusal) in [
        (AlarmType::Nospace, "NOSPACE", "Error: etcdserver: mvcc: database space exceeded"),
        (AlarmType::Corrupt, "CORRUPT", "Error: etcdserver: corrupt cluster"),
    ] {
        raise(&ctl.endpoints[0], alarm);
        let line = format!("memberID:7 alarm:{name} \n");
        ctl.prints(&["alarm", "list"], &line);
        ctl.fails(&["put", "a", "2"], refusal);
        for member in ctl.each() {
            // A member that answers from what it has may not have heard of it yet: it reads with the cluster first.
            member.prints(&["get", "a"], "a\n1\n");
            let unwell = member.end(&["endpoint", "health"], "");
            assert_eq!(unwell.code, Some(1), "{unwell:?}");
            assert!(unwell.errors.contains(name), "{unwell:?}");
        }
        for status in statuses(&ctl) {
            assert!(status["errors"].to_string().contains(name), "{status}");
        }
        ctl.prints(&["alarm", "disarm"], &line);
        ctl.prints(&["alarm", "list"], "");
        ctl.prints(&["put", "a", "1"], "OK\n");
    }
    for status in statuses(&ctl) {
        assert_eq!(status["errors"], Value::Null, "{status}");
    }
}

#[test]
fn every_member_gives_space_back() {
    let Some((_cluster, ctl)) = start() else { return };
    let value = "x".repeat(60_000);
    for n in 0..60 {
        ctl.run_with(&["put", &format!("large{}", n % 3)], &value);
    }
    let revision = statuses(&ctl)[0]["header"]["revision"].to_string();
    ctl.run(&["compaction", &revision, "--physical"]);
    let defragmented = ctl.run(&["defrag", "--cluster"]);
    assert_eq!(defragmented.lines().count(), 3, "{defragmented}");
    for line in defragmented.lines() {
        assert!(line.starts_with("Finished defragmenting etcd member[http://"), "{line}");
    }
    for status in statuses(&ctl) {
        let number = |field: &str| status[field].as_u64().unwrap();
        assert!(number("dbSizeInUse") > 3 * 60_000, "three large values stay: {status}");
        assert!(number("dbSize") >= number("dbSizeInUse"), "{status}");
    }
    for member in ctl.each() {
        member.prints(&["get", "large1", "--print-value-only"], &format!("{value}\n"));
    }
    ctl.prints(&["put", "a", "after"], "OK\n");
}
