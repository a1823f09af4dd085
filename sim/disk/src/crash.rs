//! What a power loss leaves: one mode for the whole disk, then each file, sector and name on its own.
//!
//! A fair coin for each sector would almost never produce the two crashes that find the most bugs, "nothing
//! since the last sync survived" and "everything did", nor the commonest real one, "everything up to a moment".
//! So the mode is drawn first. All draws are keyed by the event's number and by what they are about.

use crate::content::{Content, Fate, Version};
use crate::dice::{Dice, Draw, Purpose};
use crate::platter::{SECTOR_BYTES, Sector, index, length};
use crate::tree::Pending;

/// What becomes of all that is not durable when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// One of the others, drawn: most often [`Survival::Each`].
    Drawn,
    /// Everything is lost.
    Nothing,
    /// Everything is kept in its newest state; only limbo is lost.
    Everything,
    /// All calls up to a drawn moment are kept, over all files and names; the call at that moment in part.
    InOrder,
    /// Each sector, length and name is kept, lost or torn on its own, whatever the order of the calls. Each file
    /// has a luck of its own, so that some files lose nearly all and others nearly nothing.
    Each,
}

/// What a power loss leaves of a sector that was being written when it struck. Other sectors are never torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Sectors are atomic: as before or as written.
    Never,
    /// A prefix of one state and the rest of another. Bytes that were equal in both stay equal, so nothing beside
    /// the bytes written is ever harmed. The worst that `quorate::env::Disk` admits, and the default.
    Mixed,
    /// Arbitrary bytes over the whole sector, whatever part of it was written. Beyond what may be assumed.
    Garbage,
    /// The sector cannot be read until it is rewritten. Beyond what may be assumed.
    Unreadable,
}

/// What a power loss did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Sectors whose newest state is gone.
    pub sectors_lost: u64,
    /// Sectors left with parts of two states.
    pub sectors_torn: u64,
    /// Files whose newest length is gone.
    pub lengths_lost: u64,
    /// Name changes that are gone.
    pub names_lost: u64,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Nothing,
    Everything,
    UpTo(u64),
    Each,
}

/// One power loss while it is decided.
pub(crate) struct PowerLoss {
    dice: Dice,
    event: u64,
    mode: Mode,
    torn: Torn,
    pub(crate) toll: Toll,
}

/// The luck that a file may have, in survivors of a hundred.
const LUCK: [u64; 5] = [5, 25, 50, 75, 95];

impl PowerLoss {
    /// `oldest` and `newest` are the times of the first and last call that is not durable.
    pub(crate) fn new(
        dice: Dice,
        event: u64,
        survival: Survival,
        torn: Torn,
        oldest: u64,
        newest: u64,
    ) -> Self {
        let mut draw = dice.about(Purpose::CrashMode, [event, 0, 0]);
        let drawn = match draw.below(10) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2..=4 => Survival::InOrder,
            _ => Survival::Each,
        };
        let mode = match if survival == Survival::Drawn { drawn } else { survival } {
            Survival::Nothing => Mode::Nothing,
            Survival::Everything => Mode::Everything,
            Survival::InOrder => {
                // A share of the way, so that one call less moves the moment by no more than that call.
                let calls = newest.saturating_sub(oldest).saturating_add(1);
                Mode::UpTo(oldest + (calls.saturating_mul(draw.next() >> 32) >> 32))
            }
            Survival::Drawn | Survival::Each => Mode::Each,
        };
        Self { dice, event, mode, torn, toll: Toll::default() }
    }

    /// Decides on one file; `origin` keys it.
    pub(crate) fn strike(&mut self, origin: u64, content: &mut Content) {
        let mut draw = self.dice.about(Purpose::CrashFile, [self.event, origin, 0]);
        let luck = LUCK.get(index(draw.below(length(LUCK.len())))).copied().unwrap_or(50);
        let mut fate = FileFate { loss: self, origin, draw, luck, unreadable: Vec::new() };
        content.power_loss(&mut fate);
        fate.unreadable.into_iter().for_each(|sector| content.spoil(sector));
    }

    /// Decides on one name change.
    pub(crate) fn keeps(&mut self, op: &Pending) -> bool {
        let kept = match self.mode {
            Mode::Nothing => false,
            Mode::Everything => true,
            Mode::UpTo(moment) => op.time <= moment,
            Mode::Each => {
                self.dice.about(Purpose::CrashName, [self.event, op.key[0], op.key[1]]).chance(1, 2)
            }
        };
        self.toll.names_lost += u64::from(!kept);
        kept
    }
}

