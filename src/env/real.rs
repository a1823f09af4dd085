//! The real world: the host's clocks, file system, threads and entropy. Plain build only.
