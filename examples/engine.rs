//! Measures the state engines on this machine: loading, reading at random, writing again, and the space taken.
//!
//! `cargo run --release --example engine [records]`; 200,000 records of 512 bytes unless told otherwise. Each
//! figure is one run on whatever disk the temporary folder is on: compare the engines with one another, on one
//! machine, and nothing else. It does not measure a member, whose writes wait for the write-ahead log.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

#[cfg(not(madsim))]
mod measure {
    use std::error::Error;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Instant;

    use bytes::Bytes;
    use quorate::env::Disk;
    use quorate::env::real::RealDisk;
    use quorate::machine::persist::{Bucket, Write};
    use quorate::storage::engine::{Engine, EngineKind, EngineOptions, Identity, Opened, open_engine};
    use quorate::types::{ClusterId, MemberId};

    /// Bytes of a value.
    const VALUE_BYTES: usize = 512;
    /// Records in one batch, as a member's applier makes them under load.
    const BATCH_RECORDS: u64 = 100;
    /// Point reads.
    const READS: u64 = 100_000;

    /// A stream of numbers that is the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 24
        }
    }

    /// A record, of bytes that do not compress.
    fn record(number: u64, numbers: &mut Numbers) -> Write {
        let value: Vec<u8> = (0..VALUE_BYTES / 8).flat_map(|_| numbers.next().to_le_bytes()).collect();
        let key = Bytes::copy_from_slice(&number.to_be_bytes());
        Write { bucket: Bucket::Records, key, value: Some(Bytes::from(value)) }
    }

    /// Applies all records in batches and flushes; seconds taken.
    fn load(engine: &dyn Engine, records: u64, numbers: &mut Numbers) -> Result<f64, Box<dyn Error>> {
        let begun = Instant::now();
        let mut first = 0;
        while first < records {
            let batch: Vec<Write> =
                (first..records.min(first + BATCH_RECORDS)).map(|number| record(number, numbers)).collect();
            engine.apply(&batch)?;
            first += BATCH_RECORDS;
        }
        engine.flush()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn open(kind: EngineKind, dir: &Path) -> Result<Arc<dyn Engine>, Box<dyn Error>> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let owner = Identity { cluster: ClusterId(1), member: MemberId(1) };
        match open_engine(kind, &disk, dir, owner, EngineOptions::default())? {
            Opened::Created(engine) | Opened::Existing(engine) => Ok(engine),
            Opened::Untrusted { why } => Err(why.into()),
        }
    }

    fn one(kind: EngineKind, records: u64) -> Result<(), Box<dyn Error>> {
        let temp = tempfile::tempdir()?;
        let dir = temp.path().join("state");
        let engine = open(kind, &dir)?;
        let mut numbers = Numbers(1);
        let loaded = load(&*engine, records, &mut numbers)?;
        let size = engine.size()?.file_bytes;

        let reader = engine.reader()?;
        let begun = Instant::now();
        for _ in 0..READS {
            let key = (numbers.next() % records).to_be_bytes();
            if reader.get(Bucket::Records, &key)?.is_none() {
                return Err("a record is missing".into());
            }
        }
        let read = begun.elapsed().as_secs_f64();
        drop(reader);

        let rewritten = load(&*engine, records, &mut numbers)?;
        let size_after = engine.size()?.file_bytes;
        let begun = Instant::now();
        engine.close()?;
        let closed = begun.elapsed().as_secs_f64();
        drop(engine);
        let begun = Instant::now();
        drop(open(kind, &dir)?);
        let opened = begun.elapsed().as_secs_f64();

        let mib = |bytes: u64| bytes >> 20;
        let micros = read * 1e6 / f64::from(u32::try_from(READS)?);
        println!(
            "{kind}: load {loaded:.2} s, {} MiB; point read {micros:.1} us; overwrite {rewritten:.2} s, {} MiB; \
             close {closed:.2} s; open {opened:.2} s",
            mib(size),
            mib(size_after),
        );
        Ok(())
    }

    /// Measures each engine.
    pub fn run() -> Result<(), Box<dyn Error>> {
        let records = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
        println!("{records} records of {VALUE_BYTES} bytes, {BATCH_RECORDS} a batch");
        one(EngineKind::Redb, records)?;
        one(EngineKind::Sled, records)
    }
}

#[cfg(not(madsim))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure::run()
}

#[cfg(madsim)]
fn main() {}
