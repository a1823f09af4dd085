//! Names: the folders as the process sees them, as the platter has them, and the changes between the two.
//!
//! Every creation, removal and rename is one change; a rename is one change even across folders, so it is kept
//! or lost whole. A change is durable once every folder it touches was synced. Changes that are durable are
//! moved into the platter's folders; the others wait, and a power loss decides on each.
//!
//! Invariants: a durable change makes durable whatever it builds on (earlier changes of the same names or the
//! same file), as a journal does; a change whose ground was lost is lost with it, so one file never ends up
//! under two names. Hard links do not exist here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    File(u64),
    Dir(u64),
}

/// The root folder; always there, always durable.
pub(crate) const ROOT: u64 = 0;

/// A name's place: folder and name.
type Place = (u64, String);

#[derive(Clone, Debug)]
enum Change {
    Link { at: Place, entry: Entry },
    Unlink { at: Place, entry: Entry },
    Rename { from: Place, to: Place, entry: Entry, replaced: Option<Entry> },
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (first, second) = match self {
            Self::Link { at, .. } | Self::Unlink { at, .. } => (at, None),
            Self::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Link { entry, .. } | Self::Unlink { entry, .. } | Self::Rename { entry, .. } => *entry,
        }
    }
}

/// A change that is not durable yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// The disk-wide number of the call: orders changes, keys no decision.
    pub(crate) time: u64,
    /// Keys the decision on this change: its path, and how often that path changed before.
    pub(crate) key: [u64; 2],
    change: Change,
    /// Folders whose sync is still missing.
    waiting: BTreeSet<u64>,
    /// A sync of one of its folders failed: later syncs do not carry it.
    stuck: bool,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    seen: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
}

