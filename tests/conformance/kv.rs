//! Keys: ranges, puts, deletions, transactions, compactions.

use bytes::Bytes;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::pb::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::pb::etcdserverpb::request_op::Request as Op;
use quorate::pb::etcdserverpb::response_op::Response as Answer;
use quorate::pb::mvccpb::KeyValue;
use tonic::Code;

use crate::server::{Served, bytes, error, refused};

fn all() -> pb::RangeRequest {
    pb::RangeRequest { key: bytes("\0"), range_end: bytes("\0"), ..pb::RangeRequest::default() }
}

fn one(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), ..pb::RangeRequest::default() }
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..pb::PutRequest::default() }
}

fn keys(answer: &pb::RangeResponse) -> Vec<String> {
    answer.kvs.iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()).collect()
}

async fn range(served: &Served, request: pb::RangeRequest) -> pb::RangeResponse {
    let answer = served.kv().range(request).await.unwrap().into_inner();
    served.revision(answer.header);
    answer
}

/// Four keys whose order differs by what one sorts: `d` was made first, `c` was changed last and most often.
async fn four(served: &Served) {
    for (key, value) in [("d", "2"), ("a", "4"), ("c", "3"), ("b", "1"), ("b", "1"), ("c", "3"), ("c", "3")] {
        served.put(key, value).await;
    }
}

/// Covers KV/Range; RangeRequest: key, range_end, limit, revision, serializable, keys_only, count_only;
/// RangeResponse: header, kvs, more, count; KeyValue: key, value, create_revision, mod_revision, version, lease;
/// ResponseHeader: cluster_id, member_id, revision, raft_term.
#[tokio::test]
async fn a_range_gives_what_is_asked_for() {
    let served = Served::start().await;
    let before = range(&served, all()).await;
    assert_eq!((before.count, before.more, before.kvs.len()), (0, false, 0));
    let header = before.header.unwrap();
    assert!(header.cluster_id > 0 && header.member_id == served.id() && header.raft_term > 0);
    assert_eq!(header.revision, 1);
    let request = pb::LeaseGrantRequest { id: 9, ttl: 600 };
    served.lease().lease_grant(request).await.unwrap();
    four(&served).await;
    served.kv().put(pb::PutRequest { lease: 9, ..put("b", "leased") }).await.unwrap();

    let found = range(&served, one("b")).await;
    let pair = KeyValue {
        key: bytes("b"),
        create_revision: 5,
        mod_revision: 9,
        version: 3,
        value: bytes("leased"),
        lease: 9,
    };
    assert_eq!((found.kvs, found.count, found.more), (vec![pair], 1, false));
    assert_eq!(keys(&range(&served, all()).await), ["a", "b", "c", "d"]);
    assert_eq!(
        keys(&range(&served, pb::RangeRequest { range_end: bytes("d"), ..one("b") }).await),
        ["b", "c"]
    );
    assert_eq!(
        keys(&range(&served, pb::RangeRequest { range_end: bytes("\0"), ..one("c") }).await),
        ["c", "d"]
    );
    assert_eq!(range(&served, pb::RangeRequest { range_end: bytes("a"), ..one("b") }).await.count, 0);

    let some = range(&served, pb::RangeRequest { limit: 3, ..all() }).await;
    assert_eq!((keys(&some).len(), some.more, some.count), (3, true, 4));
    let just = range(&served, pb::RangeRequest { limit: 4, ..all() }).await;
    assert_eq!((keys(&just).len(), just.more, just.count), (4, false, 4));
    let old = range(&served, pb::RangeRequest { revision: 3, ..all() }).await;
    assert_eq!((keys(&old), old.count, old.header.unwrap().revision), (vec!["a".into(), "d".into()], 2, 9));
    let local = range(&served, pb::RangeRequest { serializable: true, ..all() }).await;
    assert_eq!(keys(&local).len(), 4);
    let bare = range(&served, pb::RangeRequest { keys_only: true, ..all() }).await;
    assert!(
        bare.kvs.iter().all(|pair| pair.value.is_empty() && pair.mod_revision > 0) && bare.kvs.len() == 4
    );
    let counted = range(&served, pb::RangeRequest { count_only: true, limit: 1, ..all() }).await;
    assert_eq!((counted.count, counted.kvs.len()), (4, 0));
    let future = served.kv().range(pb::RangeRequest { revision: 10, ..all() }).await;
    assert_eq!(refused(future), error(Code::OutOfRange, "mvcc: required revision is a future revision"));
    let empty = served.kv().range(one("")).await;
    assert_eq!(refused(empty), error(Code::InvalidArgument, "key is not provided"));
}