/// One file while a power loss decides on it.
struct FileFate<'a> {
    loss: &'a mut PowerLoss,
    origin: u64,
    draw: Draw,
    luck: u64,
    unreadable: Vec<u64>,
}

impl Fate for FileFate<'_> {
    fn sector(&mut self, sector: u64, platter: &Sector, since: &[Version]) -> Option<Sector> {
        let key = [self.loss.event, self.origin, sector];
        let loss = &mut *self.loss;
        let draw = loss.dice.about(Purpose::CrashSector, key);
        let (survivor, torn) = surviving_sector(loss.mode, draw, self.luck, loss.torn, platter, since);
        let newest = since.last().map(|version| version.data.bytes());
        if torn {
            loss.toll.sectors_torn += 1;
            self.unreadable.extend((loss.torn == Torn::Unreadable).then_some(sector));
        } else if newest != Some(survivor.as_ref().unwrap_or(platter).bytes()) {
            loss.toll.sectors_lost += 1;
        }
        survivor
    }

    fn length(&mut self, platter: u64, since: &[(u64, u64)]) -> u64 {
        let survivor = surviving_length(self.loss.mode, &mut self.draw, self.luck, platter, since);
        let lost = since.last().is_some_and(|(_, newest)| *newest != survivor);
        self.loss.toll.lengths_lost += u64::from(lost);
        survivor
    }

    fn keeps_allocation(&mut self) -> bool {
        match self.loss.mode {
            Mode::Nothing => false,
            Mode::Everything => true,
            Mode::UpTo(_) | Mode::Each => self.draw.chance(self.luck, 100),
        }
    }
}

fn surviving_length(mode: Mode, draw: &mut Draw, luck: u64, durable: u64, since: &[(u64, u64)]) -> u64 {
    let newest = since.last().map_or(durable, |(_, len)| *len);
    match mode {
        Mode::Nothing => durable,
        Mode::Everything => newest,
        Mode::UpTo(moment) => {
            since.iter().rev().find(|(time, _)| *time <= moment).map_or(durable, |(_, len)| *len)
        }
        Mode::Each if !draw.chance(luck, 100) => durable,
        Mode::Each if draw.chance(3, 4) => newest,
        Mode::Each => pick(draw, since).map_or(durable, |(_, len)| *len),
    }
}

/// What is left of one sector (`None`: what the platter had) and whether it was torn.
fn surviving_sector(
    mode: Mode,
    mut draw: Draw,
    luck: u64,
    how: Torn,
    platter: &Sector,
    versions: &[Version],
) -> (Option<Sector>, bool) {
    let newest = versions.last().map(|version| &version.data);
    match mode {
        Mode::Nothing => (None, false),
        Mode::Everything => (newest.cloned(), false),
        Mode::UpTo(moment) => {
            let before = versions.iter().rev().find(|version| version.time < moment).map(|v| &v.data);
            let during = versions.iter().rev().find(|version| version.time == moment).map(|v| &v.data);
            match during {
                // The call that the moment fell into: some of its sectors made it.
                Some(data) if draw.chance(1, 2) => {
                    let torn = how != Torn::Never && draw.chance(1, 4);
                    let old = before.unwrap_or(platter);
                    (Some(if torn { tear(&mut draw, how, data, old) } else { data.clone() }), torn)
                }
                _ => (before.cloned(), false),
            }
        }
        Mode::Each if !draw.chance(luck, 100) => (None, false),
        Mode::Each => {
            let survivor =
                if draw.chance(3, 4) { newest } else { pick(&mut draw, versions).map(|v| &v.data) };
            let torn = how != Torn::Never && draw.chance(1, 8);
            // The other half: an older state written since, or what was there before all of them.
            let other = if draw.chance(1, 2) { None } else { pick(&mut draw, versions).map(|v| &v.data) };
            let other = other.unwrap_or(platter);
            (survivor.map(|data| if torn { tear(&mut draw, how, data, other) } else { data.clone() }), torn)
        }
    }
}

fn tear(draw: &mut Draw, how: Torn, one: &Sector, other: &Sector) -> Sector {
    if how == Torn::Garbage {
        let words: Vec<u8> = (0..SECTOR_BYTES / 8).flat_map(|_| draw.next().to_le_bytes()).collect();
        return Sector::from_bytes(&words);
    }
    let at = index(1 + draw.below(SECTOR_BYTES - 1));
    if draw.chance(1, 2) { one.torn(at, other) } else { other.torn(at, one) }
}

fn pick<'a, T>(draw: &mut Draw, from: &'a [T]) -> Option<&'a T> {
    from.get(index(draw.below(length(from.len()))))
}
