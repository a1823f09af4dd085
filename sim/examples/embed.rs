//! How another project tests itself against a simulated cluster: a ticket office whose clerks draw numbers from one
//! counter, while members die, lose power and lose each other. One seed, one simulation:
//!
//! ```text
//! cargo sim-example embed -- 7
//! ```
//!
//! With the name of a planted bug behind the seed, it shows what this test would make of that bug.
//!
//! What must hold, whatever happens: no number is drawn twice, and the counter has counted every number drawn. The
//! office below knows nothing of the simulation. `docs/embedding.md` explains each step.

#[cfg(not(madsim))]
fn main() {
    eprintln!("this build cannot simulate: use `cargo sim-example embed`");
    std::process::exit(2);
}

#[cfg(madsim)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    if let Some(bug) = std::env::args().nth(2) {
        assert!(quorate_sim::embed::plant_bug(&bug), "no bug is called {bug:?}");
    }
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    let drawn = runtime.block_on(simulation::run())?;
    writeln!(std::io::stdout(), "seed {seed}: {drawn} tickets, none twice")?;
    Ok(())
}

/// The project's own code.
#[cfg(madsim)]
mod office {
    use std::time::Duration;

    use quorate_sim::embed::pb;
    use tonic::transport::{Channel, Endpoint};
    use tonic::{Code, Status};

    const COUNTER: &[u8] = b"tickets/next";

    /// Draws ticket numbers for one clerk.
    pub struct Office {
        members: Vec<String>,
        next: usize,
    }

    impl Office {
        /// An office that knows where its store's members are.
        pub fn new(members: Vec<String>) -> Office {
            Office { members, next: 0 }
        }

        fn channel(&self) -> Result<Channel, Status> {
            let member = self.members.get(self.next).cloned().unwrap_or_default();
            let endpoint =
                Endpoint::from_shared(member).map_err(|error| Status::internal(error.to_string()))?;
            Ok(endpoint.timeout(Duration::from_secs(2)).connect_lazy())
        }

        /// Draws a number; `None` when nobody can tell whether one was drawn, and none must be handed out.
        pub async fn draw(&mut self) -> Option<u64> {
            loop {
                match self.attempt().await {
                    Ok(Some(number)) => return Some(number),
                    // Another clerk was faster.
                    Ok(None) => {}
                    Err(Failure::Unknown) => return None,
                    Err(Failure::NothingDone) => {
                        self.next = (self.next + 1) % self.members.len();
                        madsim::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }

        async fn attempt(&self) -> Result<Option<u64>, Failure> {
            let mut kv = pb::kv_client::KvClient::new(self.channel().map_err(|_| Failure::NothingDone)?);
            let read = pb::RangeRequest { key: COUNTER.into(), ..Default::default() };
            let found = kv.range(read).await.map_err(|_| Failure::NothingDone)?.into_inner();
            let (count, at) = match found.kvs.first() {
                Some(pair) => (number(&pair.value), pair.mod_revision),
                None => (0, 0),
            };
            let unchanged = pb::Compare {
                key: COUNTER.into(),
                target: pb::compare::CompareTarget::Mod.into(),
                target_union: Some(pb::compare::TargetUnion::ModRevision(at)),
                ..Default::default()
            };
            let write = pb::PutRequest {
                key: COUNTER.into(),
                value: (count + 1).to_string().into_bytes().into(),
                ..Default::default()
            };
            let write = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(write)) };
            let txn = pb::TxnRequest { compare: vec![unchanged], success: vec![write], failure: Vec::new() };
            let answer = kv.txn(txn).await.map_err(|status| Failure::of_write(&status))?.into_inner();
            Ok(answer.succeeded.then_some(count + 1))
        }

        /// How many numbers were drawn, as the store knows it.
        pub async fn drawn(&mut self) -> u64 {
            loop {
                if let Ok(drawn) = self.count().await {
                    return drawn;
                }
                self.next = (self.next + 1) % self.members.len();
                madsim::time::sleep(Duration::from_millis(50)).await;
            }
        }

        async fn count(&self) -> Result<u64, Status> {
            let mut kv = pb::kv_client::KvClient::new(self.channel()?);
            let read = pb::RangeRequest { key: COUNTER.into(), ..Default::default() };
            let found = kv.range(read).await?.into_inner();
            Ok(found.kvs.first().map_or(0, |pair| number(&pair.value)))
        }
    }