/// Covers RangeRequest: sort_order, sort_target; RangeRequest.SortOrder: NONE, ASCEND, DESCEND;
/// RangeRequest.SortTarget: KEY, VERSION, CREATE, MOD, VALUE.
#[tokio::test]
async fn a_range_is_sorted_by_any_property_in_either_direction() {
    let served = Served::start().await;
    four(&served).await;
    for (target, order) in [
        (SortTarget::Key, ["a", "b", "c", "d"]),
        (SortTarget::Create, ["d", "a", "c", "b"]),
        (SortTarget::Mod, ["d", "a", "b", "c"]),
        (SortTarget::Value, ["b", "d", "c", "a"]),
    ] {
        let by = |order: SortOrder| pb::RangeRequest {
            sort_order: order.into(),
            sort_target: target.into(),
            ..all()
        };
        assert_eq!(keys(&range(&served, by(SortOrder::Ascend)).await), order, "{target:?}");
        let mut backwards = order;
        backwards.reverse();
        assert_eq!(keys(&range(&served, by(SortOrder::Descend)).await), backwards, "{target:?}");
        // A target alone sorts upwards.
        assert_eq!(keys(&range(&served, by(SortOrder::None)).await), order, "{target:?}");
        let first = range(&served, pb::RangeRequest { limit: 1, ..by(SortOrder::Descend) }).await;
        assert_eq!((keys(&first), first.more, first.count), (vec![backwards[0].to_owned()], true, 4));
    }
    let by_version = pb::RangeRequest {
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Version.into(),
        ..all()
    };
    let versions: Vec<i64> = range(&served, by_version).await.kvs.iter().map(|pair| pair.version).collect();
    assert_eq!(versions, [3, 2, 1, 1]);
    if served.speaks(6) {
        let unknown = served.kv().range(pb::RangeRequest { sort_order: 9, ..all() }).await;
        assert_eq!(refused(unknown), error(Code::InvalidArgument, "invalid sort option"));
    }
}

/// Covers RangeRequest: min_mod_revision, max_mod_revision, min_create_revision, max_create_revision.
#[tokio::test]
async fn a_range_leaves_out_what_was_made_or_changed_outside_the_bounds() {
    let served = Served::start().await;
    four(&served).await;
    // Made at 2 (d), 3 (a), 4 (c), 5 (b); changed last at 2, 3, 8, 6.
    let none = pb::RangeRequest::default;
    for (bounds, want) in [
        (pb::RangeRequest { min_mod_revision: 6, ..none() }, vec!["b", "c"]),
        (pb::RangeRequest { max_mod_revision: 6, ..none() }, vec!["a", "b", "d"]),
        (pb::RangeRequest { min_mod_revision: 3, max_mod_revision: 7, ..none() }, vec!["a", "b"]),
        (pb::RangeRequest { min_create_revision: 4, ..none() }, vec!["b", "c"]),
        (pb::RangeRequest { max_create_revision: 3, ..none() }, vec!["a", "d"]),
        (pb::RangeRequest { min_create_revision: 3, max_create_revision: 4, ..none() }, vec!["a", "c"]),
        (pb::RangeRequest { min_create_revision: 3, max_mod_revision: 6, ..none() }, vec!["a", "b"]),
    ] {
        let request = pb::RangeRequest { key: bytes("\0"), range_end: bytes("\0"), ..bounds };
        let found = range(&served, request.clone()).await;
        assert_eq!(
            (keys(&found), found.count),
            (want.iter().map(|key| (*key).to_owned()).collect(), 4),
            "{request:?}"
        );
    }
}

