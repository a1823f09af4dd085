//! Starts and ends of members.
//!
//! A member is down while at least one fault holds it down, and starts when the last one lets go. Every end, of
//! whatever kind, goes through [`World::end`]: fence the disk, kill the node, then forget the member. A member
//! that ends by itself, or refuses to start, without an injected reason is a crash of the product; the `atlas`
//! knows whether its disk was one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use madsim::runtime::NodeHandle;
use quorate::env::Env;
use quorate_check::types::MemberId;
use quorate_check::verdict::Class;
use quorate_disk::Crash;

use super::atlas::{self, Case, Followed};
use super::clock::SimClock;
use super::entropy::SimEntropy;
use super::process::SimProcess;
use super::product::{self, Member, Status};
use super::tenant::Standing;
use super::workers::SimWorkers;
use super::{Seat, World};
use crate::plan::MemberIndex;
use crate::timeline;

/// How long after an end of its own a member is started again, as a host's service manager would.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// What is known of a member's process.
#[derive(Default)]
pub(super) struct Life {
    /// Counts starts and ends; an event of another life is stale.
    number: u64,
    phase: Phase,
    /// Faults that hold it down.
    holds: u32,
    /// It stays down whoever lets go of it, until everything is healed.
    barred: bool,
    /// Faults that pause it.
    pauses: u32,
    /// Errors that had struck its disk when this life began: one that strikes later excuses an end that names it.
    errors_before: u64,
    /// After the next end over such an error: how long until the power goes, and what keys that.
    power_after_error: Option<(Duration, u64)>,
    /// What follows an armed death.
    death: Option<Death>,
    member: Option<Member>,
    /// Which member the process is: one that has itself taken back becomes another.
    runs_as: Option<MemberId>,
    /// What its disk went through.
    pub(super) case: Case,
}

impl Life {
    /// Whether it runs.
    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }
}

/// What follows when a machine dies inside a call of its disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    /// How long it stays down.
    pub(super) down_for: Duration,
    /// How long after it is let go the power goes too.
    pub(super) power_after: Option<Duration>,
    /// Keys that power loss.
    pub(super) event: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Down,
    Starting,
    Up,
}

impl World {
    /// Starts every member.
    pub fn start_all(&self) {
        for seat in self.inner.seats.iter().filter(|seat| seat.tenant().standing != Standing::Vacant) {
            self.start(seat);
        }
    }

    /// Starts a member that has just got its place, unless a fault holds the place down.
    pub(super) fn start_if_nobody_holds(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let free = {
            let life = seat.life();
            life.holds == 0 && life.phase == Phase::Down
        };
        if free {
            self.start(seat);
        }
    }

    /// The member as an object with the node it runs on, when it runs.
    pub fn reach(&self, index: MemberIndex) -> Option<(NodeHandle, Member)> {
        let seat = self.seat(index);
        let member = seat.life().member.clone()?;
        Some((self.inner.handle.get_node(seat.node)?, member))
    }

    /// The status of every member that runs.
    pub fn statuses(&self) -> Vec<(MemberIndex, Status)> {
        let running = self.inner.seats.iter().filter_map(|seat| {
            let member = seat.life().member.clone()?;
            Some((seat.index, product::status(&member)))
        });
        running.collect()
    }

    /// Members that run, or are about to.
    pub(super) fn living(&self) -> Vec<MemberIndex> {
        let living = self.inner.seats.iter().filter(|seat| seat.life().phase != Phase::Down);
        living.map(|seat| seat.index).collect()
    }

    /// Whether the member is down or about to be up.
    pub(super) fn is_down(&self, index: MemberIndex) -> bool {
        self.seat(index).life().phase == Phase::Down
    }

    /// Ends the process, if one runs; the power may go even where none does. The member stays down until
    /// [`World::release`].
    pub fn hold(&self, index: MemberIndex, crash: Crash, event: u64) {
        let seat = self.seat(index);
        seat.life().holds += 1;
        self.crash(seat, crash, event);
    }

    /// Ends the process, or what the end of one has left, without holding it down any longer.
    pub fn crash_again(&self, index: MemberIndex, crash: Crash, event: u64) {
        self.crash(self.seat(index), crash, event);
    }

    fn crash(&self, seat: &Seat, crash: Crash, event: u64) {
        // What it held in its last moment, so that what the crash takes can be seen.
        let member = seat.life().member.clone();
        if let Some(member) = member {
            self.note_members(self.now(), &[(seat.index, product::status(&member))]);
        }
        match crash {
            Crash::Kill => seat.disk.kill(event),
            Crash::PowerLoss => seat.disk.power_loss(event),
        }
        let how = match crash {
            Crash::Kill => "killed",
            Crash::PowerLoss => "lost power",
        };
        self.end(seat, how);
    }

    /// Lets go of a member; it starts when nobody holds it any more.
    pub fn release(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let start = {
            let mut life = seat.life();
            life.holds = life.holds.saturating_sub(1);
            life.holds == 0 && !life.barred && life.phase == Phase::Down
        };
        if start && seat.tenant().standing != Standing::Vacant {
            self.start(seat);
        }
    }

