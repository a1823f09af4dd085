//! Finding one's place in a cluster that runs already: its id, its members, and which of them this one is.
//!
//! Whoever joins knows where some members are reached, and where it is to be reached itself; everything else the
//! cluster tells. It has been added to the member list before, so its peer URLs stand there, and by them it finds its
//! own id.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::env::Clock;
use crate::machine::command::Member;
use crate::peer::client::discover;
use crate::types::{ClusterId, MemberId};

/// A member's place in a running cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member in it.
    pub member: MemberId,
    /// All members, this one among them.
    pub members: Vec<Member>,
}

/// Why a member has no place in a running cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answered.
    #[error("cannot join: no member of the cluster answers: {0}")]
    NoAnswer(String),
    /// The cluster does not expect this member.
    #[error(
        "cannot join: cluster {cluster} has no member with the peer URLs {urls}: add this member first (member add)"
    )]
    NotListed {
        /// The cluster that answered.
        cluster: ClusterId,
        /// This member's peer URLs.
        urls: String,
    },
}

/// Asks the members at `urls` until one of them knows the member that is reached at `own`.
///
/// # Errors
/// See [`JoinError`].
pub async fn find_place(
    clock: &dyn Clock,
    urls: &[String],
    own: &[String],
    timeout: Duration,
) -> Result<Place, JoinError> {
    let mut refused = Vec::new();
    let mut answered = None;
    for url in urls.iter().filter(|url| !own.contains(url)) {
        match discover(clock, url, timeout).await {
            Ok(answer) => {
                let cluster = ClusterId(answer.cluster);
                let members: Vec<Member> = answer
                    .members
                    .into_iter()
                    .map(|member| Member {
                        id: MemberId(member.id),
                        name: member.name,
                        peer_urls: member.peer_urls,
                        ..Member::default()
                    })
                    .collect();
                if let Some(member) = member_at(&members, own) {
                    return Ok(Place { cluster, member, members });
                }
                // It may lag behind; another may know.
                answered = Some(cluster);
            }
            Err(why) => refused.push(format!("{url}: {why}")),
        }
    }
    Err(match answered {
        Some(cluster) => JoinError::NotListed { cluster, urls: own.join(",") },
        None => JoinError::NoAnswer(if refused.is_empty() {
            "none is named beside this one".to_owned()
        } else {
            refused.join("; ")
        }),
    })
}

/// The member that is reached at exactly these URLs, in any order.
fn member_at(members: &[Member], own: &[String]) -> Option<MemberId> {
    let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
    let own = set(own);
    members.iter().find(|member| set(&member.peer_urls) == own).map(|member| member.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_all_its_peer_urls() {
        let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let at = |id, peer_urls| Member { id: MemberId(id), peer_urls, ..Member::default() };
        let members = [at(1, urls(&["http://a:1"])), at(2, urls(&["http://b:1", "http://b:2"]))];
        assert_eq!(member_at(&members, &urls(&["http://b:2", "http://b:1"])), Some(MemberId(2)));
        assert_eq!(member_at(&members, &urls(&["http://b:1"])), None);
        assert_eq!(member_at(&members, &[]), None);
    }
}
