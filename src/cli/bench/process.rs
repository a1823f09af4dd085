//! What a load costs processes on this machine: their processor time and their memory (source: proc(5), `stat` and
//! `status`).

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Processor time that a process has used, and memory that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Memory resident now, bytes.
    pub resident_bytes: u64,
}

/// What processes had used when the measurement began.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    begun: BTreeMap<u32, Cost>,
    ended: BTreeMap<u32, Cost>,
}

impl Costs {
    /// Looks at processes as the measurement begins; who is not there is left out.
    pub fn begin(pids: &[u32]) -> Costs {
        Costs { begun: look_at(pids), ended: BTreeMap::new() }
    }

    /// Looks at them as it ends.
    pub fn end(&mut self) {
        let pids: Vec<u32> = self.begun.keys().copied().collect();
        self.ended = look_at(&pids);
    }

    /// What the measurement has cost a process.
    ///
    /// # Errors
    /// It was not there all the while.
    pub fn of(&self, pid: u32) -> io::Result<Cost> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it was not there all the while");
        let (begun, ended) = self.begun.get(&pid).zip(self.ended.get(&pid)).ok_or_else(missing)?;
        Ok(Cost { cpu: ended.cpu.saturating_sub(begun.cpu), resident_bytes: ended.resident_bytes })
    }
}

fn look_at(pids: &[u32]) -> BTreeMap<u32, Cost> {
    pids.iter().filter_map(|pid| Some((*pid, look(*pid).ok()?))).collect()
}

/// Looks at a process.
///
/// # Errors
/// There is none, or its files say something else than they should.
pub fn look(pid: u32) -> io::Result<Cost> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "/proc says nothing that makes sense");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let ticks = ticks(&stat).ok_or_else(unreadable)?;
    let per_second = rustix::param::clock_ticks_per_second();
    let micros = ticks.saturating_mul(1_000_000).checked_div(per_second).ok_or_else(unreadable)?;
    let resident_bytes = resident(&status).ok_or_else(unreadable)?;
    Ok(Cost { cpu: Duration::from_micros(micros), resident_bytes })
}

/// User and system time: the 14th and 15th field. The second, the program's name, may hold anything, in parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_whatever_the_program_is_called() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 250 31 7 8 20 0 4 0 99 1 2";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("17 (a"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nVmData:\t1 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn what_was_there_before_is_no_cost() {
        let own = std::process::id();
        let mut costs = Costs::begin(&[own]);
        assert!(costs.of(own).is_err(), "not over yet");
        costs.end();
        let cost = costs.of(own).unwrap();
        assert!(cost.resident_bytes > 0 && cost.cpu <= look(own).unwrap().cpu);
        assert!(look(u32::MAX).is_err());
    }
}
