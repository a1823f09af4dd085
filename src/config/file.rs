//! The configuration file, YAML or JSON: its keys are flag names.
//!
//! The file is all there is when it is given: flags and environment are then not looked at. Durations may be whole
//! numbers of nanoseconds, lists may be YAML lists. A key that an older version of the API's server knew is warned
//! about; any other unknown key is refused, because a misspelt option is an option that does not hold.

use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

use crate::config::error::ConfigError;
use crate::config::flags::{self, Kind};
use crate::config::settings::Settings;

/// Keys that once meant something to a server of this API.
const OBSOLETE: &[&str] = &[
    "enable-v2",
    "enable-v2v3",
    "proxy",
    "proxy-failure-wait",
    "proxy-refresh-interval",
    "proxy-dial-timeout",
    "proxy-write-timeout",
    "proxy-read-timeout",
    "max-snapshots",
    "v2-deprecation",
    "debug",
    "log-package-levels",
];

/// Keys of the two transport sections and the flags they stand for, without and with `peer-`. A common name of clients
/// is their user, and is not chosen here; where clients connect from is not asked.
const TRANSPORT: &[(&str, Option<&str>, &str)] = &[
    ("cert-file", Some("cert-file"), "peer-cert-file"),
    ("key-file", Some("key-file"), "peer-key-file"),
    ("client-cert-file", Some("client-cert-file"), "peer-client-cert-file"),
    ("client-key-file", Some("client-key-file"), "peer-client-key-file"),
    ("client-cert-auth", Some("client-cert-auth"), "peer-client-cert-auth"),
    ("trusted-ca-file", Some("trusted-ca-file"), "peer-trusted-ca-file"),
    ("auto-tls", Some("auto-tls"), "peer-auto-tls"),
    ("client-crl-file", Some("client-crl-file"), "peer-crl-file"),
    ("allowed-cn", None, "peer-cert-allowed-cn"),
    ("allowed-cns", None, "peer-cert-allowed-cn"),
    ("allowed-hostname", Some("client-cert-allowed-hostname"), "peer-cert-allowed-hostname"),
    ("allowed-hostnames", Some("client-cert-allowed-hostname"), "peer-cert-allowed-hostname"),
    ("skip-client-san-verification", None, "peer-skip-client-san-verification"),
];

/// Reads the text of the file at `path`; the path is for messages only.
///
/// # Errors
/// Text that is neither YAML nor JSON, keys that are unknown, values of the wrong shape.
pub fn parse(path: &str, text: &str) -> Result<Settings, ConfigError> {
    let refuse = |why: String| ConfigError::File { path: path.to_owned(), why };
    // JSON is YAML, but for tabs between its tokens.
    let spaced = if text.trim_start().starts_with('{') { text.replace('\t', " ") } else { text.to_owned() };
    let documents = YamlLoader::load_from_str(&spaced).map_err(|error| refuse(error.to_string()))?;
    let mut settings = Settings::default();
    let root = match documents.as_slice() {
        [] | [Yaml::Null] => return Ok(settings),
        [Yaml::Hash(root)] => root,
        _ => return Err(refuse("want one map of option names to values".to_owned())),
    };
    for (key, value) in root {
        let name = key.as_str().ok_or_else(|| refuse(format!("{key:?} is no option name")))?;
        match name {
            "client-transport-security" => transport(&mut settings, value, false).map_err(refuse)?,
            "peer-transport-security" => transport(&mut settings, value, true).map_err(refuse)?,
            _ if OBSOLETE.contains(&name) || name.starts_with("experimental-") => {
                settings
                    .warnings
                    .push(format!("config file: {name} is of an older version and has no effect"));
            }
            _ => {
                let flag = flags::find(name).ok_or_else(|| refuse(format!("there is no option {name:?}")))?;
                let value = scalar(value, flag.kind)
                    .ok_or_else(|| refuse(format!("{name}: want a plain value or a list of them")))?;
                if let Some(value) = value {
                    settings.set(name, value)?;
                }
            }
        }
    }
    Ok(settings)
}