/// All names of one disk.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    folders: BTreeMap<u64, Folder>,
    pending: Vec<Pending>,
    next: u64,
    changes_of_path: BTreeMap<u64, u64>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            folders: BTreeMap::from([(ROOT, Folder::default())]),
            pending: Vec::new(),
            next: ROOT + 1,
            changes_of_path: BTreeMap::new(),
        }
    }

    /// What a process finds at a path given as its components.
    pub(crate) fn find(&self, path: &[String]) -> io::Result<Option<Entry>> {
        let Some((name, parents)) = path.split_last() else { return Ok(Some(Entry::Dir(ROOT))) };
        match self.folder_of(parents)? {
            None => Ok(None),
            Some(dir) => Ok(self.folders.get(&dir).and_then(|folder| folder.seen.get(name)).copied()),
        }
    }

    /// What the platter has at a path.
    pub(crate) fn find_durable(&self, path: &[String]) -> Option<Entry> {
        path.iter().try_fold(Entry::Dir(ROOT), |at, name| match at {
            Entry::Dir(dir) => self.folders.get(&dir)?.durable.get(name).copied(),
            Entry::File(_) => None,
        })
    }

    /// The folder that holds a path's last name.
    pub(crate) fn parent(&self, path: &[String]) -> io::Result<u64> {
        let (_, parents) = path.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        self.folder_of(parents)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The folder at a path.
    pub(crate) fn folder(&self, path: &[String]) -> io::Result<u64> {
        match self.find(path)? {
            Some(Entry::Dir(dir)) => Ok(dir),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The names in a folder as a process sees them.
    pub(crate) fn names(&self, dir: u64) -> impl Iterator<Item = (&String, Entry)> {
        self.folders.get(&dir).into_iter().flat_map(|folder| &folder.seen).map(|(name, entry)| (name, *entry))
    }

    /// Gives a new file or folder its name.
    pub(crate) fn create(&mut self, time: u64, path_key: u64, at: Place, folder: bool) -> Entry {
        let id = self.next;
        self.next += 1;
        let entry = if folder { Entry::Dir(id) } else { Entry::File(id) };
        if folder {
            self.folders.insert(id, Folder::default());
        }
        self.see(&at, Some(entry));
        self.note(time, path_key, Change::Link { at, entry });
        entry
    }

    /// Takes a name away.
    pub(crate) fn unlink(&mut self, time: u64, path_key: u64, at: Place, entry: Entry) {
        self.see(&at, None);
        self.note(time, path_key, Change::Unlink { at, entry });
    }

    /// Moves a name, replacing what is at `to`.
    pub(crate) fn rename(&mut self, time: u64, path_key: u64, from: Place, to: Place, entry: Entry) {
        let replaced = self.folders.get(&to.0).and_then(|folder| folder.seen.get(&to.1)).copied();
        self.see(&from, None);
        self.see(&to, Some(entry));
        self.note(time, path_key, Change::Rename { from, to, entry, replaced });
    }

    /// Whether `inner` is `outer` or lies below it.
    pub(crate) fn lies_within(&self, inner: u64, outer: u64) -> bool {
        let below = |dir: u64| {
            self.names(dir).filter_map(|(_, entry)| match entry {
                Entry::Dir(dir) => Some(dir),
                Entry::File(_) => None,
            })
        };
        inner == outer || below(outer).any(|dir| self.lies_within(inner, dir))
    }

    /// Makes the names in `dir` durable.
    pub(crate) fn sync(&mut self, dir: u64) {
        for op in self.pending.iter_mut().filter(|op| !op.stuck) {
            op.waiting.remove(&dir);
        }
        // What is durable now takes along what it builds on.
        let mut places: BTreeSet<Place> = BTreeSet::new();
        let mut entries: BTreeSet<Entry> = BTreeSet::new();
        for op in self.pending.iter_mut().rev() {
            let needed = entries.contains(&op.change.entry())
                || op.change.places().any(|place| places.contains(place));
            if needed {
                op.waiting.clear();
            }
            if op.waiting.is_empty() {
                entries.insert(op.change.entry());
                places.extend(op.change.places().cloned());
            }
        }
        for op in std::mem::take(&mut self.pending) {
            if op.waiting.is_empty() {
                self.settle(&op.change);
            } else {
                self.pending.push(op);
            }
        }
    }

    /// A sync of `dir` that failed: its changes stay visible, and no later sync of it makes them durable.
    pub(crate) fn fail_sync(&mut self, dir: u64) {
        for op in self.pending.iter_mut().filter(|op| op.waiting.contains(&dir)) {
            op.stuck = true;
        }
    }

    /// The power goes: `kept` decides on each change that is not durable, oldest first.
    pub(crate) fn power_loss(&mut self, kept: &mut dyn FnMut(&Pending) -> bool) {
        for op in std::mem::take(&mut self.pending) {
            if kept(&op) {
                self.settle(&op.change);
            }
        }
        for folder in self.folders.values_mut() {
            folder.seen = folder.durable.clone();
        }
        let reachable = self.reachable();
        self.folders.retain(|dir, _| *dir == ROOT || reachable.contains(&Entry::Dir(*dir)));
    }

    /// The time of the oldest change that is not durable.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.pending.first().map(|op| op.time)
    }

    /// How many changes are not durable.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Every file and folder that a process sees, that the platter has, or that a pending change names.
    pub(crate) fn reachable(&self) -> BTreeSet<Entry> {
        let mut found = BTreeSet::new();
        let mut todo = vec![Entry::Dir(ROOT)];
        todo.extend(self.pending.iter().map(|op| op.change.entry()));
        while let Some(entry) = todo.pop() {
            if !found.insert(entry) {
                continue;
            }
            if let Entry::Dir(dir) = entry
                && let Some(folder) = self.folders.get(&dir)
            {
                todo.extend(folder.seen.values().chain(folder.durable.values()));
            }
        }
        found
    }

    /// All files a process sees, with their paths, sorted by path.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        self.walk(|folder| &folder.seen)
    }

    /// All files the platter has, with their paths, sorted by path.
    pub(crate) fn durable_files(&self) -> Vec<(String, u64)> {
        self.walk(|folder| &folder.durable)
    }

    fn walk(&self, names: impl Fn(&Folder) -> &BTreeMap<String, Entry>) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((prefix, dir)) = todo.pop() {
            for (name, entry) in self.folders.get(&dir).into_iter().flat_map(&names) {
                let path = format!("{prefix}/{name}");
                match entry {
                    Entry::File(file) => files.push((path, *file)),
                    Entry::Dir(dir) => todo.push((path, *dir)),
                }
            }
        }
        files.sort();
        files
    }

    fn folder_of(&self, parents: &[String]) -> io::Result<Option<u64>> {
        let mut dir = ROOT;
        for name in parents {
            match self.folders.get(&dir).and_then(|folder| folder.seen.get(name)) {
                Some(Entry::Dir(next)) => dir = *next,
                Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    fn see(&mut self, at: &Place, entry: Option<Entry>) {
        if let Some(folder) = self.folders.get_mut(&at.0) {
            match entry {
                Some(entry) => folder.seen.insert(at.1.clone(), entry),
                None => folder.seen.remove(&at.1),
            };
        }
    }

    fn note(&mut self, time: u64, path_key: u64, change: Change) {
        let count = self.changes_of_path.entry(path_key).or_default();
        *count += 1;
        let key = [path_key, *count];
        let waiting = change.places().map(|place| place.0).collect();
        self.pending.push(Pending { time, key, change, waiting, stuck: false });
    }

    /// Does a change on the platter, when what it builds on is there.
    fn settle(&mut self, change: &Change) {
        match change {
            Change::Link { at, entry } => {
                if self.durable(at).is_none() {
                    self.set_durable(at, Some(*entry));
                }
            }
            Change::Unlink { at, entry } => {
                if self.durable(at) == Some(*entry) {
                    self.set_durable(at, None);
                }
            }
            Change::Rename { from, to, entry, replaced } => {
                // Whatever else is in the way was moved away by a change that was lost.
                let free = self.durable(to).is_none_or(|there| Some(there) == *replaced);
                if free && self.durable(from) == Some(*entry) {
                    self.set_durable(from, None);
                    self.set_durable(to, Some(*entry));
                }
            }
        }
    }

    fn durable(&self, at: &Place) -> Option<Entry> {
        self.folders.get(&at.0)?.durable.get(&at.1).copied()
    }

    fn set_durable(&mut self, at: &Place, entry: Option<Entry>) {
        if let Some(folder) = self.folders.get_mut(&at.0) {
            match entry {
                Some(entry) => folder.durable.insert(at.1.clone(), entry),
                None => folder.durable.remove(&at.1),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: u64, name: &str) -> Place {
        (dir, name.to_owned())
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_rename_across_folders_is_kept_or_lost_whole() {
        for kept in [false, true] {
            let mut tree = Tree::new();
            let (Entry::Dir(a), Entry::Dir(b)) =
                (tree.create(1, 1, place(ROOT, "a"), true), tree.create(2, 2, place(ROOT, "b"), true))
            else {
                unreachable!("folders were asked for")
            };
            let file = tree.create(3, 3, place(a, "f"), false);
            tree.sync(ROOT);
            tree.sync(a);
            tree.rename(4, 3, place(a, "f"), place(b, "g"), file);
            tree.sync(b);
            assert_eq!(tree.pending(), 1, "the source's folder was not synced");
            tree.power_loss(&mut |_| kept);
            assert_eq!(tree.find(&path("a/f")).unwrap().is_some(), !kept);
            assert_eq!(tree.find(&path("b/g")).unwrap().is_some(), kept);
        }
    }

    #[test]
    fn a_lost_rename_loses_what_was_built_on_it_and_leaves_one_name() {
        let mut tree = Tree::new();
        let file = tree.create(1, 1, place(ROOT, "a"), false);
        tree.sync(ROOT);
        tree.rename(2, 1, place(ROOT, "a"), place(ROOT, "b"), file);
        tree.rename(3, 2, place(ROOT, "b"), place(ROOT, "c"), file);
        tree.power_loss(&mut |op| op.time == 3);
        assert_eq!(tree.files(), [("/a".to_owned(), 1)]);
    }

    #[test]
    fn a_kept_rename_does_not_replace_what_a_lost_one_left_in_its_way() {
        let mut tree = Tree::new();
        let first = tree.create(1, 1, place(ROOT, "a"), false);
        let second = tree.create(2, 2, place(ROOT, "b"), false);
        tree.sync(ROOT);
        tree.rename(3, 1, place(ROOT, "a"), place(ROOT, "c"), first);
        tree.rename(4, 2, place(ROOT, "b"), place(ROOT, "a"), second);
        tree.power_loss(&mut |op| op.time == 4);
        assert_eq!(tree.files(), [("/a".to_owned(), 1), ("/b".to_owned(), 2)]);
    }

    #[test]
    fn a_durable_change_takes_along_what_it_builds_on() {
        let mut tree = Tree::new();
        let (Entry::Dir(a), Entry::Dir(b)) =
            (tree.create(1, 1, place(ROOT, "a"), true), tree.create(2, 2, place(ROOT, "b"), true))
        else {
            unreachable!("folders were asked for")
        };
        tree.sync(ROOT);
        let file = tree.create(3, 3, place(a, "f"), false);
        tree.rename(4, 3, place(a, "f"), place(b, "f"), file);
        tree.rename(5, 4, place(b, "f"), place(b, "g"), file);
        tree.sync(b);
        tree.power_loss(&mut |_| false);
        assert_eq!(tree.files(), [("/b/g".to_owned(), 3)]);
    }

    #[test]
    fn after_a_failed_sync_the_next_one_proves_nothing() {
        let mut tree = Tree::new();
        tree.create(1, 1, place(ROOT, "a"), false);
        tree.fail_sync(ROOT);
        tree.sync(ROOT);
        tree.create(2, 2, place(ROOT, "b"), false);
        tree.sync(ROOT);
        tree.power_loss(&mut |_| false);
        assert_eq!(tree.files(), [("/b".to_owned(), 2)]);
    }
}