    /// Whether the time of faults is over, but for what the ending keeps broken.
    pub fn is_healed(&self) -> bool {
        self.inner.healed.load(Ordering::Relaxed)
    }

    /// Lets go of every member, for good: nothing armed, nobody paused, everybody up, except who stays down until the
    /// next call.
    pub(super) fn release_all(&self, stays_down: impl Fn(MemberIndex) -> bool) {
        self.inner.healed.store(true, Ordering::Relaxed);
        self.waiting().clear();
        self.ambushes().clear();
        for seat in &self.inner.seats {
            seat.disk.disarm();
            seat.disk.clear_faults();
            self.end_case(seat);
            let (resume, start) = {
                let mut life = seat.life();
                life.holds = 0;
                life.barred = stays_down(seat.index);
                (std::mem::take(&mut life.pauses) > 0, !life.barred && life.phase == Phase::Down)
            };
            if resume {
                self.inner.handle.resume(seat.node);
                self.note_pause(seat, false);
            }
            if start && seat.tenant().standing != Standing::Vacant {
                self.start(seat);
            }
        }
    }

    /// Lets the process stand still.
    pub fn pause(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let mut life = seat.life();
        life.pauses += 1;
        if life.pauses == 1 && life.phase != Phase::Down {
            self.inner.handle.pause(seat.node);
        }
        self.note_pause(seat, true);
    }

    /// Takes one [`World::pause`] back.
    pub fn resume(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let mut life = seat.life();
        let before = life.pauses;
        life.pauses = before.saturating_sub(1);
        if before == 1 && life.phase != Phase::Down {
            self.inner.handle.resume(seat.node);
        }
        self.note_pause(seat, life.pauses > 0);
    }

    /// The member's disk is armed: this follows when it dies.
    pub(super) fn expect_death(&self, index: MemberIndex, death: Death) {
        self.seat(index).life().death = Some(death);
    }

    /// Errors were injected into the member's disk: it may stop over them. When it does, the power goes as long
    /// after its restart as `power_after` says, which also carries what keys that loss.
    pub(super) fn expect_errors(&self, index: MemberIndex, power_after: Option<(Duration, u64)>) {
        let seat = self.seat(index);
        seat.life().power_after_error = power_after;
    }

    /// An armed death has happened: the disk is fenced already.
    pub(super) fn died_in_disk(&self, index: MemberIndex, how: &str) {
        let seat = self.seat(index);
        let death = {
            let mut life = seat.life();
            life.holds += 1;
            life.death.take()
        };
        self.end(seat, how);
        let Some(death) = death else { return self.release_after(index, RESTART_AFTER) };
        self.release_after(index, death.down_for);
        if let Some(power_after) = death.power_after {
            self.lose_power_after(index, death.down_for + power_after, death.event);
        }
    }

    fn lose_power_after(&self, index: MemberIndex, wait: Duration, event: u64) {
        let world = self.clone();
        self.inner.supervisor.spawn(async move {
            world.inner.time.sleep(wait).await;
            if !world.is_healed() {
                world.hold(index, Crash::PowerLoss, event);
                world.release_after(index, RESTART_AFTER);
            }
        });
    }

    /// The process of this life ended itself, or refused to start.
    pub(super) fn stopped_itself(&self, index: MemberIndex, number: u64, why: &str) {
        let seat = self.seat(index);
        let struck = seat.disk.counters().faults;
        let starting = {
            let life = seat.life();
            if life.number != number || life.phase == Phase::Down {
                return;
            }
            life.phase == Phase::Starting
        };
        if self.says_it_parted(index, why) {
            seat.disk.kill(number);
            return self.end(seat, why);
        }
        let tenant = *seat.tenant();
        // One that never came to know its cluster finds, once it is removed, no place there.
        let leaves = tenant.standing == Standing::Leaving;
        let not_listed = why.contains(product::NOT_LISTED);
        let never_joined = not_listed && self.is_removed(tenant.id);
        if leaves && (why.contains(product::REMOVED) || never_joined) {
            seat.disk.kill(number);
            self.end(seat, why);
            self.says_it_was_removed(tenant.id);
            // What was wrong with a disk that nobody uses any more is nobody's concern.
            let is_damaged = !atlas::damage(seat).is_empty();
            seat.disk.mend();
            let mut tenant = seat.tenant();
            // A machine that never held a member leaves nothing behind, and one whose log was lost must not have it back.
            let leaves_nothing = never_joined || (is_damaged && tenant.gone.is_some());
            return if leaves_nothing { tenant.vanish() } else { tenant.leave() };
        }
        // A host's service manager tries again: it would find its place a moment later, or the cluster let it go an
        // instant before its operator hears of it.
        let nobody_answered = tenant.joins && why.contains(product::NOBODY_ANSWERS);
        // Nor is it the product's fault that nobody gives a state to one whose engine is out of the way already.
        let unhelped = why.contains(product::NOT_REBUILT)
            && atlas::damage(seat).is_empty()
            && atlas::was_set_aside(seat);
        let unwanted = self.asks_again(seat, why);
        let tries_again = nobody_answered || (leaves && not_listed) || unhelped || unwanted;
        let (excused, power_after, starting) = {
            let mut life = seat.life();
            let excused = tries_again || (struck > life.errors_before && product::names_disk_error(why));
            life.holds += 1;
            (excused, life.power_after_error.take(), starting)
        };
        // The disk must be fenced before anything else of the process runs.
        seat.disk.kill(number);
        let followed = if excused { Followed::Start } else { self.judge_end(seat, starting, why) };
        self.end(seat, why);
        if excused {
            self.release_after(index, RESTART_AFTER);
            if let Some((wait, event)) = power_after {
                self.lose_power_after(index, RESTART_AFTER + wait, event);
            }
            return;
        }
        match followed {
            Followed::Start => self.release_after(index, RESTART_AFTER),
            Followed::Rescue => self.rescue_later(index),
            Followed::Nothing => self.finding(Class::Crash, "member", format!("{index} {why}")),
        }
    }

