//! `cargo sim explore`: hands over to `quorate-explore`, the program of the models.
//!
//! The models are plain Rust on threads and a real socket, so they are built and run without the simulator: this
//! starts `cargo run` of that program, gives it the arguments as they are, and takes over its exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Runs `quorate-explore` with these arguments: its exit code.
///
/// # Errors
/// Cargo cannot be started, or the program was killed.
pub fn explore(args: &[OsString]) -> Result<u8, String> {
    let status = command(std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR"), args)
        .status()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.ok_or_else(|| format!("quorate-explore: {status}"))
}

/// The command: with the cargo and the workspace that started this program, or else those of the present folder.
fn command(cargo: Option<OsString>, crate_folder: Option<OsString>, args: &[OsString]) -> Command {
    let mut command = Command::new(cargo.unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--package", "quorate-models", "--bin", "quorate-explore"]);
    if let Some(folder) = crate_folder {
        command.arg("--manifest-path").arg(PathBuf::from(folder).join("models").join("Cargo.toml"));
    }
    command.arg("--").args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_are_handed_on_as_they_are() {
        let args = ["lease".into(), "--check".into()];
        let plain = "cargo run --quiet --package quorate-models --bin quorate-explore -- lease --check";
        assert_eq!(words(&command(None, None, &args)), plain);
        let of_cargo = words(&command(Some("/bin/cargo".into()), Some("/src/sim".into()), &[]));
        assert!(of_cargo.starts_with("/bin/cargo run"), "{of_cargo}");
        assert!(of_cargo.ends_with("--manifest-path /src/sim/models/Cargo.toml --"), "{of_cargo}");
    }
}
