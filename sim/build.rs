//! Lists the hooks that the source holds (`mutant!`, `sometimes!`, `buggify!` and siblings), for `src/hooks.rs`.
//!
//! It reads text, not Rust: a hook is written on one line with a plain literal, which the macros demand anyway.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..");
    let mut files = Vec::new();
    // The world has marks of its own, for what no single member can know.
    for folder in ["src", "sim/src/world"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut output = String::new();
    let lists: [(&str, &[&str], &str); 3] = [
        ("MUTANTS", &["mutant!(\""], "The planted bugs"),
        ("MARKS", &["sometimes!(\""], "The marks of rare events"),
        ("PLACES", &["buggify!(\"", "disturb!(\"", "disturb_then!(\""], "The places of legal disturbances"),
    ];
    for (list, hooks, about) in lists {
        writeln!(output, "/// {about}, in the order of the source.")?;
        writeln!(output, "pub const {list}: &[Place] = &[")?;
        for file in &files {
            let shown = file.strip_prefix(&root)?.display().to_string();
            for (number, line) in fs::read_to_string(file)?.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let Some((_, rest)) = hooks.iter().find_map(|hook| code.split_once(hook)) else { continue };
                let Some((name, _)) = rest.split_once('"') else { continue };
                writeln!(output, "    Place {{ name: {name:?}, file: {shown:?}, line: {} }},", number + 1)?;
            }
        }
        writeln!(output, "];")?;
    }
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("hooks.rs"), output)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
