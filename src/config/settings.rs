//! What was set, and from where: the command line and the environment, or the file alone.
//!
//! A settings map holds texts under flag names. It refuses what it does not know and what was said twice, and it
//! collects warnings; what the texts mean is `serve`'s work.

use std::collections::BTreeMap;

use crate::config::earlier::{EARLIER, Earlier, earlier};
use crate::config::error::ConfigError;
use crate::config::flags::{self, Flag, Kind};

/// Options that were set, as texts, and what is to be said about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Feature gates that switches of an earlier level opened or shut, as `Name=value`.
    pub gates: Vec<String>,
    /// One line each, for the log.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the command line (without the program's name) and the environment.
    ///
    /// # Errors
    /// An unknown flag, a missing value, a stray word, or an option that both of them set.
    pub fn from_args(args: &[String], env: &[(String, String)]) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                return Err(ConfigError::Usage(format!("'{word}' is not a valid flag")));
            };
            let (name, mut value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if flags::LEGACY.contains(&name) {
                settings.warnings.push(format!("flag --{name} is of long ago and has no effect"));
                continue;
            }
            if let Some(Earlier::Gate(gate)) = earlier(name) {
                settings.gates.push(format!("{gate}={}", value.as_deref().unwrap_or("true")));
                continue;
            }
            let known = find(name)
                .ok_or_else(|| ConfigError::Usage(format!("flag provided but not defined: -{name}")))?;
            if known.kind == Kind::Switch {
                value = value.or_else(|| Some("true".to_owned()));
            }
            let value = value
                .or_else(|| words.next().cloned())
                .ok_or_else(|| ConfigError::Usage(format!("flag needs an argument: -{name}")))?;
            // The last one wins, as scripts that append options rely on.
            settings.values.insert(known.name, value);
        }
        settings.take_environment(env)?;
        Ok(settings)
    }

    fn take_environment(&mut self, env: &[(String, String)]) -> Result<(), ConfigError> {
        let by_variable: BTreeMap<String, &Flag> = flags::all().map(|flag| (flag.variable(), flag)).collect();
        for (variable, value) in env.iter().filter(|(variable, _)| variable.starts_with("ETCD_")) {
            if flags::OTHER_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let before = EARLIER.iter().find(|(name, _)| flags::variable(name) == *variable);
            if let Some((_, Earlier::Gate(gate))) = before {
                if !value.is_empty() {
                    self.gates.push(format!("{gate}={value}"));
                }
                continue;
            }
            let flag = match before {
                Some((name, _)) => find(name),
                None => by_variable.get(variable).copied(),
            };
            let Some(flag) = flag else {
                self.warnings.push(format!("unrecognized environment variable {variable}={value}"));
                continue;
            };
            // An empty variable is an unset one: that is how shells and unit files turn things off.
            if value.is_empty() {
                continue;
            }
            if self.values.contains_key(flag.name) {
                return Err(ConfigError::Shadowed { variable: variable.clone(), flag: flag.name.to_owned() });
            }
            self.values.insert(flag.name, value.clone());
        }
        Ok(())
    }

    /// Sets one option, as the file does.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> Result<(), ConfigError> {
        if let Some(Earlier::Gate(gate)) = earlier(name) {
            self.gates.push(format!("{gate}={}", value.into()));
            return Ok(());
        }
        let flag = find(name).ok_or_else(|| ConfigError::Usage(format!("there is no option {name:?}")))?;
        self.values.insert(flag.name, value.into());
        Ok(())
    }

    /// What was set under this name, if anything.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// What was set under this name, else the default.
    pub fn value(&self, name: &str) -> &str {
        self.given(name).unwrap_or_else(|| flags::find(name).map_or("", |flag| flag.default))
    }

    /// The options that were set, in order of name.
    pub fn all_given(&self) -> impl Iterator<Item = (&'static Flag, &str)> {
        self.values.iter().filter_map(|(name, value)| flags::find(name).map(|flag| (flag, value.as_str())))
    }
}

