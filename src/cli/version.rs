//! Versions: the level of the API that is implemented, and Quorate's own.
//!
//! Clients switch features on by the API's level, so that is what the wire and the first line report.

pub use crate::config::API_VERSION;

/// Quorate's own version.
pub const QUORATE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints: four lines as scripts expect them, then Quorate's own version.
pub fn text() -> String {
    format!(
        "etcd Version: {API_VERSION}\nGit SHA: Not provided (use quorate version)\nGo Version: none (written in Rust)\n\
         Go OS/Arch: {}/{}\nQuorate Version: {QUORATE_VERSION}\n",
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn four_lines_then_our_own() {
        let text = super::text();
        let heads: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(heads, ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch", "Quorate Version"]);
        assert!(text.starts_with("etcd Version: 3.7.1\n"));
    }
}
