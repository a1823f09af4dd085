//! The state machine against an independent model, and as stories.
//!
//! `model` is written from the API's rules alone and keeps a full copy of the key space at every revision;
//! `generate` makes random commands; `laws` compares; `rebuilt` makes a history anew and goes on with both; `golden` replays transcripts kept as text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod auth;
mod generate;
mod golden;
mod laws;
mod model;
mod rebuilt;
mod store;
mod stories;
