//! When a sled folder is trusted.
