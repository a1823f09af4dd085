//! The flags of TLS, and of whom HTTP is served to.

use crate::config::flags::Care::{self, Ignored, Used};
use crate::config::flags::Kind::{Number, Switch, Text};
use crate::config::flags::{Flag, flag};

const NO_DIAL: Care = Ignored("a member never calls a client's address");

/// The section of the help.
pub const SECURITY: &[Flag] = &[
    flag("cert-file", Text, "", Used, "certificate that clients are shown, with those behind it"),
    flag("key-file", Text, "", Used, "its key"),
    flag(
        "client-cert-auth",
        Switch,
        "false",
        Used,
        "clients must show a certificate; its common name is the user where no token is shown",
    ),
    flag("client-cert-file", Text, "", NO_DIAL, "certificate for calls to clients' addresses"),
    flag("client-key-file", Text, "", NO_DIAL, "its key"),
    flag("client-crl-file", Text, "", Used, "certificates of clients that count no more"),
    flag(
        "client-cert-allowed-hostname",
        Text,
        "",
        Used,
        "host names, one of which clients' certificates must bear, comma-separated",
    ),
    flag(
        "trusted-ca-file",
        Text,
        "",
        Used,
        "authorities of clients' certificates; with it they must show one",
    ),
    flag("auto-tls", Switch, "false", Used, "show clients a certificate that the member makes"),
    flag("peer-cert-file", Text, "", Used, "certificate that peers are shown, with those behind it"),
    flag("peer-key-file", Text, "", Used, "its key"),
    flag("peer-client-cert-auth", Switch, "false", Used, "peers must show a certificate"),
    flag(
        "peer-client-cert-file",
        Text,
        "",
        Used,
        "certificate shown when connecting to peers, if another one",
    ),
    flag("peer-client-key-file", Text, "", Used, "its key"),
    flag(
        "peer-trusted-ca-file",
        Text,
        "",
        Used,
        "authorities of peers' certificates; with it they must show one",
    ),
    flag(
        "peer-cert-allowed-cn",
        Text,
        "",
        Used,
        "common names, one of which peers' certificates must bear, comma-separated",
    ),
    flag(
        "peer-cert-allowed-hostname",
        Text,
        "",
        Used,
        "host names, one of which peers' certificates must bear, comma-separated",
    ),
    flag("peer-auto-tls", Switch, "false", Used, "show peers a made certificate, and verify none"),
    flag("self-signed-cert-validity", Number, "1", Used, "years that made certificates last"),
    flag("peer-crl-file", Text, "", Used, "certificates of peers that count no more"),
    flag("cipher-suites", Text, "", Used, "cipher suites of TLS1.2, comma-separated (default all)"),
    flag("cors", Text, "*", Ignored("HTTP is not served yet"), "origins that browsers may call from"),
    flag(
        "host-whitelist",
        Text,
        "*",
        Ignored("HTTP is not served yet"),
        "host names that HTTP requests may carry",
    ),
    flag("tls-min-version", Text, "TLS1.2", Used, "lowest version of TLS: TLS1.2 or TLS1.3"),
    flag("tls-max-version", Text, "", Used, "highest version of TLS (default the newest)"),
];
