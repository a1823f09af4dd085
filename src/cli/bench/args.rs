//! The grammar of `quorate bench`.

use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::cli::ctl::args::Global;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::config::duration;

/// A load generator for any server of the etcd v3 API
#[derive(Debug, Parser)]
#[command(name = "quorate bench", disable_version_flag = true, disable_help_subcommand = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub global: Global,
    #[command(flatten)]
    pub load: LoadOptions,
    #[command(subcommand)]
    pub work: Work,
}

/// Who asks, how often, and about what.
#[derive(Clone, Debug, Args)]
pub struct LoadOptions {
    /// Connections, dealt out to the endpoints in turn
    #[arg(long, global = true, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Clients, dealt out to the connections in turn; each has one operation under way
    #[arg(long, global = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    /// Threads that make the load, each with connections and clients of its own
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// How long is measured
    #[arg(long, global = true, default_value = "10s")]
    pub duration: String,
    /// How long the load runs before that
    #[arg(long, global = true, default_value = "1s")]
    pub warm_up: String,
    /// Operations a second of all clients together, each due at its time (open loop); 0: each client asks when it was
    /// answered (closed loop)
    #[arg(long, global = true, default_value_t = 0)]
    pub rate: u64,
    /// How many keys there are
    #[arg(long, global = true, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Bytes of a key
    #[arg(long, global = true, default_value_t = 32, value_parser = clap::value_parser!(u32).range(26..=1024))]
    pub key_size: u32,
    /// Bytes of a value
    #[arg(long, global = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub value_size: u32,
    /// What the draws of keys begin with: the same number, the same keys
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
    /// Processes of the servers on this machine, comma-separated: their CPU and memory are measured
    #[arg(long, global = true, value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// No progress on standard error
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Work {
    /// Write every key once, in order: what reads and overwrites need; ends when it is done
    Fill,
    /// Write a key drawn at random
    Put,
    /// Write keys drawn at random in one transaction
    TxnPut {
        /// Keys in a transaction
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=128))]
        ops: u32,
    },
    /// Read
    Range(RangeWork),
    /// Renew a lease of the client's own, over one stream
    KeepAlive,
    /// Write keys drawn at random, and count how each write reaches those who watch all keys
    Watch {
        /// Watchers, each with a stream of its own, dealt out to the connections in turn
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        watchers: u32,
    },
    /// Read or write a key drawn at random
    Mixed {
        /// Reads, in a hundred
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=100))]
        reads: u32,
        /// Reads may be answered by any member from what it has
        #[arg(long)]
        serializable: bool,
    },
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct RangeWork {
    /// As many keys, beginning with one drawn at random
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub page: u32,
    /// Any member may answer from what it has
    #[arg(long)]
    pub serializable: bool,
    /// Keys without their values
    #[arg(long)]
    pub keys_only: bool,
    /// How many there are, and none of them
    #[arg(long)]
    pub count_only: bool,
}

/// The load, its options checked.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Connections.
    pub connections: u32,
    /// Clients.
    pub clients: u32,
    /// Threads.
    pub threads: u32,
    /// How long is measured.
    pub duration: Duration,
    /// How long the load runs before that.
    pub warm_up: Duration,
    /// Operations a second of all clients; none in a closed loop.
    pub rate: Option<u64>,
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// What draws begin with.
    pub seed: u64,
    /// Processes whose cost is measured.
    pub pids: Vec<u32>,
    /// Nothing is said meanwhile.
    pub quiet: bool,
    /// Since when times within the load count.
    pub epoch: Instant,
}

impl LoadOptions {
    /// The load that these options mean.
    ///
    /// # Errors
    /// Options that are no times, or do not stand together.
    pub fn shape(&self) -> Result<Shape, CtlError> {
        let time = |name: &str, text: &str| -> Result<Duration, CtlError> {
            duration::parse(text)
                .map_err(|why| CtlError::new(Exit::Error, format!("--{name} {text:?}: {why}")))
        };
        let (duration, warm_up) = (time("duration", &self.duration)?, time("warm-up", &self.warm_up)?);
        if duration.is_zero() {
            return Err(CtlError::bad_args("--duration: nothing would be measured"));
        }
        if self.clients < self.connections {
            let why = format!("--clients {} are fewer than --connections {}", self.clients, self.connections);
            return Err(CtlError::bad_args(why));
        }
        if self.connections < self.threads {
            let why = format!("--connections {} are fewer than --threads {}", self.connections, self.threads);
            return Err(CtlError::bad_args(why));
        }
        let bytes = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Shape {
            connections: self.connections,
            clients: self.clients,
            threads: self.threads,
            duration,
            warm_up,
            rate: (self.rate > 0).then_some(self.rate),
            keys: self.keys,
            key_size: bytes(self.key_size),
            value_size: bytes(self.value_size),
            seed: self.seed,
            pids: self.pids.clone(),
            quiet: self.quiet,
            epoch: Instant::now(),
        })
    }
}