/// Covers KV/RangeStream; RangeStreamResponse: range_response.
#[tokio::test]
async fn a_range_that_is_streamed_adds_up_to_the_range() {
    let Some(served) = Served::at_level(7).await else { return };
    four(&served).await;
    let whole = range(&served, pb::RangeRequest { limit: 3, ..all() }).await;
    let request = pb::RangeRequest { limit: 3, ..all() };
    let mut pieces = served.kv().range_stream(request).await.unwrap().into_inner();
    let mut kvs = Vec::new();
    let mut last = None;
    while let Some(piece) = pieces.message().await.unwrap() {
        let piece = piece.range_response.unwrap();
        kvs.extend(piece.kvs.clone());
        last = Some(piece);
    }
    let last = last.unwrap();
    assert_eq!((kvs, last.count, last.more), (whole.kvs, whole.count, whole.more));
    assert_eq!(last.header, whole.header);
}

/// Covers KV/Put; PutRequest: key, value, lease, prev_kv, ignore_value, ignore_lease; PutResponse: header, prev_kv.
#[tokio::test]
async fn a_put_sets_all_or_keeps_what_it_is_told_to() {
    let served = Served::start().await;
    let mut kv = served.kv();
    for id in [5, 6] {
        served.lease().lease_grant(pb::LeaseGrantRequest { id, ttl: 600 }).await.unwrap();
    }
    let first = kv.put(pb::PutRequest { lease: 5, ..put("k", "1") }).await.unwrap().into_inner();
    assert_eq!((served.revision(first.header), first.prev_kv), (2, None));
    let first = kv.put(pb::PutRequest { prev_kv: true, ..put("new", "1") }).await.unwrap().into_inner();
    assert_eq!((served.revision(first.header), first.prev_kv), (3, None), "there was none before");
    let kept = pb::PutRequest { ignore_lease: true, prev_kv: true, ..put("k", "2") };
    let kept = kv.put(kept).await.unwrap().into_inner().prev_kv.unwrap();
    assert_eq!((kept.value, kept.lease, kept.version), (bytes("1"), 5, 1));
    let pair = range(&served, one("k")).await.kvs.remove(0);
    assert_eq!((pair.value, pair.lease, pair.version), (bytes("2"), 5, 2));
    kv.put(pb::PutRequest { ignore_value: true, lease: 6, ..put("k", "") }).await.unwrap();
    let pair = range(&served, one("k")).await.kvs.remove(0);
    assert_eq!((pair.value, pair.lease, pair.version), (bytes("2"), 6, 3));
    kv.put(put("k", "3")).await.unwrap();
    assert_eq!(range(&served, one("k")).await.kvs[0].lease, 0, "a lease is set anew each time");

    let invalid = |text| error(Code::InvalidArgument, text);
    assert_eq!(refused(kv.put(put("", "v")).await), invalid("key is not provided"));
    let both = pb::PutRequest { ignore_value: true, ..put("k", "v") };
    assert_eq!(refused(kv.put(both).await), invalid("value is provided"));
    let both = pb::PutRequest { ignore_lease: true, lease: 5, ..put("k", "v") };
    assert_eq!(refused(kv.put(both).await), invalid("lease is provided"));
    for nothing in [
        pb::PutRequest { ignore_value: true, ..put("x", "") },
        pb::PutRequest { ignore_lease: true, ..put("x", "v") },
    ] {
        assert_eq!(refused(kv.put(nothing).await), invalid("key not found"));
    }
    let missing = pb::PutRequest { lease: 77, ..put("k", "v") };
    assert_eq!(refused(kv.put(missing).await), error(Code::NotFound, "requested lease not found"));
}

