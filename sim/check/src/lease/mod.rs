//! The lease oracle.

pub mod book;

pub use book::LeaseBook;
