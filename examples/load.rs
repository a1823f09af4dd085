//! A closed-loop load on any server of the API, and what it costs the servers.
//!
//! `cargo run --release --example load -- --endpoints http://127.0.0.1:2379 --work put --clients 256 --seconds 10
//! --pids 1234`: so many clients share the connections, each asks again as soon as it is answered. Printed are the
//! rate, the latencies, and the processor time that the named processes took per operation. To compare two
//! servers, run both on one machine with the same arguments, one after the other.

#![cfg_attr(not(madsim), allow(clippy::print_stdout, reason = "figures are what was asked for"))]

#[cfg(madsim)]
fn main() {}

#[cfg(not(madsim))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = <load::Options as clap::Parser>::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(load::run(&options))?;
    println!("{figures}");
    Ok(())
}

#[cfg(not(madsim))]
mod load {
    use std::cell::RefCell;
    use std::fmt;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use clap::{Parser, ValueEnum};
    use quorate::pb::etcdserverpb::kv_client::KvClient;
    use quorate::pb::etcdserverpb::{PutRequest, RangeRequest};
    use tonic::transport::{Channel, Endpoint};

    type Failure = Box<dyn std::error::Error>;

    /// What every client does.
    #[derive(Clone, Copy, Debug, ValueEnum)]
    pub enum Work {
        /// Write a key.
        Put,
        /// Read a key, linearizable.
        Get,
        /// Read a key from what the member has.
        SerializableGet,
    }

    /// The load.
    #[derive(Clone, Debug, Parser)]
    pub struct Options {
        /// Where clients connect, one after the other
        #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
        endpoints: Vec<String>,
        /// What each client does
        #[arg(long, value_enum, default_value = "put")]
        work: Work,
        /// Clients that each have one request open
        #[arg(long, default_value_t = 256)]
        clients: usize,
        /// Connections that they share
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// Keys that are written and read
        #[arg(long, default_value_t = 10_000)]
        keys: u64,
        /// Bytes of a value
        #[arg(long, default_value_t = 256)]
        value_bytes: usize,
        /// How long to measure, after a second of warming up
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Processes of the servers, for their processor time
        #[arg(long, value_delimiter = ',')]
        pids: Vec<u32>,
    }

    /// What was measured.
    pub struct Figures {
        operations: usize,
        failed: u64,
        taken: Duration,
        latencies: Vec<Duration>,
        cpu: Duration,
        resident_kib: u64,
    }

    #[derive(Default)]
    struct Tally {
        counting: bool,
        over: bool,
        latencies: Vec<Duration>,
        failed: u64,
    }

    /// Runs the load.
    pub async fn run(options: &Options) -> Result<Figures, Failure> {
        let mut channels = Vec::new();
        for endpoint in options.endpoints.iter().cycle().take(options.connections.max(1)) {
            channels.push(Endpoint::from_shared(endpoint.clone())?.tcp_nodelay(true).connect().await?);
        }
        let tally = Rc::new(RefCell::new(Tally::default()));
        let local = tokio::task::LocalSet::new();
        let clients = channels.iter().cycle().take(options.clients).enumerate();
        let tasks: Vec<_> = clients
            .map(|(number, channel)| {
                local.spawn_local(client(number, channel.clone(), options.clone(), tally.clone()))
            })
            .collect();
        local
            .run_until(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let cpu = cpu_of(&options.pids)?;
                let begin = Instant::now();
                tally.borrow_mut().counting = true;
                tokio::time::sleep(Duration::from_secs(options.seconds)).await;
                let (taken, cpu) = (begin.elapsed(), cpu_of(&options.pids)?.saturating_sub(cpu));
                tally.borrow_mut().over = true;
                let resident_kib = options.pids.iter().filter_map(|pid| resident_kib(*pid)).sum();
                for task in tasks {
                    task.await?;
                }
                let mut tally = tally.borrow_mut();
                let mut latencies = std::mem::take(&mut tally.latencies);
                latencies.sort_unstable();
                let (operations, failed) = (latencies.len(), tally.failed);
                Ok(Figures { operations, failed, taken, latencies, cpu, resident_kib })
            })
            .await
    }

    async fn client(number: usize, channel: Channel, options: Options, tally: Rc<RefCell<Tally>>) {
        let mut kv = KvClient::new(channel);
        let value = Bytes::from(vec![b'v'; options.value_bytes]);
        // Each client walks the keys from a place of its own, in steps that share no factor with their count.
        let mut at = u64::try_from(number).unwrap_or(0).wrapping_mul(7_919);
        while !tally.borrow().over {
            at = at.wrapping_add(104_729);
            let key = Bytes::from(format!("load-{:027}", at % options.keys));
            let begin = Instant::now();
            let answered = match options.work {
                Work::Put => {
                    let request = PutRequest { key, value: value.clone(), ..PutRequest::default() };
                    kv.put(request).await.map(drop)
                }
                Work::Get | Work::SerializableGet => {
                    let serializable = matches!(options.work, Work::SerializableGet);
                    kv.range(RangeRequest { key, serializable, ..RangeRequest::default() }).await.map(drop)
                }
            };
            let mut tally = tally.borrow_mut();
            if tally.counting && !tally.over {
                match answered {
                    Ok(()) => tally.latencies.push(begin.elapsed()),
                    Err(_) => tally.failed += 1,
                }
            }
        }
    }

    /// The processor time that these processes have taken so far.
    fn cpu_of(pids: &[u32]) -> Result<Duration, Failure> {
        // The kernel counts in hundredths of a second on every usual system.
        const TICK: Duration = Duration::from_millis(10);
        let mut ticks = 0_u32;
        for pid in pids {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
            ticks += times.sum::<Result<u32, _>>()?;
        }
        Ok(TICK * ticks)
    }

    fn resident_kib(pid: u32) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
    }

    impl fmt::Display for Figures {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            let count = u32::try_from(self.operations).unwrap_or(u32::MAX);
            let quantile = |permille: usize| {
                let at = (self.operations * permille / 1000).min(self.operations.saturating_sub(1));
                self.latencies.get(at).copied().unwrap_or_default()
            };
            write!(
                out,
                "{:.0}/s  p50 {:.2?}  p99 {:.2?}  p99.9 {:.2?}  failed {}  cpu {:.1} us/op  resident {} MiB",
                f64::from(count) / self.taken.as_secs_f64(),
                quantile(500),
                quantile(990),
                quantile(999),
                self.failed,
                self.cpu.as_secs_f64() * 1e6 / f64::from(count.max(1)),
                self.resident_kib / 1024,
            )
        }
    }
}
