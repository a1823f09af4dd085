//! Tables: options in, configuration or one-line refusal out.

use super::*;

fn load(args: &[&str]) -> Result<Loaded, ConfigError> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    ServeConfig::from_settings(Settings::from_args(&args, &[])?)
}

fn config(args: &[&str]) -> ServeConfig {
    load(args).unwrap().config
}

#[test]
fn the_defaults_are_a_cluster_of_one() {
    let Loaded { config, warnings } = load(&[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("default", Some("default.etcd")));
    assert_eq!(config.verify_bootstrap(), Ok(()));
    assert_eq!(config.initial_cluster.len(), 1);
    assert_eq!(
        config.initial_cluster.cluster_id(&config.initial_cluster_token).to_string(),
        "cdf818194e3a8c32"
    );
    assert_eq!(config.storage_engine, StorageEngine::Redb);
    assert_eq!(config.heartbeat_interval, limits::HEARTBEAT_INTERVAL);
    assert_eq!(config.election_timeout, limits::ELECTION_TIMEOUT);
    assert_eq!(config.request_timeout(), Duration::from_secs(7));
    assert_eq!(config.quota_bytes, Some(limits::QUOTA_BYTES));
    assert_eq!(config.request_bytes_max, limits::REQUEST_BYTES_MAX);
    assert_eq!(config.txn_ops_max, limits::TXN_OPS_MAX);
    assert_eq!(config.snapshot_entries, limits::SNAPSHOT_ENTRIES);
    assert_eq!(config.snapshot_catchup_entries, limits::SNAPSHOT_CATCHUP_ENTRIES);
    assert_eq!(config.learners_max, limits::LEARNERS_MAX);
    assert_eq!(config.watch_progress_interval, limits::WATCH_PROGRESS_INTERVAL);
    assert_eq!(config.compaction_batch_revisions, limits::COMPACTION_BATCH_REVISIONS);
    assert_eq!(config.compaction_pause, limits::COMPACTION_PAUSE);
    assert_eq!(config.auto_compaction, AutoCompaction::Off);
    assert_eq!(config.keepalive.interval, Some(Duration::from_secs(7200)));
    assert!(config.pre_vote && config.strict_reconfig && config.gateway);
}

#[test]
fn a_member_of_three() {
    let config = config(&[
        "--name=m2",
        "--listen-peer-urls=http://0.0.0.0:2380",
        "--listen-client-urls=http://0.0.0.0:2379,http://127.0.0.1:2479",
        "--advertise-client-urls=http://m2.example:2379",
        "--initial-advertise-peer-urls=http://m2.example:2380",
        "--initial-cluster=m1=http://m1.example:2380,m2=http://m2.example:2380,m3=http://m3.example:2380",
        "--initial-cluster-state=existing",
        "--storage-engine=sled",
    ]);
    assert_eq!(config.initial_cluster.len(), 3);
    assert_eq!(config.listen_client_urls.len(), 2);
    assert_eq!(config.initial_cluster_state, ClusterState::Existing);
    assert_eq!(config.storage_engine, StorageEngine::Sled);
    assert_eq!(config.verify_bootstrap(), Ok(()));
}

#[test]
fn a_named_member_alone_is_its_own_cluster() {
    let config = config(&["--name=solo", "--initial-advertise-peer-urls=http://10.0.0.1:2380"]);
    assert_eq!(config.verify_bootstrap(), Ok(()));
    assert_eq!(config.data_dir.to_str(), Some("solo.etcd"));
}

#[test]
fn bootstrap_needs_itself_among_the_first_members() {
    let stranger = config(&["--name=x", "--initial-cluster=a=http://localhost:2380"]);
    let error = stranger.verify_bootstrap().unwrap_err().to_string();
    assert_eq!(error, "couldn't find local name \"x\" in the initial cluster configuration");
    let moved = config(&["--name=a", "--initial-cluster=a=http://localhost:9999"]);
    let error = moved.verify_bootstrap().unwrap_err().to_string();
    assert!(error.contains("--initial-cluster has a=http://localhost:9999 but"), "{error}");
}

#[test]
fn values_in_their_own_syntax() {
    for (args, want) in [
        (&["--auto-compaction-retention=5"][..], AutoCompaction::Periodic(Duration::from_secs(5 * 3600))),
        (&["--auto-compaction-retention=30m"], AutoCompaction::Periodic(Duration::from_secs(1800))),
        (
            &["--auto-compaction-mode=revision", "--auto-compaction-retention=1000"],
            AutoCompaction::Revisions(1000),
        ),
        (&["--auto-compaction-mode=revision"], AutoCompaction::Off),
    ] {
        assert_eq!(config(args).auto_compaction, want, "{args:?}");
    }
    assert_eq!(config(&["--quota-backend-bytes=-1"]).quota_bytes, None);
    assert_eq!(config(&["--quota-backend-bytes=5"]).quota_bytes, Some(5));
    let minute = Some(Duration::from_secs(60));
    let checks = |args: &[&str]| {
        let Loaded { config, warnings } = load(args).unwrap();
        assert_eq!(warnings, Vec::<String>::new(), "{args:?}");
        config.corruption_checks
    };
    assert_eq!(checks(&["--compact-hash-check-time=5s"]), CorruptionChecks::default(), "the gate is shut");
    let both = CorruptionChecks { initial: true, every: None, compact_hash_every: minute };
    let seldom = CorruptionChecks { every: minute.map(|time| time * 60), ..CorruptionChecks::default() };
    let often = CorruptionChecks { compact_hash_every: Some(Duration::from_secs(5)), ..both };
    for (args, want) in [
        (&["--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"][..], both),
        (&["--experimental-initial-corrupt-check", "--experimental-compact-hash-check-enabled=true"], both),
        (&["--initial-corrupt-check=true", "--feature-gates=CompactHashCheck=true"], both),
        (&["--initial-corrupt-check", "--compact-hash-check-enabled", "--compact-hash-check-time=5s"], often),
        (&["--corrupt-check-time=1h"], seldom),
        (&["--experimental-corrupt-check-time=1h"], seldom),
        (&["--experimental-initial-corrupt-check=false"], CorruptionChecks::default()),
    ] {
        assert_eq!(checks(args), want, "{args:?}");
    }
    assert_eq!(config(&["--grpc-keepalive-interval=0s"]).keepalive.interval, None);
    let file = LogOutput::File(PathBuf::from("q.log"));
    for (value, want) in [
        ("default", vec![LogOutput::Stderr]),
        ("stdout", vec![LogOutput::Stdout]),
        ("stdout,stderr,stderr", vec![LogOutput::Stderr, LogOutput::Stdout]),
        ("stderr,q.log", vec![LogOutput::Stderr, file]),
    ] {
        assert_eq!(config(&[&format!("--log-outputs={value}")]).log.outputs, want, "{value}");
    }
}

#[test]
fn refusals_are_one_line_that_names_the_option() {
    for (args, want) in [
        (
            &["--heartbeat-interval=x"][..],
            "invalid value \"x\" for --heartbeat-interval: want a whole number in range",
        ),
        (&["--heartbeat-interval=0"], "--heartbeat-interval and --election-timeout must be greater than 0"),
        (
            &["--election-timeout=400"],
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (
            &["--listen-client-urls=http://localhost:1"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (&["--listen-peer-urls=http://db.example:1"], "expected IP in URL for binding"),
        (&["--listen-peer-urls=localhost:1"], "URL scheme must be http, https, unix, or unixs"),
        (&["--listen-peer-urls="], "want at least one URL"),
        (&["--listen-peer-urls=unixs://localhost:1"], "unix sockets are not supported yet"),
        (&["--initial-cluster=a"], "invalid value \"a\" for --initial-cluster: want name=url"),
        (&["--initial-cluster-state=old"], "want one of new, existing"),
        (&["--storage-engine=bbolt"], "want one of redb, sled"),
        (&["--pre-vote=maybe"], "want true or false"),
        (&["--grpc-keepalive-interval=5"], "want a duration like 100ms, 5s or 1h30m"),
        (&["--bcrypt-cost=3"], "want 4 to 31"),
        (
            &["--max-request-bytes=33554433"],
            "--max-request-bytes=33554433 is more than the 33554432 that fit",
        ),
        (&["--max-learners=0"], "--max-learners must be greater than 0"),
        (&["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"], "want a whole number"),
        (&["--auth-token=jwt,sign-method=RS256"], "for --auth-token: pub-key or priv-key is missing"),
        (&["--feature-gates=Nope=true"], "unrecognized feature gate: Nope"),
        (&["--feature-gates=InitialCorruptCheck"], "want Name=true or Name=false"),
        (&["--initial-corrupt-check=perhaps"], "want Name=true or Name=false"),
        (&["--experimental-corrupt-check-time=5"], "for --corrupt-check-time: want a duration"),
        (&["--log-outputs=default,q.log"], "default cannot stand beside others"),
        (&["--log-outputs=systemd/journal"], "the journal is not spoken to"),
        (&["--log-outputs="], "want default, stdout, stderr or a path"),
        (&["--initial-cluster=default=unix://a:1"], "for --initial-cluster: unix sockets are not"),
        (&["--wal-dir=wal"], "--wal-dir is not supported yet: the log would lie elsewhere"),
        (&["--listen-metrics-urls=http://localhost:1"], "--listen-metrics-urls is not supported yet"),
        (&["--cert-file=a.pem"], "--cert-file and --key-file must be given together"),
        (&["--peer-client-key-file=a.pem"], "--peer-client-cert-file and --peer-client-key-file must be"),
        (
            &["--listen-peer-urls=https://localhost:1"],
            "without --peer-cert-file and its key, or --peer-auto-tls",
        ),
        (
            &["--listen-client-urls=https://localhost:1", "--advertise-client-urls=https://localhost:1"],
            "cannot listen on https://localhost:1 (--listen-client-urls) without --cert-file and its key",
        ),
        (&["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"),
        (&["--client-crl-file=a.pem"], "--client-crl-file needs --trusted-ca-file"),
        (&["--client-cert-allowed-hostname=a"], "--client-cert-allowed-hostname needs --trusted-ca-file"),
        (&["--peer-client-cert-auth"], "--peer-client-cert-auth needs --peer-trusted-ca-file"),
        (&["--peer-cert-allowed-cn=a"], "needs --peer-trusted-ca-file"),
        (
            &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
            "--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other",
        ),
        (
            &["--client-crl-file=a.pem", "--trusted-ca-file=ca.pem"],
            "--client-crl-file has no effect: no URL of --listen-client-urls is https",
        ),
        (
            &["--client-cert-allowed-hostname=a", "--trusted-ca-file=ca.pem"],
            "--client-cert-allowed-hostname has no effect: no URL of --listen-client-urls is https",
        ),
        (
            &["--peer-crl-file=a.pem", "--peer-trusted-ca-file=ca.pem"],
            "--peer-crl-file has no effect: no URL of --listen-peer-urls is https",
        ),
        (
            &["--peer-cert-allowed-cn=a", "--peer-trusted-ca-file=ca.pem"],
            "--peer-cert-allowed-cn has no effect: no URL of --listen-peer-urls is https",
        ),
        (
            &["--client-cert-allowed-hostname=m1.example,*.example", "--trusted-ca-file=ca.pem"],
            "\"*.example\" is neither a host name nor an address",
        ),
        (
            &["--peer-cert-allowed-hostname=https://m1", "--peer-trusted-ca-file=ca.pem"],
            "\"https://m1\" is neither a host name nor an address",
        ),
        (
            &["--initial-cluster=default=http://localhost:2380,b=https://b:1"],
            "--initial-cluster has https://b:1, which cannot be known for who it is without --peer-trusted-ca-file",
        ),
        (
            &[
                "--initial-cluster=default=http://localhost:2380,b=https://b:1",
                "--peer-cert-file=a.pem",
                "--peer-key-file=a.key",
                "--peer-auto-tls",
            ],
            "which cannot be known for who it is without --peer-trusted-ca-file",
        ),
        (&["--tls-min-version=TLS1.1"], "want one of TLS1.2, TLS1.3"),
        (&["--tls-max-version=1.3"], "want one of TLS1.2, TLS1.3"),
        (&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "no version is left"),
        (&["--tls-min-version=TLS1.3", "--cipher-suites=X"], "--cipher-suites cannot be chosen when only"),
        (&["--self-signed-cert-validity=0"], "want 1 to 1000 years"),
        (
            &["--discovery-endpoints=a:1"],
            "--discovery-endpoints is not supported yet: the member would start",
        ),
        (&["--discovery=http://a/b"], "--discovery is not supported yet: the member would start"),
        (
            &["--discovery-srv=example.com", "--initial-cluster=default=http://localhost:2380"],
            "--initial-cluster and --discovery-srv exclude each other",
        ),
        (&["--force-new-cluster"], "--force-new-cluster is not supported yet"),
    ] {
        let error = load(args).unwrap_err().to_string();
        assert!(error.contains(want), "{args:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn harmless_options_are_warned_about_only_when_they_were_meant() {
    for args in [
        &["--client-cert-auth=false"][..],
        &["--max-wals=5"],
        &["--logger=zap"],
        &["--backend-batch-interval=0"],
    ] {
        assert_eq!(load(args).unwrap().warnings, Vec::<String>::new(), "{args:?}");
    }
    for (args, want) in [
        (&["--max-wals=9"][..], "--max-wals=9 has no effect: segments are recycled"),
        (&["--unsafe-no-fsync"], "--unsafe-no-fsync=true has no effect: every acknowledged write is synced"),
        (&["--max-request-bytes=20000000"], "--max-request-bytes=20000000 is more than the recommended"),
        (&["--quota-backend-bytes=99000000000"], "--quota-backend-bytes is more than the recommended"),
        (&["--auto-compaction-retention=1h"], "--auto-compaction-retention=1h has no effect: nothing is"),
        (&["--pre-vote=false"], "--pre-vote=false has no effect"),
        (&["--client-cert-file=a.pem"], "--client-cert-file=a.pem has no effect: a member never calls"),
        (
            &["--cert-file=a.pem", "--key-file=a.key"],
            "http://localhost:2379 (--listen-client-urls) is plain text: --cert-file has no effect there",
        ),
        (
            &["--peer-client-cert-auth", "--peer-trusted-ca-file=ca.pem"],
            "http://localhost:2380 (--listen-peer-urls) is plain text: --peer-client-cert-auth has no effect",
        ),
        (&["--discovery-srv-name=a"], "--discovery-srv-name=a has no effect without --discovery-srv"),
        (
            &["--trusted-ca-file=ca.pem"],
            "http://localhost:2379 (--listen-client-urls) is plain text: --trusted-ca-file has no effect there, whoever \
             connects is let in",
        ),
        (
            &["--peer-trusted-ca-file=ca.pem"],
            "http://localhost:2380 (--listen-peer-urls) is plain text: --peer-trusted-ca-file has no effect there",
        ),
        (&["--feature-gates=LeaseCheckpoint=true"], "feature gate LeaseCheckpoint has no effect"),
    ] {
        let warnings = load(args).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains(want)), "{warnings:?}");
    }
}

#[test]
fn members_that_are_looked_up_take_the_place_of_a_list() {
    let load = |more: &[&str]| {
        let common = [
            "--name=m1",
            "--discovery-srv=example.com",
            "--initial-advertise-peer-urls=http://10.0.0.1:2380",
        ];
        config(&[&common, more].concat())
    };
    let before = load(&["--discovery-srv-name=blue"]);
    let srv = before.discovery.clone().unwrap();
    assert_eq!((srv.domain.as_str(), srv.name.as_str()), ("example.com", "blue"));
    assert!(before.initial_cluster.is_empty());
    assert!(before.verify_bootstrap().is_err(), "nothing is founded before they are known");
    let url = |text| Url::parse(text).unwrap();
    let own = url("http://m1.example.com:2380");
    let after = before.with_first_members(vec![own.clone()], &[url("http://m2.example.com:2380")]).unwrap();
    assert_eq!(after.verify_bootstrap(), Ok(()));
    assert_eq!(
        after.advertise_peer_urls.first(),
        Some(&own),
        "the URL of the record is the one that all members know"
    );
    assert_eq!(after.initial_cluster.len(), 2);

    let by_tls = [url("https://m2.example.com:2380")];
    let error = before.with_first_members(vec![own.clone()], &by_tls).unwrap_err().to_string();
    assert!(
        error.starts_with("--discovery-srv=example.com has https://m2.example.com:2380, which"),
        "{error}"
    );
    let trusting = load(&["--peer-trusted-ca-file=ca.pem"]);
    assert!(trusting.with_first_members(vec![own.clone()], &by_tls).is_ok());
}

#[test]
fn certificates_are_named_with_the_option_that_named_them() {
    let tls = config(&[
        "--listen-client-urls=https://127.0.0.1:1",
        "--advertise-client-urls=https://127.0.0.1:1",
        "--cert-file=c.pem",
        "--key-file=c.key",
        "--client-cert-auth",
        "--trusted-ca-file=ca.pem",
        "--listen-peer-urls=https://127.0.0.1:2",
        "--peer-auto-tls",
        "--peer-trusted-ca-file=pca.pem",
        "--peer-cert-allowed-cn=a,b",
        "--tls-max-version=TLS1.2",
    ])
    .tls;
    assert_eq!(tls.clients.own.unwrap().key.to_string(), "c.key (--key-file)");
    assert_eq!(tls.clients.trusted_ca.unwrap().to_string(), "ca.pem (--trusted-ca-file)");
    assert!(tls.clients.cert_auth && !tls.peers.cert_auth);
    let names = ["a".to_owned(), "b".to_owned()];
    assert_eq!(tls.peers.allowed, crate::config::tls::Allowed::CommonNames(names.to_vec()));
    assert_eq!(tls.protocol.highest, crate::config::tls::TlsVersion::V1_2);
}

#[test]
fn an_address_in_plain_text_beside_one_by_tls_is_told_of_with_all_that_does_not_protect_it() {
    let warnings = load(&[
        "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:2",
        "--advertise-client-urls=https://127.0.0.1:1",
        "--cert-file=c.pem",
        "--key-file=c.key",
        "--trusted-ca-file=ca.pem",
        "--client-crl-file=gone.pem",
        "--client-cert-allowed-hostname=m1.example,10.0.0.1,::1",
    ])
    .unwrap()
    .warnings;
    let about = |flag: &str| {
        format!("http://127.0.0.1:2 (--listen-client-urls) is plain text: --{flag} has no effect")
    };
    for flag in ["cert-file", "trusted-ca-file", "client-crl-file", "client-cert-allowed-hostname"] {
        assert!(warnings.iter().any(|warning| warning.starts_with(&about(flag))), "{flag}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

#[test]
fn authorities_that_sign_for_clients_and_peers_alike_are_told_of() {
    let told = |more: &[&str]| {
        let peers = [
            "--listen-peer-urls=https://127.0.0.1:1",
            "--initial-advertise-peer-urls=https://127.0.0.1:1",
            "--initial-cluster=default=https://127.0.0.1:1",
            "--listen-client-urls=https://127.0.0.1:2",
            "--advertise-client-urls=https://127.0.0.1:2",
            "--auto-tls",
            "--peer-auto-tls",
            "--trusted-ca-file=ca.pem",
        ];
        load(&[&peers[..], more].concat()).unwrap().warnings
    };
    let one = told(&["--peer-trusted-ca-file=ca.pem"]);
    assert!(one.len() == 1 && one[0].contains("good for the peers' API"), "{one:?}");
    assert_eq!(told(&["--peer-trusted-ca-file=peers.pem"]), Vec::<String>::new());
    assert_eq!(told(&["--peer-trusted-ca-file=ca.pem", "--peer-cert-allowed-cn=m"]), Vec::<String>::new());
}
