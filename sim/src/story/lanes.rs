//! Draws events as text: one line an event, a column a lane, time in front.
//!
//! Pure. Where there are too many events for the room, the least telling go, and the drawing says how many.

use quorate_check::types::{Nanos, OpId};

use super::told::{Lane, Note, Told};

/// The column of times: `  12.345 `.
const TIME_CHARS: usize = 9;
/// The narrowest column of a lane.
const LANE_CHARS_MIN: usize = 8;
/// The columns that clients have of their own; beyond, they share one.
const CLIENT_LANES_MAX: usize = 4;

/// The drawing in at most `lines_max` lines of at most `columns_max` columns; `involved` names the operations that
/// the violation is about, which are marked and go last.
pub fn drawn(
    told: &Told,
    lines_max: usize,
    columns_max: usize,
    involved: impl Fn(OpId) -> bool,
) -> Vec<String> {
    let clients = told.clients();
    let shared = clients.len() > CLIENT_LANES_MAX;
    let mut lanes: Vec<(Lane, String)> = (0..told.members)
        .map(crate::plan::MemberIndex)
        .map(|index| (Lane::Member(index), index.to_string()))
        .collect();
    if shared {
        lanes.push((Lane::All, "clients".to_owned()));
    } else {
        lanes.extend(clients.iter().map(|client| (Lane::Client(*client), client.to_string())));
    }
    let notes = joined(&told.notes);
    let (notes, left_out) = chosen(notes, lines_max.saturating_sub(2), &involved);
    let cells: Vec<(Nanos, Option<usize>, String)> = notes
        .into_iter()
        .map(|note| {
            let mark = if note.operation.is_some_and(|(id, _)| involved(id)) { "*" } else { "" };
            match note.lane {
                Lane::Client(client) if shared => {
                    (note.at, Some(lanes.len() - 1), format!("{mark}{client} {}", note.text))
                }
                Lane::All => (note.at, None, format!("-- {} --", note.text)),
                lane => {
                    let place = lanes.iter().position(|(other, _)| *other == lane);
                    (note.at, place, format!("{mark}{}", note.text))
                }
            }
        })
        .collect();
    let widths = widths(&lanes, &cells, columns_max.saturating_sub(TIME_CHARS));
    let mut lines = Vec::new();
    let titles = lanes.iter().zip(&widths).map(|((_, title), width)| padded(title, *width));
    lines.push(format!("{:>8} {}", "s", titles.collect::<String>()).trim_end().to_owned());
    for (at, place, text) in cells {
        let time = format!("{:>4}.{:03} ", at.0 / 1_000_000_000, at.0 % 1_000_000_000 / 1_000_000);
        let before: usize = place.map_or(0, |place| widths.iter().take(place).sum());
        let room = place.and_then(|place| widths.get(place)).copied();
        let text = match room {
            // The last lane may run to the edge.
            Some(width) if before + width < columns_max.saturating_sub(TIME_CHARS) => {
                clipped(&text, width - 1)
            }
            _ => text,
        };
        lines.push(clipped(&format!("{time}{}{text}", " ".repeat(before)), columns_max));
    }
    if left_out > 0 {
        lines.push(format!("{:>8} and {left_out} events more", ""));
    }
    lines.truncate(lines_max);
    lines
}

/// An operation that was answered before anything else happened is one event.
fn joined(notes: &[Note]) -> Vec<Note> {
    let mut joined: Vec<Note> = Vec::new();
    for note in notes {
        if let (Some(before), Some((id, true))) = (joined.last_mut(), note.operation)
            && before.operation == Some((id, false))
        {
            before.text = format!("{} {}", before.text, note.text);
            continue;
        }
        joined.push(note.clone());
    }
    joined
}

/// The most telling events, in order, and how many were left out.
fn chosen(notes: Vec<Note>, most: usize, involved: &impl Fn(OpId) -> bool) -> (Vec<Note>, usize) {
    let weight = |note: &Note| match note.operation {
        Some((id, _)) if involved(id) => 4,
        None if note.text.starts_with("FAULT") => 3,
        None if note.text.contains(" shows ") || note.text == "leads" => 2,
        Some(_) => 1,
        None => 0,
    };
    let mut by_weight: Vec<(u8, usize)> =
        notes.iter().enumerate().map(|(at, note)| (weight(note), at)).collect();
    // Of equals the later ones stay: they are nearer to what went wrong.
    by_weight.sort_unstable_by(|one, other| other.cmp(one));
    by_weight.truncate(most);
    let left_out = notes.len() - by_weight.len();
    let kept: std::collections::BTreeSet<usize> = by_weight.into_iter().map(|(_, at)| at).collect();
    let notes = notes.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, note)| note);
    (notes.collect(), left_out)
}

