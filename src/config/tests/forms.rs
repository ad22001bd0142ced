//! Every form that a source, a resource and the server may have.

use super::super::{Environment, load};
use super::{Folder, load_text, said, with_source};
use crate::clock::Lifetime;
use crate::issue::SigningSettings;
use crate::jose::Algorithm;
use crate::policy::{Expectation, Mode, TestCaller, TokenType};
use crate::trust::{IssuerKeys, Reuse, SourceKind, SpiffeKeys};
use crate::wire::TlsSettings;

const SOCKET: &str = "unix:///run/agent.sock";

/// The kind of the only source, and the folder that its relative paths start from.
fn kind(source: &str) -> (SourceKind, std::path::PathBuf) {
    let folder = Folder::new("forms");
    let path = folder.write("countersign.yaml", &with_source(&format!("name: a\n{source}")));
    let environment = Environment { spiffe_endpoint_socket: Some(SOCKET.to_owned()) };
    let loaded = load(&path, &environment).unwrap_or_else(|report| panic!("{source}\n{report}"));
    (loaded.configuration.sources[0].kind.clone(), folder.path().to_owned())
}

fn spiffe_keys(form: &str) -> (SpiffeKeys, std::path::PathBuf) {
    match kind(&format!("spiffe: {{ trust_domain: prod.example, {form} }}")) {
        (SourceKind::Spiffe { keys, .. }, folder) => (keys, folder),
        other => panic!("{other:?}"),
    }
}

fn kubernetes_keys(keys: &str) -> (IssuerKeys, std::path::PathBuf) {
    match kind(&format!("kubernetes: {{ issuers: [https://kubernetes.default.svc], liveness: none, keys: {keys} }}")) {
        (SourceKind::Kubernetes { keys, .. }, folder) => (keys, folder),
        other => panic!("{other:?}"),
    }
}

#[test]
fn forms_of_a_spiffe_source_wap_02_wap_03() {
    for (form, socket) in [
        ("workload_api: auto", "unix:/run/agent.sock"),
        ("workload_api: unix:/run/x.sock", "unix:/run/x.sock"),
        ("workload_api: unix:///run/x.sock", "unix:/run/x.sock"),
        ("workload_api: \"tcp://127.0.0.1:8081\"", "tcp://127.0.0.1:8081"),
    ] {
        assert_eq!(spiffe_keys(form).0, SpiffeKeys::WorkloadApi(socket.to_owned()), "{form}");
    }
    let (keys, folder) = spiffe_keys("bundle: { file: b.json }, paths: [\"/ns/{namespace}\"]");
    assert_eq!(keys, SpiffeKeys::BundleFile(folder.join("b.json")));
    assert_eq!(spiffe_keys("bundle: { file: /etc/b.json }").0, SpiffeKeys::BundleFile("/etc/b.json".into()));
}

