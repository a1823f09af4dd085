//! The contract while nothing fails: atomic batches, order, ranges, views beside a writer, reopening.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::machine::persist::Bucket;
use quorate::storage::engine::{IntegrityReport, Opened, PageLimit};

use crate::on_all;
use crate::script::{Progress, apply_to, batch, content_of, contents_after, put, read_all, remove, run};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn a_batch_spans_buckets_and_later_writes_win() {
    on_all(|world| {
        let engine = world.engine();
        engine
            .apply(&[
                put(Bucket::Meta, b"k", b"meta"),
                put(Bucket::Records, b"k", b"first"),
                put(Bucket::Records, b"k", b"second"),
                put(Bucket::AuthRoles, b"gone", b"x"),
                remove(Bucket::AuthRoles, b"gone"),
                remove(Bucket::Alarms, b"never was"),
            ])
            .unwrap();
        let reader = engine.reader().unwrap();
        assert_eq!(reader.get(Bucket::Meta, b"k").unwrap(), Some(bytes("meta")));
        assert_eq!(reader.get(Bucket::Records, b"k").unwrap(), Some(bytes("second")));
        assert_eq!(reader.get(Bucket::Leases, b"k").unwrap(), None, "buckets do not mix");
        assert_eq!(reader.get(Bucket::AuthRoles, b"gone").unwrap(), None);
    });
}

#[test]
fn a_page_ends_with_the_pair_that_fills_it() {
    on_all(|world| {
        let engine = world.engine();
        for (key, bytes) in [("a", 9), ("b", 0), ("c", 500), ("d", 30), ("e", 9)] {
            engine.apply(&[put(Bucket::Records, key.as_bytes(), &vec![7; bytes])]).unwrap();
        }
        let reader = engine.reader().unwrap();
        // What the view saw counts, not what stands there now.
        engine.apply(&[put(Bucket::Records, b"c", b""), put(Bucket::Records, b"b", &[7; 900])]).unwrap();
        engine.apply(&[remove(Bucket::Records, b"d"), put(Bucket::Records, b"aa", b"new")]).unwrap();
        let keys = |from: &[u8], pairs_max: usize, bytes_max: usize| -> Vec<Bytes> {
            let page = reader.page(Bucket::Records, from, PageLimit { pairs_max, bytes_max }).unwrap();
            page.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(b"", 100, usize::MAX), ["a", "b", "c", "d", "e"].map(bytes));
        assert_eq!(keys(b"", 100, 1), ["a"].map(bytes));
        assert_eq!(keys(b"", 100, 10), ["a"].map(bytes), "full to the byte");
        assert_eq!(keys(b"", 100, 11), ["a", "b"].map(bytes));
        assert_eq!(keys(b"", 100, 12), ["a", "b", "c"].map(bytes), "the one that fills it is in it whole");
        assert_eq!(keys(b"", 2, 12), ["a", "b"].map(bytes));
        assert_eq!(keys(b"c", 100, 502), ["c", "d"].map(bytes));
        assert_eq!(keys(b"d", 100, 1_000), ["d", "e"].map(bytes));
        assert_eq!(keys(b"", 100, 0), Vec::<Bytes>::new());
    });
}