    fn release_after(&self, index: MemberIndex, wait: Duration) {
        let world = self.clone();
        self.inner.supervisor.spawn(async move {
            world.inner.time.sleep(wait).await;
            world.release(index);
        });
    }

    /// Ends what runs on the member's node. The disk is fenced already.
    fn end(&self, seat: &Seat, how: &str) {
        self.examine(seat);
        let (member, was) = {
            let mut life = seat.life();
            if life.phase == Phase::Down {
                return;
            }
            life.phase = Phase::Down;
            life.number += 1;
            (life.member.take(), life.runs_as.take())
        };
        self.note_phase(seat, timeline::Phase::Down);
        // Tasks of a paused node would be dropped inside the executor's own lock.
        self.inner.handle.resume(seat.node);
        self.inner.handle.kill(seat.node);
        self.inner.record.life_ends(self.now(), was.unwrap_or(seat.id()), how);
        drop(member);
    }

    fn start(&self, seat: &Seat) {
        // Damage may have come while nothing ran.
        self.examine(seat);
        let (number, paused) = {
            let mut life = seat.life();
            assert_eq!(life.phase, Phase::Down, "a member starts only when it is down");
            life.phase = Phase::Starting;
            life.number += 1;
            life.errors_before = seat.disk.counters().faults;
            life.runs_as = Some(seat.id());
            life.case.begin(seat);
            (life.number, life.pauses > 0)
        };
        self.note_phase(seat, timeline::Phase::Starting);
        self.inner.record.life_begins(self.now(), seat.id());
        // A new process on the same host; the first time it only replaces one that never ran.
        self.inner.handle.restart(seat.node);
        let Some(node) = self.inner.handle.get_node(seat.node) else { return };
        let env = self.env(seat, node.clone(), number);
        let (world, index, tenant) = (self.clone(), seat.index, *seat.tenant());
        node.spawn(async move {
            let started = product::start(world.plan(), index, tenant, env).await;
            if let Ok(member) = &started {
                world.check_identity(index, tenant, member);
            }
            world.started(index, number, started);
        });
        if paused {
            self.inner.handle.pause(seat.node);
        }
    }

    /// The process has become another member, or has found that it is one.
    pub(super) fn goes_on_as(&self, index: MemberIndex, id: MemberId) {
        let before = self.seat(index).life().runs_as.replace(id);
        if let Some(before) = before.filter(|before| *before != id) {
            self.inner.record.lives_on_as(self.now(), before, id);
        }
    }

    fn started(&self, index: MemberIndex, number: u64, started: Result<Member, String>) {
        match started {
            Err(why) => self.stopped_itself(index, number, &format!("refused to start: {why}")),
            Ok(member) => {
                let seat = self.seat(index);
                let mut life = seat.life();
                if life.number == number && life.phase == Phase::Starting {
                    life.phase = Phase::Up;
                    life.member = Some(member);
                    life.case.forget_what_is_gone(seat);
                    drop(life);
                    self.note_phase(seat, timeline::Phase::Up);
                    self.inner.record.note(self.now(), format_args!("up {index}"));
                }
            }
        }
    }

    fn env(&self, seat: &Seat, node: NodeHandle, life: u64) -> Env {
        let plan = &self.inner.plan;
        // What an earlier life owed the clock died with it.
        let _ = seat.disk.take_latency();
        Env {
            clock: Arc::new(SimClock(seat.clock.clone())),
            disk: seat.disk.mount(),
            entropy: Arc::new(SimEntropy::new(plan.seed, seat.index, life)),
            workers: Arc::new(SimWorkers {
                node,
                disk: seat.disk.clone(),
                time: self.inner.time.clone(),
                knobs: plan.knobs,
                schedule_seed: plan.schedule_seed,
                member: seat.index,
                life,
            }),
            process: Arc::new(SimProcess { world: self.clone(), member: seat.index, life }),
        }
    }
}