/// Covers KV/DeleteRange; DeleteRangeRequest: key, range_end, prev_kv; DeleteRangeResponse: header, deleted, prev_kvs.
#[tokio::test]
async fn a_deletion_says_how_many_went_and_which() {
    let served = Served::start().await;
    four(&served).await;
    let mut kv = served.kv();
    let delete = |key: &str, end: &str, prev_kv| pb::DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        prev_kv,
    };
    let gone = kv.delete_range(delete("a", "", false)).await.unwrap().into_inner();
    assert_eq!((served.revision(gone.header), gone.deleted, gone.prev_kvs.len()), (9, 1, 0));
    let none = kv.delete_range(delete("a", "", true)).await.unwrap().into_inner();
    assert_eq!(
        (served.revision(none.header), none.deleted, none.prev_kvs.len()),
        (9, 0, 0),
        "nothing, so no revision"
    );
    let gone = kv.delete_range(delete("b", "d", true)).await.unwrap().into_inner();
    let went: Vec<(&[u8], i64)> = gone.prev_kvs.iter().map(|pair| (&pair.key[..], pair.version)).collect();
    assert_eq!((served.revision(gone.header), gone.deleted, went), (10, 2, vec![(&b"b"[..], 2), (b"c", 3)]));
    assert_eq!(keys(&range(&served, all()).await), ["d"]);
    assert_eq!(kv.delete_range(delete("\0", "\0", false)).await.unwrap().into_inner().deleted, 1);
    let empty = kv.delete_range(delete("", "", false)).await;
    assert_eq!(refused(empty), error(Code::InvalidArgument, "key is not provided"));
}

fn compare(result: CompareResult, target: CompareTarget, with: TargetUnion) -> pb::Compare {
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes("k"),
        target_union: Some(with),
        range_end: Bytes::new(),
    }
}