/// The width of each lane, with the space behind it: what it needs, and less where there is too little room.
fn widths(lanes: &[(Lane, String)], cells: &[(Nanos, Option<usize>, String)], room: usize) -> Vec<usize> {
    let mut widths: Vec<usize> =
        lanes.iter().map(|(_, title)| title.chars().count().max(LANE_CHARS_MIN) + 1).collect();
    for (_, place, text) in cells {
        if let Some(width) = place.and_then(|place| widths.get_mut(place)) {
            *width = (*width).max(text.chars().count() + 2);
        }
    }
    // The widest gives way first.
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width) else { break };
        if *widest <= 2 {
            break;
        }
        *widest -= 1;
    }
    widths
}

fn padded(text: &str, width: usize) -> String {
    format!("{:<width$}", clipped(text, width))
}

/// The text in at most so many columns; what was cut ends in `~`.
pub fn clipped(text: &str, columns_max: usize) -> String {
    if text.chars().count() <= columns_max {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(columns_max.saturating_sub(1)).collect();
    clipped.push('~');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MemberIndex;
    use quorate_check::types::ClientId;

    fn note(at_ms: u64, lane: Lane, text: &str) -> Note {
        Note { at: Nanos(at_ms * 1_000_000), lane, text: text.to_owned(), operation: None }
    }

    fn asked(at_ms: u64, client: u64, nth: u64, end: bool, text: &str) -> Note {
        let operation = Some((OpId(nth), end));
        Note { operation, ..note(at_ms, Lane::Client(ClientId(client)), text) }
    }

    fn member(index: u8) -> Lane {
        Lane::Member(MemberIndex(index))
    }

    fn told(notes: Vec<Note>) -> Told {
        Told { members: 3, notes }
    }

    #[test]
    fn a_short_story_is_drawn_whole() {
        let told = told(vec![
            note(520, member(1), "leads"),
            asked(1_000, 7, 1, false, "put k07 ->m2"),
            note(1_001, member(1), "FAULT 1: power/one"),
            asked(1_002, 7, 1, true, "= unknown: no answer in time"),
            asked(1_500, 9, 2, false, "read k07 ->m3"),
            asked(1_501, 9, 2, true, "= none @1"),
            note(2_000, Lane::All, "everything is healed"),
        ]);
        let drawn = drawn(&told, 12, 110, |id| id == OpId(2));
        assert_eq!(
            drawn,
            [
                "       s m1       m2                  m3       c7                            c9",
                "   0.520          leads",
                "   1.000                                       put k07 ->m2",
                "   1.001          FAULT 1: power/one",
                "   1.002                                       = unknown: no answer in time",
                "   1.500                                                                     *read k07 ->m3 = none @1",
                "   2.000 -- everything is healed --",
            ]
        );
    }

    #[test]
    fn the_most_telling_stay_where_there_is_little_room() {
        let mut notes: Vec<Note> = (0..50)
            .flat_map(|nth| [asked(nth * 10, 1, nth, false, "put"), note(nth * 10 + 5, member(0), "up")])
            .collect();
        notes.insert(50, note(250, member(2), "FAULT 4: kill/one"));
        let drawn = drawn(&told(notes), 8, 60, |id| id == OpId(3));
        assert!(drawn.len() <= 8);
        let text = drawn.join("\n");
        assert!(
            text.contains("FAULT 4") && text.contains("*put") && text.contains("95 events more"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_ever_wider_than_the_screen() {
        let long =
            "a very long event that says much more than anybody would want to read in one line".repeat(2);
        let mut notes: Vec<Note> = (0..5).map(|index| note(1, member(index), &long)).collect();
        notes.extend((0..9).map(|client| asked(2, client, client, false, &long)));
        notes.push(note(3, Lane::All, &long));
        for columns in [40, 80, 110] {
            let told = Told { members: 5, notes: notes.clone() };
            for line in drawn(&told, 30, columns, |_| true) {
                assert!(line.chars().count() <= columns, "{line}");
            }
        }
    }

    #[test]
    fn many_clients_share_a_lane() {
        let notes = (0..6).map(|client| asked(client, client, client, false, "put k01")).collect();
        let drawn = drawn(&told(notes), 20, 110, |_| false);
        assert!(drawn.first().is_some_and(|titles| titles.ends_with("clients")));
        assert!(drawn.iter().any(|line| line.contains("c4 put k01")));
    }
}