#[test]
fn forms_of_a_kubernetes_source() {
    let (keys, folder) = kubernetes_keys("{ file: jwks.json }");
    assert_eq!(keys, IssuerKeys::File(folder.join("jwks.json")));
    let (IssuerKeys::Url(url), folder) = kubernetes_keys("{ url: https://10.0.0.1/keys, ca: ca.crt }") else {
        panic!()
    };
    assert_eq!((url.url.as_str(), url.ca, url.token), ("https://10.0.0.1/keys", Some(folder.join("ca.crt")), None));
    let (IssuerKeys::Discovery(found), _) = kubernetes_keys("{ discovery: https://10.0.0.1, ca: /ca, token: /token }")
    else {
        panic!()
    };
    assert_eq!((found.ca, found.token), (Some("/ca".into()), Some("/token".into())));
    let (IssuerKeys::ApiServer(pod), _) = kubernetes_keys("{ api_server: {} }") else { panic!() };
    assert_eq!(pod.url.as_str(), "https://kubernetes.default.svc/");
    assert_eq!(pod.ca, Some("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into()));
    assert_eq!(pod.token, Some("/var/run/secrets/kubernetes.io/serviceaccount/token".into()));
    // The pod's own token never goes to another server.
    let (IssuerKeys::ApiServer(other), _) = kubernetes_keys("{ api_server: { url: https://10.0.0.1:6443 } }") else {
        panic!()
    };
    assert_eq!((other.url.as_str(), other.ca, other.token), ("https://10.0.0.1:6443/", None, None));
}

#[test]
fn a_source_has_defaults_and_they_can_be_set() {
    let loaded =
        load_text("defaults", &with_source("name: a\nspiffe: { trust_domain: p.example, bundle: { file: b } }"))
            .unwrap();
    let source = &loaded.configuration.sources[0];
    let day = Lifetime::from_hours(24);
    assert_eq!((source.max_age, source.max_life, source.max_stale), (day, day, day));
    assert_eq!(source.reuse, Reuse::Allowed, "CA-11");
    assert_eq!((source.leeway, source.algorithms.len(), &source.audiences), (Lifetime::from_seconds(30), 9, &None));
    let text = "name: a\ngroups: [fleet]\naudiences: [one, two]\nmax_age: 1h\nmax_life: 2h\nmax_stale: 3h\nleeway: 0s\nreuse: once\n\
                algorithms: [ES256]\nidentity: \"spiffe://id.example/x/{namespace}/{service_account}\"\n\
                kubernetes: { issuers: [x, y], keys: { file: b } }";
    let loaded = load_text("set", &with_source(text)).unwrap_or_else(|report| panic!("{report}"));
    let source = &loaded.configuration.sources[0];
    assert_eq!((source.max_age, source.leeway), (Lifetime::from_hours(1), Lifetime::ZERO));
    assert_eq!(source.algorithms.iter().copied().collect::<Vec<_>>(), [Algorithm::ES256]);
    assert_eq!(source.audiences.as_ref().unwrap().len(), 2);
    assert!(source.identity.is_some() && source.groups.len() == 1);
    assert_eq!(source.reuse, Reuse::Once);
    let bound =
        load_text("bound", &with_source(&text.replace("once", "bound"))).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(bound.configuration.sources[0].reuse, Reuse::Bound);
}

#[test]
fn the_sample_is_loaded_and_only_its_key_files_are_missed() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/countersign.yaml");
    let loaded = load(&path, &Environment::default()).unwrap_or_else(|report| panic!("{report}"));
    let missed: Vec<_> = loaded.lints.findings().iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(missed, ["trust[0].spiffe.bundle.file", "trust[1].kubernetes.keys.file"]);
    let configuration = loaded.configuration;
    assert_eq!(configuration.issuer.as_str(), "https://id.example");
    let Some(TlsSettings::Files(files)) = &configuration.listen.tls else { panic!("no files") };
    assert_eq!(files.certificate, path.with_file_name("tls.crt"));
    let rotate = Lifetime::from_hours(30 * 24);
    assert_eq!(configuration.signing, SigningSettings::Directory { path: "/var/lib/countersign-keys".into(), rotate });
    let [orders, search] = configuration.resources.as_slice() else { panic!() };
    assert_eq!(
        (orders.lifetime, orders.typ, orders.algorithm),
        (Lifetime::from_minutes(5), TokenType::AccessToken, Algorithm::ES256)
    );
    assert_eq!(
        (search.typ, search.algorithm, &search.claims["azp"]),
        (TokenType::AccessToken, Algorithm::RS256, &serde_json::json!("countersign"))
    );
    let [shop, planners] = configuration.rules.as_slice() else { panic!() };
    assert_eq!((shop.from.groups[0].as_str(), shop.mode, shop.default), ("fleet", Mode::Enforce, false));
    assert_eq!(shop.from.attributes.values().map(Vec::len).sum::<usize>(), 3);
    assert_eq!((planners.from.sources[0].as_str(), planners.from.paths[0].as_str()), ("prod", "/agents/*"));
    assert!(
        matches!(&configuration.tests[0].caller, TestCaller::Attributes { path: None, attributes, .. } if attributes.iter().count() == 2)
    );
    assert!(matches!(configuration.tests[1].expect, Expectation::Refuse(reason) if reason.code() == "not_granted"));
    assert_eq!((configuration.files, configuration.hash.len()), (vec![path], 64));
}

#[test]
fn the_server_has_defaults() {
    let text = "issuer: http://127.0.0.1:8484\nidentity_domain: id.example\n\
                trust: [{ name: a, spiffe: { trust_domain: p.example, bundle: { file: b } } }]\n\
                resources: [{ name: o, audience: https://o.example, scopes: [r] }]\n\
                rules: [{ name: n, from: { source: a, everyone: true }, to: { resource: o, scopes: [r] } }]\n";
    let loaded = load_text("server", text).unwrap_or_else(|report| panic!("{}", said(&report).join("\n")));
    let configuration = loaded.configuration;
    assert_eq!(configuration.listen.address.to_string(), "127.0.0.1:8484");
    assert_eq!(configuration.admin.address.to_string(), "127.0.0.1:9443");
    assert!(configuration.listen.tls.is_none() && configuration.audit.stdout);
    assert!(configuration.state.directory.ends_with("state") && configuration.signing.path().ends_with("keys"));
    let signing =
        |written: &str| load_text("signing", &format!("{text}signing: {written}\n")).unwrap().configuration.signing;
    for (written, hours) in [("{}", 720), ("{ rotate: 1h }", 1), ("{ rotate: 366d }", 8784), ("{ directory: a }", 720)]
    {
        let signing = signing(written);
        let SigningSettings::Directory { rotate, .. } = &signing else { panic!("{signing:?}") };
        assert_eq!(*rotate, Lifetime::from_hours(hours), "{written}");
    }
    assert_eq!(
        signing("{ files: /etc/countersign/keys }"),
        SigningSettings::Files { path: "/etc/countersign/keys".into() }
    );
    let canary_ca =
        |written: &str| load_text("signing", &format!("{text}signing: {written}\n")).unwrap().configuration.canary_ca;
    for (written, ca) in [
        ("{}", None),
        ("{ canary_ca: /etc/house.crt }", Some("/etc/house.crt".into())),
        ("{ files: /etc/countersign/keys, canary_ca: /etc/house.crt }", Some("/etc/house.crt".into())),
    ] {
        assert_eq!(canary_ca(written), ca, "{written}");
    }
    assert_eq!(canary_ca("{ canary_ca: house.crt }").unwrap().file_name().unwrap(), "house.crt");
    let reflection =
        |written: &str| load_text("grpc", &format!("{text}grpc: {written}\n")).unwrap().configuration.grpc.reflection;
    assert!(configuration.grpc.reflection && reflection("{}") && !reflection("{ reflection: false }"));
    assert!(load_text("grpc", &format!("{text}grpc: {{ reflection: none }}\n")).is_err());
    assert!(configuration.rules[0].from.everyone);
    assert_eq!((configuration.limits.per_identity, configuration.limits.in_flight), (None, 512));
    let limited = load_text("limits", &format!("{text}limits: {{ per_identity: 90/m, in_flight: 8 }}\n")).unwrap();
    let limits = limited.configuration.limits;
    assert_eq!((limits.per_identity.unwrap().to_string(), limits.in_flight), ("90/m".to_owned(), 8));
}

#[test]
fn k8s_16_forms_of_liveness() {
    let asked = |text: &str| match kind(&format!("kubernetes: {{ issuers: [x], {text} }}")) {
        (SourceKind::Kubernetes { liveness, .. }, folder) => (liveness, folder),
        other => panic!("{other:?}"),
    };
    for text in ["keys: { api_server: {} }", "keys: { api_server: {} }, liveness: none"] {
        assert_eq!(asked(text).0, None, "{text}");
    }
    let server = "keys: { api_server: { url: https://10.0.0.1:6443, ca: a.crt, token: t } }";
    let endpoint = |url: &str, ca: std::path::PathBuf, token: std::path::PathBuf| {
        Some(crate::trust::Endpoint { url: url::Url::parse(url).unwrap(), ca: Some(ca), token: Some(token) })
    };
    let (found, folder) = asked(&format!("{server}, liveness: {{ token_review: {{}} }}"));
    assert_eq!(found, endpoint("https://10.0.0.1:6443", folder.join("a.crt"), folder.join("t")));
    // Another account may ask, of the same API server.
    let (found, folder) = asked(&format!("{server}, liveness: {{ token_review: {{ token: reviewer }} }}"));
    assert_eq!(found, endpoint("https://10.0.0.1:6443", folder.join("a.crt"), folder.join("reviewer")));
    let (found, folder) =
        asked("keys: { file: jwks.json }, liveness: { token_review: { url: https://10.0.0.2, ca: b.crt, token: u } }");
    assert_eq!(found, endpoint("https://10.0.0.2", folder.join("b.crt"), folder.join("u")));
    let mount = std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    let (found, _) = asked("keys: { api_server: {} }, liveness: { token_review: {} }");
    assert_eq!(found, endpoint("https://kubernetes.default.svc", mount.join("ca.crt"), mount.join("token")));
}

#[test]
fn liveness_is_never_asked_of_nobody_or_without_a_token() {
    let server = "keys: { api_server: { url: https://10.0.0.1 } }";
    for (text, path, why) in [
        (format!("{server}, liveness: {{ token_review: {{}} }}"), "liveness.token_review", "`token` is missing"),
        (
            format!("{server}, liveness: {{ token_review: {{ url: https://10.0.0.2 }} }}"),
            "liveness.token_review",
            "`token` is missing",
        ),
        ("keys: { file: x }, liveness: { token_review: {} }".to_owned(), "liveness.token_review", "`url` is missing"),
        ("keys: { file: x }, liveness: {}".to_owned(), "liveness", "`token_review` is missing"),
        (
            "keys: { file: x }, liveness: { token_review: { url: http://10.0.0.1, token: t } }".to_owned(),
            "liveness.token_review.url",
            "https",
        ),
        ("keys: { file: x }, liveness: { pods: {} }".to_owned(), "liveness.pods", "unknown key"),
        ("keys: { file: x }, liveness: [none]".to_owned(), "liveness", "a map with `token_review`"),
    ] {
        let report = load_text("asked", &with_source(&format!("name: a\nkubernetes: {{ issuers: [x], {text} }}")))
            .expect_err(&text);
        let path = format!("trust[0].kubernetes.{path}");
        assert!(
            report.findings().iter().any(|finding| finding.path == path && finding.message.contains(why)),
            "{path}: {report}"
        );
    }
}
