//! A scripted life of an engine whose content after each batch is known, so that what a crash leaves can be held
//! against "exactly batches 1..k".

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::machine::persist::{Bucket, Write};
use quorate::storage::engine::{Engine, EngineError, Reader, successor};

/// Everything an engine holds.
pub type Content = BTreeMap<(Bucket, Bytes), Bytes>;

/// Where each batch writes its own number.
pub const APPLIED: &[u8] = b"applied";

/// Numbers that depend on nothing but `of` and `salt`.
fn mix(of: u64, salt: u64) -> u64 {
    let mut x = of.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 32)
}

/// Batch `number` (from 1): inserts, overwrites and removals over several buckets; now and then a value that
/// spans many pages.
pub fn batch(number: u64) -> Vec<Write> {
    let mut writes = vec![put(Bucket::Meta, APPLIED, &number.to_be_bytes())];
    for salt in 0..6 {
        let draw = mix(number, salt);
        let bucket = [Bucket::Records, Bucket::Leases, Bucket::Dedupe][usize::try_from(draw % 3).unwrap()];
        let key = format!("key-{:03}", (draw >> 8) % 60);
        let value = match draw % 10 {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![u8::try_from(number % 251).unwrap(); 9_000]),
            _ => Some(format!("value {number} {salt} ").repeat(8).into_bytes()),
        };
        writes.push(Write { bucket, key: Bytes::from(key.into_bytes()), value: value.map(Bytes::from) });
    }
    writes
}

pub fn put(bucket: Bucket, key: &[u8], value: &[u8]) -> Write {
    Write { bucket, key: Bytes::copy_from_slice(key), value: Some(Bytes::copy_from_slice(value)) }
}

pub fn remove(bucket: Bucket, key: &[u8]) -> Write {
    Write { bucket, key: Bytes::copy_from_slice(key), value: None }
}

pub fn apply_to(content: &mut Content, writes: &[Write]) {
    for write in writes {
        let place = (write.bucket, write.key.clone());
        match &write.value {
            Some(value) => content.insert(place, value.clone()),
            None => content.remove(&place),
        };
    }
}

/// What an engine holds after batches 1..=k, for every k up to `last`.
pub fn contents_after(last: u64) -> Vec<Content> {
    let mut all = vec![Content::new()];
    for number in 1..=last {
        let mut next = all.last().unwrap().clone();
        apply_to(&mut next, &batch(number));
        all.push(next);
    }
    all
}

/// Everything a reader sees, in small steps.
pub fn read_all(reader: &dyn Reader) -> Result<Content, EngineError> {
    let mut content = Content::new();
    for bucket in Bucket::ALL {
        let mut from = Bytes::new();
        loop {
            let pairs = reader.range(bucket, &from, 7)?;
            let Some((last, _)) = pairs.last() else { break };
            from = successor(last);
            content.extend(pairs.into_iter().map(|(key, value)| ((bucket, key), value)));
        }
    }
    Ok(content)
}

pub fn content_of(engine: &dyn Engine) -> Content {
    read_all(&*engine.reader().unwrap()).unwrap()
}

/// The number of the last batch in `content`.
pub fn last_batch(content: &Content) -> u64 {
    content
        .get(&(Bucket::Meta, Bytes::from_static(APPLIED)))
        .map_or(0, |value| u64::from_be_bytes(value.as_ref().try_into().unwrap()))
}

/// What a script run got done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The last batch given to the engine, whatever became of it.
    pub given: u64,
    /// The last batch before a successful flush.
    pub flushed: u64,
}

/// Applies batches `from..=last`, flushing now and then.
pub fn run(engine: &dyn Engine, from: u64, last: u64, progress: &mut Progress) -> Result<(), EngineError> {
    for number in from..=last {
        progress.given = number;
        engine.apply(&batch(number))?;
        if number % 7 == 0 {
            engine.flush()?;
            progress.flushed = number;
        }
    }
    Ok(())
}