/// The flag of this name, or of the one that an earlier level gave it.
fn find(name: &str) -> Option<&'static Flag> {
    match earlier(name) {
        Some(Earlier::Flag(now)) => flags::find(now),
        Some(Earlier::Gate(_)) => None,
        None => flags::find(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::from_args(&args, &env)
    }

    #[test]
    fn every_way_to_write_a_flag() {
        for args in [
            &["--name=a", "--pre-vote=false"][..],
            &["-name=a", "-pre-vote=false"],
            &["--name", "a", "--pre-vote=false"],
            &["--name=x", "--name=a", "--pre-vote", "--pre-vote=false"],
        ] {
            let settings = read(args, &[]).unwrap();
            assert_eq!((settings.value("name"), settings.value("pre-vote")), ("a", "false"), "{args:?}");
        }
        assert_eq!(read(&["--pre-vote", "--name", "a"], &[]).unwrap().value("pre-vote"), "true");
        assert_eq!(read(&["--name="], &[]).unwrap().given("name"), Some(""));
    }

    #[test]
    fn the_environment_fills_in_and_never_overrides() {
        let settings = read(&["--name=a"], &[("ETCD_DATA_DIR", "/d"), ("PATH", "/bin")]).unwrap();
        assert_eq!((settings.value("name"), settings.value("data-dir")), ("a", "/d"));
        assert!(settings.warnings.is_empty());
        let error = read(&["--name=a"], &[("ETCD_NAME", "b")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "conflicting environment variable ETCD_NAME is shadowed by corresponding command-line flag --name \
             (unset the variable or drop the flag)"
        );
        assert_eq!(error.exit_code(), 1);
        assert!(read(&["--name=a"], &[("ETCD_NAME", "")]).is_ok(), "an empty variable is an unset one");
    }

    #[test]
    fn names_of_an_earlier_level_are_heeded_wherever_they_stand() {
        let variables = [
            ("ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", "true"),
            ("ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME", "2h"),
        ];
        let settings = read(&[], &variables).unwrap();
        assert_eq!(settings.gates, ["InitialCorruptCheck=true"]);
        assert_eq!(settings.value("corrupt-check-time"), "2h");
        let mut file = Settings::default();
        file.set("experimental-compact-hash-check-enabled", "true").unwrap();
        file.set("experimental-compact-hash-check-time", "9s").unwrap();
        assert_eq!(
            (file.gates.as_slice(), file.value("compact-hash-check-time")),
            (&["CompactHashCheck=true".to_owned()][..], "9s")
        );
        assert_eq!((settings.warnings.len(), file.warnings.len()), (0, 0));
        let both = read(&["--experimental-corrupt-check-time=1h"], &[("ETCD_CORRUPT_CHECK_TIME", "2h")]);
        assert!(matches!(both, Err(ConfigError::Shadowed { .. })), "one setting, said twice");
    }

    #[test]
    fn strangers_are_named() {
        let settings =
            read(&[], &[("ETCD_NMAE", "b"), ("ETCD_VERIFY", "all"), ("ETCDCTL_USER", "u")]).unwrap();
        assert_eq!(settings.warnings, ["unrecognized environment variable ETCD_NMAE=b"]);
        for (args, want) in [
            (&["--nmae=a"][..], "flag provided but not defined: -nmae"),
            (&["a"], "'a' is not a valid flag"),
            (&["--name"], "flag needs an argument: -name"),
        ] {
            let error = read(args, &[]).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (want, 2));
        }
        let legacy = read(&["--snapshot=true", "--name=a"], &[]).unwrap();
        assert_eq!((legacy.value("name"), legacy.warnings.len()), ("a", 1));
    }

    #[test]
    fn defaults_stand_where_nothing_was_said() {
        let settings = read(&[], &[]).unwrap();
        assert_eq!(settings.value("listen-client-urls"), "http://localhost:2379");
        assert_eq!(settings.given("listen-client-urls"), None);
        assert_eq!(settings.all_given().count(), 0);
    }
}
