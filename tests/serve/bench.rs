//! The load generator against a member: it asks what it is told to, counts it, and says what it cost.

use serde_json::Value;

use crate::program::{Ended, Program, free_ports};
use crate::{READY, ctl, parsed, start_alone};

/// Few keys, and little time.
const SMALL: [&str; 6] =
    ["--keys=50", "--clients=4", "--connections=2", "--duration=300ms", "--warm-up=50ms", "--quiet"];

fn bench(dir: &std::path::Path, client: u16, args: &[&str]) -> Ended {
    let endpoint = format!("--endpoints=127.0.0.1:{client}");
    Program::start(dir, &[&["bench", &endpoint], &SMALL[..], args].concat()).end()
}

fn measured(dir: &std::path::Path, client: u16, args: &[&str]) -> Value {
    parsed(&bench(dir, client, &[args, &["-w", "json"]].concat()).printed())
}

#[test]
fn a_load_is_carried_out_counted_and_paid_for() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(2);
    let mut member = start_alone(dir.path(), &ports, &[]);
    member.wait_for(READY);
    let filled = measured(dir.path(), ports[0], &["fill"]);
    assert_eq!((&filled["operations"], &filled["errors"]), (&50.into(), &Value::Object(Default::default())));
    let kept = ctl(dir.path(), ports[0], &["get", "--prefix", "bench/", "--count-only", "-w", "fields"]);
    assert!(kept.contains("\"Count\" : 50"), "{kept}");

    let pid = member.pid().to_string();
    let pids = format!("--pids={pid}");
    for work in [
        &["put"][..],
        &["txn-put", "--ops=3"],
        &["range"],
        &["range", "--page=10", "--serializable"],
        &["range", "--page=10", "--keys-only"],
        &["range", "--page=10", "--count-only"],
        &["mixed", "--reads=50"],
        &["keep-alive"],
        &["watch", "--watchers=5"],
        &["put", "--threads=2"],
    ] {
        let told = measured(dir.path(), ports[0], &[work, &[&pids]].concat());
        let operations = told["operations"].as_u64().unwrap();
        assert!(operations > 0 && told["errors"].as_object().unwrap().is_empty(), "{work:?}: {told}");
        assert!(told["latency_us"]["p50"].as_u64() <= told["latency_us"]["max"].as_u64(), "{told}");
        assert!(told["servers"][&pid]["resident_bytes"].as_u64() > Some(1 << 20), "{told}");
        let keys_read = told["keys_read"].as_u64().unwrap();
        match work {
            ["range"] => assert_eq!(keys_read, operations, "{told}"),
            ["range", .., "--count-only"] => assert_eq!(keys_read, 0, "{told}"),
            ["range", ..] => assert_eq!(keys_read, 10 * operations, "{told}"),
            // Each of the five is told of every write; of the last ones perhaps behind the end.
            ["watch", ..] => {
                let writes = told["writes"].as_u64().unwrap();
                assert!(writes > 0 && operations <= 5 * (writes + 4) && operations >= writes, "{told}");
            }
            _ => {}
        }
    }
    // Nothing but what was filled in was ever written.
    let kept = ctl(dir.path(), ports[0], &["get", "--prefix", "bench/", "--count-only", "-w", "fields"]);
    assert!(kept.contains("\"Count\" : 50"), "{kept}");

    let paced = measured(dir.path(), ports[0], &["put", "--rate=100"]);
    let (done, late) = (paced["operations"].as_u64().unwrap(), paced["unanswered"].as_u64().unwrap());
    assert!((29..=31).contains(&(done + late)), "due 100 times a second for 0.3 s: {paced}");
    let said = bench(dir.path(), ports[0], &["range", &pids]).printed();
    for words in
        ["range, linearizable: 4 clients", "rate  ", "p99.9 ", "us of CPU for each operation", "generator"]
    {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
}

#[test]
fn what_cannot_be_measured_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = free_ports(1)[0];
    for (args, words) in [
        (&["put", "--clients=1"][..], "are fewer than --connections"),
        (&["put", "--threads=3"], "are fewer than --threads"),
        (&["put", "--duration=soon"], "--duration \"soon\""),
        (&["put", "--duration=0s"], "nothing would be measured"),
        (&["put", "-w", "table"], "one of simple, json is wanted"),
        (&["put", "--pids=4294967295"], "process 4294967295"),
        (&["put", "--command-timeout=200ms", "--dial-timeout=100ms"], "deadline exceeded"),
    ] {
        let ended = bench(dir.path(), nobody, args);
        assert_ne!(ended.status.code(), Some(0), "{args:?}");
        assert!(ended.only_line().contains(words), "{args:?}: {:?}", ended.stderr);
    }
}
