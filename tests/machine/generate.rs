//! Random commands over a small world, so that they meet each other often.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate::machine::command::*;
use quorate::machine::downgrade::DowngradeChange;
use quorate::types::{ApiLevel, KeyRange, LeaseId, MemberId, Revision, TtlSecs};

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "ba", "c", "d"]).prop_map(Bytes::from)
}

pub fn key_range() -> impl Strategy<Value = KeyRange> {
    let end = prop::sample::select(vec!["", "", "\0", "b", "bb", "d", "e"]);
    (key(), end).prop_map(|(key, end)| KeyRange::from_wire(key, end.into()))
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "x", "y", "longer"]).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1_i64..4).prop_map(LeaseId)
}

fn revision() -> impl Strategy<Value = Revision> {
    (0_i64..30).prop_map(Revision)
}

fn put() -> impl Strategy<Value = Put> {
    let maybe_lease = prop_oneof![4 => Just(LeaseId::NONE), 3 => lease()];
    (key(), value(), maybe_lease, any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.15))
        .prop_map(|(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { LeaseId::NONE } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

pub fn range() -> impl Strategy<Value = Range> {
    use {SortOrder as O, SortTarget as T};
    let order = prop::sample::select(vec![O::None, O::None, O::Ascend, O::Descend]);
    let target = prop::sample::select(vec![T::Key, T::Key, T::Version, T::Create, T::Mod, T::Value]);
    let bound = || prop_oneof![6 => Just(Revision(0)), 1 => revision()];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.15));
    (key_range(), 0_i64..5, bound(), (order, target), flags, (bound(), bound(), bound(), bound())).prop_map(
        |(range, limit, revision, (sort_order, sort_target), (keys_only, count_only), bounds)| Range {
            range,
            limit,
            revision,
            sort_order,
            sort_target,
            keys_only,
            count_only,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let target = prop_oneof![
        (0_i64..4).prop_map(CompareTarget::Version),
        (0_i64..12).prop_map(|revision| CompareTarget::Create(Revision(revision))),
        (0_i64..12).prop_map(|revision| CompareTarget::Mod(Revision(revision))),
        value().prop_map(CompareTarget::Value),
        (0_i64..3).prop_map(|lease| CompareTarget::Lease(LeaseId(lease))),
    ];
    let result = prop::sample::select(vec![Equal, Greater, Less, NotEqual]);
    (key_range(), result, target).prop_map(|(range, result, target)| Compare { range, result, target })
}

fn ops(nested: BoxedStrategy<Txn>) -> impl Strategy<Value = Vec<TxnOp>> {
    let op = prop_oneof![
        3 => put().prop_map(TxnOp::Put),
        2 => delete().prop_map(TxnOp::DeleteRange),
        2 => range().prop_map(TxnOp::Range),
        2 => nested.prop_map(TxnOp::Txn),
    ];
    vec(op, 0..4)
}

/// Transactions as clients may send them and others: the machine must cope with both.
pub fn txn() -> impl Strategy<Value = Txn> {
    let mut nested = Just(Txn::default()).boxed();
    for _ in 0..2 {
        let inner = nested;
        nested = (vec(compare(), 0..3), ops(inner.clone()), ops(inner))
            .prop_map(|(compares, success, failure)| Txn { compares, success, failure })
            .boxed();
    }
    nested
}

pub fn command() -> impl Strategy<Value = Command> {
    let ttl = || (1_i64..100).prop_map(TtlSecs);
    let kind = prop::sample::select(vec![AlarmKind::NoSpace, AlarmKind::Corrupt]);
    prop_oneof![
        12 => put().prop_map(Command::Put),
        5 => delete().prop_map(Command::DeleteRange),
        8 => txn().prop_map(Command::Txn),
        3 => revision().prop_map(|revision| Command::Compact(Compact { revision })),
        5 => (lease(), ttl()).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        2 => lease().prop_map(|id| Command::LeaseRevoke { id }),
        1 => vec(lease(), 0..3).prop_map(|ids| Command::LeaseExpire { ids }),
        1 => vec((lease(), ttl()), 0..3).prop_map(|remaining| Command::LeaseCheckpoint { remaining }),
        1 => (prop::bool::weighted(0.2), 0_u64..3, kind)
            .prop_map(|(raise, member, kind)| Command::Alarm { raise, member: MemberId(member), kind }),
        2 => member_change().prop_map(Command::ChangeMembers),
        1 => prop::option::of(0_u32..9).prop_map(|minor| Command::Downgrade(match minor {
            Some(minor) => DowngradeChange::Enable(ApiLevel { major: 3, minor }),
            None => DowngradeChange::Cancel,
        })),
        1 => (member(), lease()).prop_map(|(member, name)| Command::MemberAttributes {
            member: member.id,
            name: name.0.to_string(),
            client_urls: member.peer_urls,
        }),
        1 => vec(member(), 1..3).prop_map(|mut members| {
            members.sort_by_key(|member| member.id);
            members.dedup_by_key(|member| member.id);
            Command::Bootstrap { members }
        }),
        1 => Just(Command::Noop),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    (1_u64..5, 1_u8..6, any::<bool>()).prop_map(|(id, url, is_learner)| Member {
        id: MemberId(id),
        peer_urls: vec![format!("http://host{url}:2380")],
        is_learner,
        ..Member::default()
    })
}

fn member_change() -> impl Strategy<Value = MemberChange> {
    prop_oneof![
        3 => member().prop_map(MemberChange::Add),
        1 => member().prop_map(|member| MemberChange::Remove(member.id)),
        1 => member().prop_map(|Member { id, peer_urls, .. }| MemberChange::Update { member: id, peer_urls }),
        1 => member().prop_map(|member| MemberChange::Promote(member.id)),
        1 => (member(), 1_u64..9).prop_map(|(Member { id, peer_urls, .. }, by)| MemberChange::Replace {
            member: id,
            by: MemberId(by),
            peer_urls,
        }),
    ]
}