    fn number(text: &[u8]) -> u64 {
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Why no number was drawn.
    enum Failure {
        NothingDone,
        Unknown,
    }

    impl Failure {
        /// A write that failed may have been made, unless the connection was refused.
        fn of_write(status: &Status) -> Failure {
            match status.code() {
                Code::Unavailable if status.message().contains("refused") => Failure::NothingDone,
                _ => Failure::Unknown,
            }
        }
    }
}

/// The project's test.
#[cfg(madsim)]
mod simulation {
    use std::collections::BTreeSet;
    use std::error::Error;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use madsim::rand::{Rng, thread_rng};
    use madsim::runtime::Handle;
    use madsim::time::sleep;
    use quorate_sim::embed::Cluster;

    use super::office::Office;

    const CLERKS: u8 = 4;
    const DRAWS_A_CLERK: u32 = 40;
    const FAULTS: u32 = 6;

    /// Simulates the office, and says how many tickets were handed out.
    pub async fn run() -> Result<usize, Box<dyn Error>> {
        let cluster = Cluster::builder().members(3).start().await?;
        let clerks: Vec<_> = (0..CLERKS)
            .map(|clerk| {
                // Every clerk sits at a host of its own.
                let host = Ipv4Addr::new(192, 168, 0, clerk + 1);
                let node = Handle::current().create_node().ip(host.into()).build();
                let mut office = Office::new(cluster.endpoints());
                node.spawn(async move {
                    let mut drawn = Vec::new();
                    let mut unknown = 0_u64;
                    for _ in 0..DRAWS_A_CLERK {
                        match office.draw().await {
                            Some(number) => drawn.push(number),
                            None => unknown += 1,
                        }
                        sleep(Duration::from_millis(100)).await;
                    }
                    (drawn, unknown, office.drawn().await)
                })
            })
            .collect();
        for _ in 0..FAULTS {
            strike(&cluster).await;
        }
        let (mut tickets, mut handed_out, mut unknown) = (BTreeSet::new(), 0_u64, 0_u64);
        let mut counted = 0;
        for clerk in clerks {
            let (drawn, unsure, seen) = clerk.await?;
            for number in drawn {
                assert!(tickets.insert(number), "ticket {number} was handed out twice");
                handed_out += 1;
            }
            unknown += unsure;
            // The last clerk to end has seen all of them.
            counted = counted.max(seen);
        }
        assert!(
            (handed_out..=handed_out + unknown).contains(&counted),
            "{counted} counted, {handed_out} drawn"
        );
        assert!(handed_out >= 100, "the office must get somewhere: {handed_out} drawn, {unknown} unknown");
        assert_eq!(cluster.findings(), Vec::<String>::new(), "the cluster itself is in order");
        Ok(tickets.len())
    }

    /// Breaks something, waits, and mends it.
    async fn strike(cluster: &Cluster) {
        sleep(Duration::from_millis(thread_rng().gen_range(200..1_000))).await;
        let member = cluster.leader().unwrap_or(0);
        match thread_rng().gen_range(0..4) {
            0 => cluster.kill(member),
            1 => cluster.power_loss(member),
            2 => cluster.partition(&[member]),
            _ => cluster.pause(member),
        }
        sleep(Duration::from_millis(thread_rng().gen_range(500..2_500))).await;
        cluster.restart(member);
        cluster.resume(member);
        cluster.heal();
        assert!(cluster.ready_within(Duration::from_secs(30)).await, "the cluster comes back");
    }
}
