//! Pages for the browser: one offline HTML file for a run, one for a sweep.
//!
//! `run` the run page, from `data` (its tables), `words` (requests, answers and faults in a line each) and `pins`
//! (where in the run each violation shows); `sweep` the sweep page; `document` puts data, script and style into one
//! file.
//!
//! What the browser does with them stands in `assets/`, a file a task: `model` the tables, `theme` colours and
//! hatches, `filter`, `events` the steps, `canvas` the window, `lanes` their order and what lies where, `draw*` what is
//! seen, `panel` the text beside it, `run` keys and pointer; `sweep` the whole of the sweep page.
//!
//! Invariants: a page names no other file and no address, and says so to the browser, which then refuses all of
//! them; the same run gives the same page, but for the host time it took. Pages show what was judged and never
//! judge themselves.

mod data;
mod document;
mod pins;
mod run;
mod sweep;
mod words;

pub use run::RunPage;
pub use sweep::SweepPage;

/// A page cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The file cannot be written.
    #[error("page {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the host said.
        error: std::io::Error,
    },
    /// What it shows has no JSON form, which would be a fault of this program.
    #[error("page: {0}")]
    Json(#[from] serde_json::Error),
}