fn transport(settings: &mut Settings, section: &Yaml, peer: bool) -> Result<(), String> {
    let empty = Hash::new();
    let section = match section {
        Yaml::Hash(section) => section,
        Yaml::Null => &empty,
        _ => return Err("a transport section is a map".to_owned()),
    };
    for (key, value) in section {
        let name = key.as_str().unwrap_or_default();
        let (_, client, of_peer) = TRANSPORT
            .iter()
            .find(|(key, ..)| *key == name)
            .ok_or_else(|| format!("there is no option {name:?}"))?;
        let of_client = client.ok_or_else(|| format!("{name} is for peers alone"));
        let flag = if peer { of_peer } else { of_client? };
        let value = scalar(value, Kind::Text).ok_or_else(|| format!("{name}: want a plain value"))?;
        if let Some(value) = value {
            settings.set(flag, value).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The value as a flag would carry it. `Some(None)` is "not set"; `None` is no plain value.
fn scalar(value: &Yaml, kind: Kind) -> Option<Option<String>> {
    let text = match value {
        Yaml::Null => return Some(None),
        Yaml::String(text) => text.clone(),
        Yaml::Boolean(switch) => switch.to_string(),
        Yaml::Integer(number) if kind == Kind::Duration => format!("{number}ns"),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Real(text) => text.clone(),
        Yaml::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| scalar(item, kind).flatten()).collect();
            items?.join(",")
        }
        _ => return None,
    };
    Some(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "# a member\nname: 'm1'\nheartbeat-interval: 50\npre-vote: false\nlog-outputs: [stderr, stdout]\n\
                    quota-backend-bytes: -1\ncorrupt-check-time: 5000000000\ninitial-cluster:\n";
        let json = "{\n\t\"name\": \"m1\", \"heartbeat-interval\": 50, \"pre-vote\": false,\n\t\"log-outputs\": [\"stderr\", \"stdout\"],\
                    \"quota-backend-bytes\": -1, \"corrupt-check-time\": 5000000000}";
        let settings = parse("c.yml", yaml).unwrap();
        assert_eq!(settings, parse("c.json", json).unwrap());
        for (name, value) in [
            ("name", "m1"),
            ("heartbeat-interval", "50"),
            ("pre-vote", "false"),
            ("log-outputs", "stderr,stdout"),
            ("quota-backend-bytes", "-1"),
            ("corrupt-check-time", "5000000000ns"),
        ] {
            assert_eq!(settings.given(name), Some(value), "{name}");
        }
        assert_eq!(settings.given("initial-cluster"), None, "an empty value sets nothing");
    }

    #[test]
    fn transport_sections_are_the_flags() {
        let text = "client-transport-security:\n  cert-file: a.pem\npeer-transport-security:\n  cert-file: b.pem\n  auto-tls: true\n";
        let settings = parse("c.yml", text).unwrap();
        assert_eq!(settings.given("cert-file"), Some("a.pem"));
        assert_eq!(settings.given("peer-cert-file"), Some("b.pem"));
        assert_eq!(settings.given("peer-auto-tls"), Some("true"));
    }

    #[test]
    fn old_keys_are_warned_about_and_unknown_ones_refused() {
        let settings = parse("c.yml", "enable-v2: false\nexperimental-x: 1\nname: a").unwrap();
        assert_eq!((settings.given("name"), settings.warnings.len()), (Some("a"), 2));
        for (text, want) in [
            ("nmae: a", "config file c.yml: there is no option \"nmae\""),
            ("name: {a: b}", "config file c.yml: name: want a plain value"),
            ("- a\n- b", "want one map"),
            ("name: [", "config file c.yml: "),
            ("peer-transport-security: {cert: a}", "there is no option \"cert\""),
            ("client-transport-security: {allowed-cn: a}", "allowed-cn is for peers alone"),
            ("client-transport-security: {skip-client-san-verification: true}", "is for peers alone"),
        ] {
            let error = parse("c.yml", text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert_eq!(parse("c.yml", "").unwrap(), Settings::default());
    }
}
