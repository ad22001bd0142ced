//! Which certificate the listener shows.

use super::{load_text, said, with_source};
use crate::wire::TlsSettings;

fn with_tls(tls: &str, keys: &str) -> String {
    with_source(&format!("{{ name: a, spiffe: {{ trust_domain: prod.example, {keys} }} }}"))
        .replace("tls: { certificate: a, key: b }", &format!("tls: {tls}"))
}

#[test]
fn files_or_our_own_svid_and_never_both() {
    let agent = "workload_api: \"unix:/run/agent.sock\"";
    let loaded = load_text("svid", &with_tls("{ spiffe: a }", agent)).unwrap();
    assert!(matches!(loaded.configuration.listen.tls, Some(TlsSettings::Svid(name)) if name.as_str() == "a"));
    for (tls, keys, wanted) in [
        ("{ spiffe: b }", agent, "there is no source b with a `workload_api`"),
        ("{ spiffe: a }", "bundle: { file: b.json }", "there is no source a with a `workload_api`"),
        ("{ spiffe: a, certificate: x, key: y }", agent, "with `spiffe` there is no `certificate` and no `key`"),
        ("{ spiffe: A }", agent, "\"A\" is not a source name"),
        ("{ certificate: x }", agent, "`key` is missing"),
        ("{}", agent, "`certificate` is missing"),
    ] {
        let report = said(&load_text("tls", &with_tls(tls, keys)).unwrap_err());
        assert!(report.iter().any(|line| line.contains(wanted)), "{tls}: {report:?}");
    }
}
