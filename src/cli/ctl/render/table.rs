//! Drawn tables: upper-case centred headings, cells to the right.

use std::fmt;

/// Headings and rows of equal length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The headings, in any case.
    pub headings: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The rows without frame, cells separated by `, `: the simple format.
    pub fn simple(&self, out: &mut Vec<u8>) {
        for row in &self.rows {
            out.extend(format!("{}\n", row.join(", ")).into_bytes());
        }
    }

    fn widths(&self) -> Vec<usize> {
        self.headings
            .iter()
            .enumerate()
            .map(|(column, heading)| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).chain([heading.chars().count()]).max().unwrap_or(0)
            })
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let rule = |f: &mut fmt::Formatter<'_>| {
            for width in &widths {
                write!(f, "+{}", "-".repeat(width + 2))?;
            }
            writeln!(f, "+")
        };
        rule(f)?;
        for (heading, width) in self.headings.iter().zip(&widths) {
            write!(f, "| {:^width$} ", heading.to_uppercase())?;
        }
        writeln!(f, "|")?;
        rule(f)?;
        for row in &self.rows {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:>width$} ")?;
            }
            writeln!(f, "|")?;
        }
        rule(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_as_scripts_know_it() {
        let table = Table {
            headings: vec!["ID", "Status", "Name"],
            rows: vec![vec!["667880157b8812c8".to_owned(), "started".to_owned(), "default".to_owned()]],
        };
        let want = "\
+------------------+---------+---------+
|        ID        | STATUS  |  NAME   |
+------------------+---------+---------+
| 667880157b8812c8 | started | default |
+------------------+---------+---------+
";
        assert_eq!(table.to_string(), want);
        let mut simple = Vec::new();
        table.simple(&mut simple);
        assert_eq!(simple, b"667880157b8812c8, started, default\n");
    }
}