#[test]
fn ranges_are_ordered_bounded_and_stay_in_their_bucket() {
    on_all(|world| {
        let engine = world.engine();
        for key in ["m", "b", "", "z", "bb", "a"] {
            engine.apply(&[put(Bucket::Leases, key.as_bytes(), key.as_bytes())]).unwrap();
        }
        engine.apply(&[put(Bucket::Records, b"zz", b"below"), put(Bucket::Members, b"", b"above")]).unwrap();
        let reader = engine.reader().unwrap();
        let keys = |from: &[u8], limit: usize| -> Vec<Bytes> {
            reader.range(Bucket::Leases, from, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(b"", 100), ["", "a", "b", "bb", "m", "z"].map(bytes));
        assert_eq!(keys(b"", 2), ["", "a"].map(bytes));
        assert_eq!(keys(b"b", 100), ["b", "bb", "m", "z"].map(bytes));
        assert_eq!(keys(b"b\0", 2), ["bb", "m"].map(bytes));
        assert_eq!(keys(b"zz", 100), Vec::<Bytes>::new());
        assert_eq!(keys(b"", 0), Vec::<Bytes>::new());
    });
}

#[test]
fn big_and_empty_values_come_back_whole() {
    on_all(|world| {
        let engine = world.engine();
        let big: Vec<u8> = (0..1_572_864_u32).map(|i| i.to_le_bytes()[1] ^ i.to_le_bytes()[0]).collect();
        engine.apply(&[put(Bucket::Records, b"big", &big), put(Bucket::Records, b"empty", b"")]).unwrap();
        engine.flush().unwrap();
        let reader = engine.reader().unwrap();
        assert_eq!(reader.get(Bucket::Records, b"big").unwrap().unwrap(), big);
        assert_eq!(reader.get(Bucket::Records, b"empty").unwrap(), Some(Bytes::new()));
    });
}

#[test]
fn readers_see_their_moment_beside_a_writer() {
    on_all(|world| {
        let engine = world.engine();
        let contents = contents_after(60);
        let mut readers = Vec::new();
        for number in 1..=60 {
            engine.apply(&batch(number)).unwrap();
            if number % 10 == 0 {
                readers.push((number, engine.reader().unwrap()));
            }
            if number % 15 == 0 {
                engine.flush().unwrap();
            }
        }
        for (number, reader) in &readers {
            let expected = &contents[usize::try_from(*number).unwrap()];
            assert_eq!(&read_all(&**reader).unwrap(), expected, "a view of batch {number}");
            for ((bucket, key), value) in &contents[60] {
                let seen = reader.get(*bucket, key).unwrap();
                assert_eq!(seen.as_ref(), expected.get(&(*bucket, key.clone())), "{value:?}");
            }
        }
        drop(readers);
        assert_eq!(content_of(&*engine), contents[60]);
    });
}

#[test]
fn a_thread_of_batches_never_shows_half_of_one() {
    on_all(|world| {
        let engine = world.engine();
        engine.apply(&[put(Bucket::Meta, b"n", b"0"), put(Bucket::Records, b"n", b"0")]).unwrap();
        let engine = &engine;
        let mut seen = BTreeSet::new();
        std::thread::scope(|scope| {
            let (looked, looks) = channel::<u32>();
            let writer = scope.spawn(move || {
                for number in 1..300_u32 {
                    // Held now and then until the batch before is seen, so that no scheduler keeps the reader away.
                    // One that has failed is gone, and holds nobody.
                    if number % 15 == 1 {
                        while looks.recv().is_ok_and(|last| last < number - 1) {}
                    }
                    let value = number.to_string();
                    let pair = [
                        put(Bucket::Meta, b"n", value.as_bytes()),
                        put(Bucket::Records, b"n", value.as_bytes()),
                        if number % 2 == 0 {
                            put(Bucket::Leases, b"odd", b"no")
                        } else {
                            remove(Bucket::Leases, b"odd")
                        },
                    ];
                    engine.apply(&pair).unwrap();
                }
            });
            let mut changed = Instant::now();
            while !writer.is_finished() {
                let reader = engine.reader().unwrap();
                let one = reader.get(Bucket::Meta, b"n").unwrap().unwrap();
                let number: u32 = std::str::from_utf8(&one).unwrap().parse().unwrap();
                let two = reader.range(Bucket::Records, b"", 10).unwrap();
                assert_eq!(two, [(bytes("n"), one)]);
                let odd = reader.range(Bucket::Leases, b"", 10).unwrap();
                let expected = usize::from(number.is_multiple_of(2) && number > 0);
                assert_eq!(odd.len(), expected, "as of batch {number}");
                if seen.insert(number) {
                    changed = Instant::now();
                }
                assert!(changed.elapsed() < PATIENCE, "nothing is seen behind batch {number}");
                // The writer may have ended.
                let _gone = looked.send(number);
            }
        });
        assert!(seen.len() >= 20, "the writer was held for each of them: {seen:?}");
    });
}

#[test]
fn a_clean_close_keeps_everything_and_the_sums_add_up() {
    on_all(|world| {
        let contents = contents_after(40);
        let engine = world.engine();
        run(&*engine, 1, 40, &mut Progress::default()).unwrap();
        engine.close().unwrap();
        assert!(engine.apply(&batch(41)).is_err(), "a closed engine takes nothing");
        assert!(engine.reader().is_err());
        drop(engine);

        let Opened::Existing(engine) = world.open().unwrap() else { panic!("it was there") };
        assert_eq!(content_of(&*engine), contents[40]);
        let pairs = u64::try_from(contents[40].len()).unwrap();
        let total: usize = contents[40].iter().map(|((_, key), value)| key.len() + value.len()).sum();
        let total = u64::try_from(total).unwrap();
        assert_eq!(engine.integrity_check().unwrap(), IntegrityReport { pairs, bytes: total });
        let size = engine.size().unwrap();
        assert_eq!(size.in_use_bytes, total);
        assert!(size.file_bytes >= size.in_use_bytes);
        let mut content = contents[40].clone();
        apply_to(&mut content, &batch(41));
        engine.apply(&batch(41)).unwrap();
        assert_eq!(content_of(&*engine), content);
    });
}

#[test]
fn an_engine_says_whether_it_was_there() {
    on_all(|world| {
        let Opened::Created(engine) = world.open().unwrap() else { panic!("it was not there") };
        assert_eq!(engine.name(), world.kind.to_string());
        engine.close().unwrap();
        drop(engine);
        assert!(matches!(world.open().unwrap(), Opened::Existing(_)));
    });
}

#[test]
fn a_view_outlives_its_engine() {
    on_all(|world| {
        let engine = world.engine();
        run(&*engine, 1, 20, &mut Progress::default()).unwrap();
        let reader = engine.reader().unwrap();
        drop(engine);
        assert_eq!(read_all(&*reader).unwrap(), contents_after(20)[20]);
    });
}
