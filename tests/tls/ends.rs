//! Authorities whose time is over, or has not begun: what they signed counts no more, or not yet.

use std::fs;

use crate::authority::{Authority, Wanted};
use crate::knock::Visitor;
use crate::member::{Alone, options};

#[test]
fn an_authority_that_has_ended_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let ended = Authority::lasting(dir.path(), "ended", (2020, 2021));
    let early = Authority::lasting(dir.path(), "early", (2110, 2120));
    let all = dir.path().join("all.pem");
    fs::write(&all, [&*ended.pem, &ca.pem, &early.pem].concat()).unwrap();
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let by = |authority: &Authority| authority.sign("alice", &Wanted::default());
    let (good, of_ended, of_early) = (by(&ca), by(&ended), by(&early));
    let overdue = "its certificate is signed by an authority that has expired or is not valid yet";
    let trusted = ca.file();

    let bundle = [format!("--trusted-ca-file={}", all.display())];
    let mut alone = Alone::behind_tls(dir.path(), &options([&own[..], &bundle]));
    for (name, what) in
        [("ended", "this authority has expired"), ("early", "this authority is not valid yet")]
    {
        let told = alone.program.said().iter().find(|line| line.contains(what)).unwrap();
        assert!(
            told.contains(&format!("CN={name}")) && told.contains("all.pem (--trusted-ca-file)"),
            "{told}"
        );
    }
    Visitor::who_trusts(&trusted).showing(&good).knock(alone.client).unwrap();
    Visitor::who_trusts(&trusted).showing(&of_ended).knock(alone.client).unwrap_err();
    alone.turned_away("client", overdue);
    Visitor::who_trusts(&trusted).showing(&of_early).knock(alone.client).unwrap_err();

    let home = dir.path().join("none");
    fs::create_dir(&home).unwrap();
    let mut none = Alone::behind_tls(&home, &options([&own[..], &[ended.option("trusted-ca-file")]]));
    Visitor::who_trusts(&trusted).showing(&of_ended).knock(none.client).unwrap_err();
    none.turned_away("client", overdue);
    Visitor::who_trusts(&trusted).showing(&good).knock(none.client).unwrap_err();
    none.turned_away("client", "its certificate is signed by no authority of --trusted-ca-file");
}

#[test]
fn an_authority_that_has_ended_is_no_proof_of_a_server_either() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Authority::lasting(dir.path(), "ended", (2020, 2021));
    let own = ended.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let alone = Alone::behind_tls(dir.path(), &own);
    let asked = alone.ctl(dir.path(), &[&ended.option("cacert"), "get", "k"]);
    assert_eq!(asked.status.code(), Some(2), "{:?}", asked.stderr);
    let why = "its certificate is signed by an authority that has expired or is not valid yet";
    assert!(asked.last_line().contains(why), "{}", asked.last_line());
}
