//! Bundle endpoints: everything about them is written, nothing is worked out.

use super::{Folder, load_text, with_source};
use crate::identity::SpiffeId;
use crate::trust::{EndpointProfile, SourceKind, SpiffeKeys};

const WEB: &str = "url: https://spire.partner.example/bundle, profile: https_web";
const SPIFFE: &str = "url: https://10.0.0.1:8443, profile: https_spiffe, server_id: spiffe://partner.example/spire/server, first: first.json";

fn source(bundle: &str) -> String {
    with_source(&format!("name: a\nspiffe: {{ trust_domain: partner.example, bundle: {{ {bundle} }} }}"))
}

fn endpoint(bundle: &str) -> (String, EndpointProfile, std::path::PathBuf) {
    let folder = Folder::new("bundles");
    let path = folder.write("countersign.yaml", &source(bundle));
    let loaded = super::super::load(&path, &super::super::Environment::default());
    let loaded = loaded.unwrap_or_else(|report| panic!("{bundle}\n{report}"));
    match loaded.configuration.sources[0].kind.clone() {
        SourceKind::Spiffe { keys: SpiffeKeys::BundleEndpoint { url, profile }, .. } => {
            (url.to_string(), profile, folder.path().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn fed_01_fed_02_both_profiles_as_they_are_written() {
    let (url, profile, _) = endpoint(WEB);
    assert_eq!((url.as_str(), profile), ("https://spire.partner.example/bundle", EndpointProfile::Web { ca: None }));
    let (_, profile, folder) = endpoint(&format!("{WEB}, ca: extra-ca.crt"));
    assert_eq!(profile, EndpointProfile::Web { ca: Some(folder.join("extra-ca.crt")) });
    let (url, profile, folder) = endpoint(SPIFFE);
    let server_id = SpiffeId::parse("spiffe://partner.example/spire/server").unwrap();
    assert_eq!(url, "https://10.0.0.1:8443/");
    assert_eq!(profile, EndpointProfile::Spiffe { server_id, first: folder.join("first.json") });
}

#[test]
fn fed_01_fed_03_fed_13_nothing_is_worked_out_and_profiles_do_not_mix() {
    let without = |text: &str, gone: &str| {
        assert!(text.contains(gone));
        text.replace(gone, "")
    };
    for (bundle, says) in [
        (without(WEB, ", profile: https_web"), "`profile` is missing"),
        (without(SPIFFE, "profile: https_spiffe, "), "`profile` is missing"),
        (without(SPIFFE, "server_id: spiffe://partner.example/spire/server, "), "`server_id` is missing"),
        (without(SPIFFE, ", first: first.json"), "`first` is missing"),
        ("profile: https_web".to_owned(), "exactly one of `file`, `url` is needed, none is given"),
        (format!("file: b.json, {WEB}"), "exactly one of `file`, `url` is needed, 2 are given"),
        ("file: b.json, profile: https_web".to_owned(), "`profile` has no meaning beside `file`"),
        ("file: b.json, ca: ca.crt".to_owned(), "`ca` has no meaning beside `file`"),
        (format!("{WEB}, first: b.json"), "`first` has no meaning beside `profile: https_web`"),
        (format!("{WEB}, server_id: spiffe://a.example/x"), "`server_id` has no meaning beside `profile: https_web`"),
        (format!("{SPIFFE}, ca: ca.crt"), "`ca` has no meaning beside `profile: https_spiffe`"),
        (WEB.replace("https://", "http://"), "this is not an https URL"),
        (WEB.replace("https://", "https://u:p@"), "user information"),
        (WEB.replace("https://", "https://u@"), "user information"),
        (SPIFFE.replace("https://", "http://"), "this is not an https URL"),
        (SPIFFE.replace("https://", "https://u:p@"), "user information"),
        (SPIFFE.replace("https://", "https://u@"), "user information"),
        (SPIFFE.replace("/spire/server", ""), "is not a SPIFFE ID of a workload"),
        (SPIFFE.replace("/spire/server", "/*"), "is not a SPIFFE ID of a workload"),
        (WEB.replace("https_web", "https"), "https_web"),
    ] {
        let report = load_text("mixed", &source(&bundle)).expect_err(&bundle);
        assert!(report.to_string().contains(says), "{bundle}: {report}");
    }
    let nameless = with_source(&format!("name: a\nspiffe: {{ bundle: {{ {WEB} }} }}"));
    let report = load_text("nameless", &nameless).expect_err("a trust domain is not worked out");
    assert!(report.to_string().contains("`trust_domain` is missing"), "{report}");
}

#[test]
fn a_first_bundle_that_cannot_be_used_is_a_remark() {
    let loaded = load_text("first", &source(SPIFFE)).unwrap();
    let missed: Vec<_> = loaded.lints.findings().iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(missed, ["trust[0].spiffe.bundle.first"]);
    assert!(load_text("web", &source(WEB)).unwrap().lints.findings().is_empty());
}
