//! Who belongs to the cluster. Whoever is added here never starts: how members join and go is shown in `tests/member`.

use quorate::pb::etcdserverpb as pb;
use tonic::Code;

use crate::server::{Served, error, refused, soon};

fn url(port: u32) -> Vec<String> {
    vec![format!("http://127.0.0.1:{port}")]
}

async fn learner(served: &Served, port: u32) -> pb::MemberAddResponse {
    let request = pb::MemberAddRequest { peer_ur_ls: url(port), is_learner: true };
    soon("the addition", served.cluster().member_add(request)).await.unwrap().into_inner()
}

/// Covers Cluster/MemberList, Cluster/MemberAdd; MemberListRequest: linearizable; MemberListResponse: header, members;
/// MemberAddRequest: peerURLs, isLearner; MemberAddResponse: header, member, members;
/// Member: ID, name, peerURLs, clientURLs, isLearner.
#[tokio::test]
async fn a_member_is_added_and_listed() {
    let served = Served::start().await;
    let list = async |linearizable| {
        let answer = served.cluster().member_list(pb::MemberListRequest { linearizable }).await;
        let answer = answer.unwrap().into_inner();
        let header = answer.header.unwrap();
        assert!(header.member_id == served.id() && header.cluster_id > 0 && header.raft_term > 0);
        answer.members
    };
    let alone = list(true).await;
    let [first] = &alone[..] else { panic!("{alone:?}") };
    assert_eq!((first.id, first.name.as_str(), first.is_learner), (served.id(), "m0", false));
    assert!(first.peer_ur_ls.len() == 1 && first.client_ur_ls.len() == 1, "{first:?}");
    assert!(first.peer_ur_ls[0].starts_with("http://127.0.0.1:") && first.peer_ur_ls != first.client_ur_ls);

    let own = pb::MemberAddRequest { peer_ur_ls: first.peer_ur_ls.clone(), is_learner: true };
    let own = refused(served.cluster().member_add(own).await);
    assert_eq!(own, error(Code::FailedPrecondition, "Peer URLs already exists"));
    let added = learner(&served, 9).await;
    assert_eq!(added.header.unwrap().member_id, served.id());
    let newcomer = added.member.unwrap();
    assert_eq!((&newcomer.peer_ur_ls, newcomer.is_learner, newcomer.name.as_str()), (&url(9), true, ""));
    assert!(newcomer.id != served.id() && newcomer.id != 0 && newcomer.client_ur_ls.is_empty());
    assert_eq!(added.members.len(), 2);
    for linearizable in [true, false] {
        let listed = list(linearizable).await;
        assert!(listed.contains(first) && listed.contains(&newcomer) && listed.len() == 2, "{listed:?}");
    }
    let two = pb::MemberAddRequest { peer_ur_ls: url(10), is_learner: true };
    let two = refused(served.cluster().member_add(two).await);
    assert_eq!(two, error(Code::FailedPrecondition, "too many learner members in cluster"));
    let nowhere = refused(served.cluster().member_add(pb::MemberAddRequest::default()).await);
    assert_eq!(nowhere.0, Code::InvalidArgument);
}

/// Covers Cluster/MemberUpdate; MemberUpdateRequest: ID, peerURLs; MemberUpdateResponse: header, members.
#[tokio::test]
async fn a_member_is_reached_elsewhere() {
    let served = Served::start().await;
    let id = learner(&served, 9).await.member.unwrap().id;
    let request = |id, port| pb::MemberUpdateRequest { id, peer_ur_ls: url(port) };
    let moved =
        soon("the change", served.cluster().member_update(request(id, 10))).await.unwrap().into_inner();
    assert_eq!(moved.header.unwrap().member_id, served.id());
    let listed = moved.members.iter().find(|member| member.id == id).unwrap();
    assert_eq!((&listed.peer_ur_ls, moved.members.len()), (&url(10), 2));
    let unknown = refused(served.cluster().member_update(request(77, 11)).await);
    assert_eq!(unknown, error(Code::NotFound, "member not found"));
}

/// Covers Cluster/MemberRemove; MemberRemoveRequest: ID; MemberRemoveResponse: header, members.
#[tokio::test]
async fn a_member_is_removed_for_good() {
    let served = Served::start().await;
    let id = learner(&served, 9).await.member.unwrap().id;
    let remove =
        async |id| soon("the removal", served.cluster().member_remove(pb::MemberRemoveRequest { id })).await;
    let left = remove(id).await.unwrap().into_inner();
    assert_eq!(left.header.unwrap().member_id, served.id());
    assert_eq!(left.members.iter().map(|member| member.id).collect::<Vec<_>>(), [served.id()]);
    assert_eq!(refused(remove(id).await), error(Code::NotFound, "member not found"));
    // Older servers do not answer to who comes back within the second.
    if served.speaks(7) {
        let again = learner(&served, 9).await.member.unwrap();
        assert_ne!(again.id, id, "no id is given twice");
    }
}

/// Covers Cluster/MemberPromote; MemberPromoteRequest: ID.
/// `member/membership` shows how one is promoted.
#[tokio::test]
async fn only_a_learner_that_keeps_up_is_promoted() {
    let served = Served::start().await;
    let id = learner(&served, 9).await.member.unwrap().id;
    let promote = async |id| refused(served.cluster().member_promote(pb::MemberPromoteRequest { id }).await);
    let behind = "can only promote a learner member which is in sync with leader";
    assert_eq!(promote(id).await, error(Code::FailedPrecondition, behind));
    let voter = promote(served.id()).await;
    assert_eq!(voter, error(Code::FailedPrecondition, "can only promote a learner member"));
    assert_eq!(promote(77).await, error(Code::NotFound, "member not found"));
}
