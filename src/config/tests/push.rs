//! `keys: { push: … }`: who may push is named exactly, and its tokens are good for nothing else.

use super::super::{Environment, load};
use super::{Folder, load_text, said, with_source};
use crate::trust::{IssuerKeys, ServiceAccount, SourceKind};

fn source(keys: &str) -> String {
    with_source(&format!("name: a\nkubernetes: {{ issuers: [x], keys: {{ {keys} }} }}"))
}

#[test]
fn pushed_keys_name_their_first_set_and_who_pushes() {
    let folder = Folder::new("push");
    let text = source("push: { first: jwks.json, by: { namespace: countersign, service_account: feeder.v2 } }");
    let file = folder.write("countersign.yaml", &text);
    let loaded = load(&file, &Environment::default()).unwrap_or_else(|report| panic!("{report}"));
    let SourceKind::Kubernetes { keys, .. } = &loaded.configuration.sources[0].kind else { panic!() };
    let by = ServiceAccount { namespace: "countersign".to_owned(), name: "feeder.v2".to_owned() };
    assert_eq!(*keys, IssuerKeys::Push { first: folder.path().join("jwks.json"), by });
    let lints = said(&loaded.lints);
    assert!(lints[0].contains("trust[0].kubernetes.keys.push.first: "), "the file is not there: {lints:?}");
}

#[test]
fn a_push_that_anybody_could_make_is_refused() {
    let by = "by: { namespace: countersign, service_account: feeder }";
    let whole = format!("push: {{ first: f, {by} }}");
    for (text, says) in [
        (source("push: {}"), "trust[0].kubernetes.keys.push: `first` is missing"),
        (source("push: {}"), "trust[0].kubernetes.keys.push: `by` is missing"),
        (source(&format!("push: {{ {by} }}")), "`first` is missing"),
        (source("push: { first: f, by: { namespace: countersign } }"), "`service_account` is missing"),
        (source("push: { first: f, by: { service_account: feeder } }"), "`namespace` is missing"),
        (source("push: { first: f, by: { namespace: \"*\", service_account: feeder } }"), "\"*\" is no name"),
        (source("push: { first: f, by: { namespace: a, service_account: \"feed*\" } }"), "\"feed*\" is no name"),
        (source("push: { first: f, by: { namespace: a, service_account: \"\" } }"), "is no name"),
        (source("push: { first: f, by: { namespace: a, service_account: b, pod: c } }"), "pod"),
        (source(&format!("{whole}, file: g")), "exactly one"),
        (source(&format!("{whole}, ca: g")), "`ca` has no meaning beside `push`"),
        (source(&format!("{whole}, token: g")), "`token` has no meaning beside `push`"),
        (
            with_source(&format!(
                "name: a\nidentity: \"spiffe://id.example/{{x}}\"\noidc: {{ issuers: [x], claims: [x], keys: {{ {whole} }} }}"
            )),
            "`push` is for clusters",
        ),
        (
            with_source(&format!(
                "name: a\naudiences: [\"https://id.example/sources/a/keys\"]\nkubernetes: {{ issuers: [x], keys: {{ {whole} }} }}"
            )),
            "is the audience of tokens that push the keys of a",
        ),
    ] {
        let report = load_text("pushes", &text).expect_err(says);
        assert!(said(&report).iter().any(|line| line.contains(says)), "{says}: {report}");
    }
}
