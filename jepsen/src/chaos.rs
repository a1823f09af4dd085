//! Kills and pauses: which members, for how long, and how long the cluster may rest afterwards. The seed decides.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::dice::Dice;

/// The dice of the kills among the choosers of a run.
const CHOOSER: u64 = u64::MAX;

/// What is killed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    /// The member that leads.
    Leader,
    /// Any one.
    One,
    /// The member that leads, paused instead of killed: back again, it still takes itself for the leader.
    LeaderPaused,
    /// Any two: the majority is gone.
    Two,
    /// All.
    All,
}

/// How often and whom a run has killed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    /// Processes killed.
    pub processes: usize,
    /// Kills that hit the leader alone.
    pub leaders: usize,
    /// Pauses of the leader.
    pub pauses: usize,
    /// Kills that hit all members at once.
    pub all: usize,
    /// Kills of a process that did not serve yet.
    pub starting: usize,
}

/// The kills of one run.
#[derive(Debug)]
pub struct Chaos {
    dice: Dice,
    kills: Kills,
}

impl Chaos {
    /// The kills of this seed.
    pub fn new(seed: u64) -> Chaos {
        Chaos { dice: Dice::new(seed, CHOOSER), kills: Kills::default() }
    }

    /// What has been killed so far.
    pub fn kills(&self) -> Kills {
        self.kills
    }

    fn span(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.dice.between(least_ms, most_ms))
    }

    /// Kills or pauses some members of a cluster in which all run, starts them again, waits until they serve, and rests.
    pub async fn strike(&mut self, cluster: &mut Cluster) {
        let size = cluster.members().len();
        let victims = self.dice.pick(&[
            Victims::Leader,
            Victims::Leader,
            Victims::LeaderPaused,
            Victims::LeaderPaused,
            Victims::One,
            Victims::One,
            Victims::Two,
            Victims::All,
        ]);
        let any =
            usize::try_from(self.dice.below(u64::try_from(size).expect("few members"))).expect("few members");
        match victims {
            Victims::Leader => {
                let leader = cluster.leader().await;
                self.kills.leaders += 1;
                self.kill(cluster, leader);
            }
            Victims::LeaderPaused => {
                let leader = cluster.leader().await;
                self.kills.pauses += 1;
                cluster.pause(leader);
                tokio::time::sleep(self.span(1_500, 4_000)).await;
                cluster.resume(leader);
            }
            Victims::One => self.kill(cluster, any),
            Victims::Two => {
                self.kill(cluster, any);
                self.kill(cluster, (any + 1) % size);
            }
            Victims::All => {
                self.kills.all += 1;
                self.kills.processes += cluster.kill_all();
            }
        }
        tokio::time::sleep(self.span(0, 900)).await;
        cluster.start_down();
        if self.dice.percent(25) {
            // Recovery must survive a kill as well.
            tokio::time::sleep(self.span(0, 250)).await;
            let served = cluster.members().get(any).is_some_and(crate::member::Member::says_ready);
            self.kills.starting += usize::from(!served);
            self.kill(cluster, any);
            cluster.start_down();
        }
        cluster.wait_all_ready();
        tokio::time::sleep(self.span(100, 1500)).await;
    }

    fn kill(&mut self, cluster: &mut Cluster, index: usize) {
        self.kills.processes += usize::from(cluster.kill(index));
    }
}
