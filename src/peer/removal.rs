//! How a member tells another one that the cluster has removed it.
//!
//! Who hears it ends for good, so it must come from a member of that cluster and be meant for this one. The code of a status
//! alone is not enough: whatever stands between members, or has taken the address of one, may deny a call as well.

use prost::Message;
use tonic::{Code, Status};

use crate::pb::peer::Sender;
use crate::types::{ClusterId, MemberId};

/// What `own` tells `removed`.
pub fn refusal(cluster: ClusterId, own: MemberId, removed: MemberId) -> Status {
    let said = Sender { cluster: cluster.0, member: own.0, to: removed.0 };
    let text = format!("member {removed} was removed from the cluster");
    Status::with_details(Code::PermissionDenied, text, said.encode_to_vec().into())
}

/// Whether a member of this cluster says so to this member.
pub fn is_told(status: &Status, cluster: ClusterId, member: MemberId) -> bool {
    let said = Sender::decode(status.details());
    status.code() == Code::PermissionDenied
        && said.is_ok_and(|said| (said.cluster, said.to) == (cluster.0, member.0) && said.member != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_of_the_cluster_says_it_and_only_to_whom_it_concerns() {
        let (cluster, own, removed) = (ClusterId(1), MemberId(2), MemberId(9));
        let told = refusal(cluster, own, removed);
        assert_eq!(told.message(), format!("member {removed} was removed from the cluster"));
        assert!(is_told(&told, cluster, removed));
        assert!(!is_told(&told, ClusterId(7), removed), "another cluster's member");
        assert!(!is_told(&told, cluster, MemberId(3)), "somebody else was removed");
        assert!(
            !is_told(&Status::permission_denied(told.message()), cluster, removed),
            "a proxy's own words"
        );
        let other = Status::with_details(Code::Unavailable, "", told.details().to_vec().into());
        assert!(!is_told(&other, cluster, removed));
        let noise = Status::with_details(Code::PermissionDenied, "", vec![8, 1].into());
        assert!(!is_told(&noise, cluster, removed));
    }
}
