//! Member and cluster ids, derived so that every member computes the same ones from the same options.
//!
//! The derivation is the wire's, not ours: clients and scripts know clusters by these numbers. An id is the first
//! eight bytes, big-endian, of a SHA-1. It is a name, not a secret: nothing rests on SHA-1 being hard to invert.

use sha1::{Digest, Sha1};

use crate::config::url::Url;
use crate::types::{ClusterId, MemberId};

/// The id of a member: from its peer URLs (in any order), the cluster's token, and for a member that is added at
/// run time the Unix seconds of its adding, so that a member that comes back is another member.
pub fn member_id(peer_urls: &[Url], token: &str, added_at_secs: Option<u64>) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(Url::as_str).collect();
    urls.sort_unstable();
    let mut text = urls.concat();
    text.push_str(token);
    if let Some(seconds) = added_at_secs {
        text.push_str(&seconds.to_string());
    }
    MemberId(leading_bytes(text.as_bytes()))
}

/// The id of a member that is added to a running cluster at `now_secs`, Unix seconds: the first one from then on that is not
/// `taken` by a member of now or of before. A member that comes back within the second is another one all the same.
pub fn new_member_id(peer_urls: &[Url], now_secs: u64, taken: impl Fn(MemberId) -> bool) -> MemberId {
    let mut ids = (now_secs..).map(|seconds| member_id(peer_urls, "", Some(seconds)));
    ids.find(|id| !taken(*id)).unwrap_or_default()
}

/// The id of a cluster: from the ids of its first members, in any order.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut ids: Vec<u64> = members.iter().map(|member| member.0).collect();
    ids.sort_unstable();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
    ClusterId(leading_bytes(&bytes))
}

fn leading_bytes(data: &[u8]) -> u64 {
    Sha1::digest(data).iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_single_member_has_its_well_known_ids() {
        let urls = Url::parse_list("http://localhost:2380").unwrap();
        let member = member_id(&urls, "etcd-cluster", None);
        assert_eq!(member.to_string(), "8e9e05c52164694d");
        assert_eq!(cluster_id(&[member]).to_string(), "cdf818194e3a8c32");
    }

    #[test]
    fn order_does_not_matter_and_time_does() {
        let one = Url::parse("http://a:1").unwrap();
        let two = Url::parse("http://b:1").unwrap();
        let forth = member_id(&[one.clone(), two.clone()], "t", None);
        assert_eq!(forth, member_id(&[two, one.clone()], "t", None));
        assert_ne!(member_id(std::slice::from_ref(&one), "t", Some(1)), member_id(&[one], "t", Some(2)));
        let (x, y) = (MemberId(1), MemberId(2));
        assert_eq!(cluster_id(&[x, y]), cluster_id(&[y, x]));
    }
}