/// Covers Compare: result, target, key, version, create_revision, mod_revision, value, lease, range_end;
/// Compare.CompareResult: EQUAL, GREATER, LESS, NOT_EQUAL; Compare.CompareTarget: VERSION, CREATE, MOD, VALUE, LEASE;
/// TxnRequest: compare; TxnResponse: succeeded.
#[tokio::test]
async fn a_transaction_compares_any_property_in_any_way() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let served = Served::start().await;
    served.lease().lease_grant(pb::LeaseGrantRequest { id: 7, ttl: 600 }).await.unwrap();
    served.put("other", "m").await;
    served.put("k", "l").await;
    // Made at 3 and changed at 4: version 2.
    served.kv().put(pb::PutRequest { lease: 7, ..put("k", "m") }).await.unwrap();
    let holds = async |compare: pb::Compare| {
        let request = pb::TxnRequest { compare: vec![compare], ..pb::TxnRequest::default() };
        served.kv().txn(request).await.unwrap().into_inner().succeeded
    };
    type With = fn(i64) -> TargetUnion;
    let properties: [(CompareTarget, i64, With); 4] = [
        (CompareTarget::Version, 2, TargetUnion::Version),
        (CompareTarget::Create, 3, TargetUnion::CreateRevision),
        (CompareTarget::Mod, 4, TargetUnion::ModRevision),
        (CompareTarget::Lease, 7, TargetUnion::Lease),
    ];
    for (target, is, with) in properties {
        for (than, want) in [
            (is - 1, [false, true, false, true]),
            (is, [true, false, false, false]),
            (is + 1, [false, false, true, true]),
        ] {
            for (result, want) in [Equal, Greater, Less, NotEqual].into_iter().zip(want) {
                assert_eq!(
                    holds(compare(result, target, with(than))).await,
                    want,
                    "{target:?} {result:?} {than}"
                );
            }
        }
    }
    for (than, want) in [
        ("l", [false, true, false, true]),
        ("m", [true, false, false, false]),
        ("n", [false, false, true, true]),
    ] {
        for (result, want) in [Equal, Greater, Less, NotEqual].into_iter().zip(want) {
            let value = TargetUnion::Value(bytes(than));
            assert_eq!(holds(compare(result, CompareTarget::Value, value)).await, want, "{result:?} {than}");
        }
    }
    // Of a range, all must hold; of none, it does, but for values, which none has.
    let ranged = |key: &str, end: &str, compare: pb::Compare| pb::Compare {
        key: bytes(key),
        range_end: bytes(end),
        ..compare
    };
    let made = |revision| compare(Greater, CompareTarget::Create, TargetUnion::CreateRevision(revision));
    assert!(holds(ranged("k", "p", made(1))).await && !holds(ranged("k", "p", made(2))).await);
    let absent = compare(Equal, CompareTarget::Version, TargetUnion::Version(0));
    assert!(holds(ranged("x", "", absent.clone())).await && holds(ranged("x", "z", absent)).await);
    let valued = compare(NotEqual, CompareTarget::Value, TargetUnion::Value(bytes("v")));
    assert!(!holds(ranged("x", "", valued)).await);
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// Covers KV/Txn; TxnRequest: success, failure; TxnResponse: header, responses; RequestOp: request_range, request_put,
/// request_delete_range, request_txn; ResponseOp: response_range, response_put, response_delete_range, response_txn.
#[tokio::test]
async fn a_transaction_does_one_branch_whole_and_answers_each_step() {
    let served = Served::start().await;
    served.put("k", "1").await;
    let inner = pb::TxnRequest {
        compare: vec![compare(CompareResult::Equal, CompareTarget::Version, TargetUnion::Version(99))],
        success: vec![op(Op::RequestPut(put("never", "")))],
        failure: vec![op(Op::RequestPut(put("inner", "3")))],
    };
    let delete =
        pb::DeleteRangeRequest { key: bytes("k"), prev_kv: true, ..pb::DeleteRangeRequest::default() };
    let request = pb::TxnRequest {
        compare: vec![compare(CompareResult::Equal, CompareTarget::Version, TargetUnion::Version(1))],
        success: vec![
            op(Op::RequestPut(pb::PutRequest { prev_kv: true, ..put("new", "2") })),
            op(Op::RequestRange(one("new"))),
            op(Op::RequestDeleteRange(delete)),
            op(Op::RequestTxn(inner)),
        ],
        failure: vec![op(Op::RequestRange(one("k")))],
    };
    let answer = served.kv().txn(request.clone()).await.unwrap().into_inner();
    assert_eq!((served.revision(answer.header), answer.succeeded), (3, true), "all of it is one revision");
    let answers: Vec<Answer> =
        answer.responses.into_iter().map(|response| response.response.unwrap()).collect();
    let [
        Answer::ResponsePut(set),
        Answer::ResponseRange(found),
        Answer::ResponseDeleteRange(gone),
        Answer::ResponseTxn(nested),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(set.prev_kv, None);
    assert_eq!(
        (found.kvs[0].value.clone(), found.kvs[0].mod_revision),
        (bytes("2"), 3),
        "a step sees those before it"
    );
    assert_eq!((gone.deleted, gone.prev_kvs[0].value.clone()), (1, bytes("1")));
    assert!(!nested.succeeded && nested.responses.len() == 1);
    assert_eq!((served.get("inner").await, served.get("never").await), (Some(bytes("3")), None));

    let answer = served.kv().txn(request).await.unwrap().into_inner();
    assert_eq!((served.revision(answer.header), answer.succeeded), (3, false), "nothing was written");
    let [pb::ResponseOp { response: Some(Answer::ResponseRange(found)) }] = &answer.responses[..] else {
        panic!("{:?}", answer.responses)
    };
    assert_eq!(found.count, 0);
    let twice =
        pb::TxnRequest { success: vec![op(Op::RequestPut(put("k", ""))); 2], ..pb::TxnRequest::default() };
    assert_eq!(
        refused(served.kv().txn(twice).await),
        error(Code::InvalidArgument, "duplicate key given in txn request")
    );
}

/// Covers KV/Compact; CompactionRequest: revision, physical; CompactionResponse: header.
#[tokio::test]
async fn a_compaction_forgets_what_is_below_it() {
    let served = Served::start().await;
    four(&served).await;
    let mut kv = served.kv();
    for (revision, physical) in [(4, false), (6, true)] {
        let answer = kv.compact(pb::CompactionRequest { revision, physical }).await.unwrap().into_inner();
        assert_eq!(served.revision(answer.header), 8);
        let at = |revision| pb::RangeRequest { revision, ..all() };
        assert!(range(&served, at(revision)).await.count > 0);
        let compacted = error(Code::OutOfRange, "mvcc: required revision has been compacted");
        assert_eq!(refused(kv.range(at(revision - 1)).await), compacted);
        assert_eq!(refused(kv.compact(pb::CompactionRequest { revision, physical }).await), compacted);
    }
    let future = kv.compact(pb::CompactionRequest { revision: 9, physical: false }).await;
    assert_eq!(refused(future), error(Code::OutOfRange, "mvcc: required revision is a future revision"));
}
