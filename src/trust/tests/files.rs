//! Keys in files.

use super::super::{KeysUnusable, check_key_files};
use super::*;
use crate::problem::Severity;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_there_at_once_and_its_changes_are_followed() {
    let stand = Stand::new();
    let (a, b) = (jwk("a"), jwk("b"));
    let path = stand.write("eu1.json", jwks(&[&a]));
    let view = stand.trust.apply(&[cluster_file("eu1", &path)]);
    let eu1 = source(&view, "eu1");
    assert_eq!(key_ids(&eu1, stand.now()), ids(&["a"]));
    stand.trust.first_attempts().await;
    stand.write("eu1.json", jwks(&[&a, &b]));
    stand.through_attempts("eu1", "b is there", || key_ids(&eu1, stand.now()) == ids(&["a", "b"])).await;
    // BUN-02: no key is a set too.
    stand.write("eu1.json", jwks(&[]));
    stand.through_attempts("eu1", "withdrawn", || key_ids(&eu1, stand.now()) == ids(&[])).await;
    stand.write("eu1.json", r#"{"keys":[{"kty":"AKP"}]}"#);
    stand.through_attempts("eu1", "none usable", || stand.status("eu1").skipped == 1).await;
    assert_eq!(eu1.keys_at(stand.now()).unwrap().confirmed_at, stand.now());
    assert_eq!(stand.status("eu1").outbound_attempts, 0);
    stand.stop.cancel();
    stand.trust.ended().await;
}

#[tokio::test]
async fn jwk_15_an_unreadable_file_keeps_its_keys_until_they_are_stale() {
    let stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    let view = stand.trust.apply(&[cluster_file("eu1", &path)]);
    let eu1 = source(&view, "eu1");
    let read_at = eu1.keys_at(stand.now()).unwrap().confirmed_at;
    for bad in ["", "{", "{\"keys\":{}}", "<html>"] {
        stand.write("eu1.json", bad);
        let failed = stand.status("eu1").refreshes_failed;
        stand.through_attempts("eu1", "it was read", || stand.status("eu1").refreshes_failed > failed).await;
        assert!(stand.status("eu1").last_error.unwrap().contains("is no key set"), "{bad}");
        assert_eq!(key_ids(&eu1, stand.now()), ids(&["a"]));
    }
    std::fs::remove_file(&path).unwrap();
    stand
        .through_attempts("eu1", "missed", || stand.status("eu1").last_error.unwrap().contains("cannot be read"))
        .await;
    let end = read_at.plus(Lifetime::from_hours(24));
    assert_eq!(eu1.keys_at(end).unwrap().confirmed_at, read_at);
    let stale = eu1.keys_at(end.plus(Lifetime::from_millis(1))).unwrap_err();
    let KeysUnusable::Stale { confirmed_at, why } = stale else { panic!("{stale:?}") };
    assert_eq!(confirmed_at, read_at);
    assert!(why.contains("cannot be read"));
}

#[tokio::test]
async fn files_have_limits_and_a_missing_one_ends_its_first_attempt() {
    let stand = Stand::new();
    let good = jwks(&[&jwk("a")]);
    let exact = format!("{good}{}", " ".repeat(1024 * 1024 - good.len()));
    let sources = [
        cluster_file("fits", &stand.write("fits.json", &exact)),
        cluster_file("over", &stand.write("over.json", format!("{exact} "))),
        cluster_file("none", &stand.path("none.json")),
        cluster_file("folder", stand.place.path()),
    ];
    let view = stand.trust.apply(&sources);
    stand.trust.first_attempts().await;
    assert_eq!(key_ids(&source(&view, "fits"), stand.now()), ids(&["a"]));
    for (name, says) in [("over", "more than 1048576 bytes"), ("none", "cannot be read"), ("folder", "is no file")] {
        let unusable = source(&view, name).keys_at(stand.now()).unwrap_err();
        let KeysUnusable::Unreachable { why } = unusable else { panic!("{unusable:?}") };
        assert!(why.contains(says), "{name}: {why}");
    }
}

#[tokio::test]
async fn bundles_are_routed_by_trust_domain_and_clusters_by_issuer() {
    let stand = Stand::new();
    let mut for_svids = jwk("a");
    for_svids["use"] = json!("jwt-svid");
    let bundle = stand.write("bundle.json", jwks(&[&for_svids, &jwk("no-use")]));
    let sources = [
        domain("prod", "prod.example", SpiffeKeys::BundleFile(bundle)),
        cluster_file("eu1", &stand.write("eu1.json", jwks(&[&jwk("b")]))),
    ];
    let view = stand.trust.apply(&sources);
    let prod = TrustDomain::parse("prod.example").unwrap();
    let found: Vec<_> = view.of_trust_domain(&prod).iter().map(|source| key_ids(source, stand.now())).collect();
    assert_eq!(found, [ids(&["a"])]);
    assert_eq!(stand.status("prod").skipped, 1);
    assert_eq!(view.of_issuer(ISSUER).len(), 1);
    assert!(view.of_issuer("https://kubernetes.default.svc/").is_empty());
    assert!(view.of_trust_domain(&TrustDomain::parse("other.example").unwrap()).is_empty());
}

#[tokio::test]
async fn a_first_set_without_keys_is_a_set() {
    let stand = Stand::new();
    let view = stand.trust.apply(&[cluster_file("eu1", &stand.write("eu1.json", jwks(&[])))]);
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&[]));
}

#[test]
fn one_key_of_a_cluster_and_of_another_platform_with_its_issuer_is_refused() {
    let stand = Stand::new();
    let key = jwk("a");
    let cluster = cluster_file("eu1", &stand.write("1.json", jwks(&[&key])));
    let platform = |issuer: &str| {
        let keys = IssuerKeys::File(stand.path("1.json"));
        settings("ci", SourceKind::Oidc { issuers: BTreeSet::from([issuer.to_owned()]), keys, claims: BTreeSet::new() })
    };
    let problems = check_key_files("trust", &[cluster.clone(), platform(ISSUER)]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].place.to_string(), "trust[1].oidc.keys.file");
    assert!(check_key_files("trust", &[cluster, platform("https://elsewhere")]).is_empty());
}

#[test]
fn k8s_09_one_key_in_two_files_is_refused_with_both_names() {
    let stand = Stand::new();
    let (a, b) = (jwk("a"), jwk("b"));
    let mut renamed = a.clone();
    renamed["kid"] = json!("other-name");
    let one = cluster_file("edge-1", &stand.write("1.json", jwks(&[&a])));
    let two = cluster_file("edge-2", &stand.write("2.json", jwks(&[&b, &renamed])));
    let mut elsewhere = two.clone();
    elsewhere.name = SourceName::parse("elsewhere").unwrap();
    let SourceKind::Kubernetes { issuers, .. } = &mut elsewhere.kind else { panic!() };
    *issuers = BTreeSet::from(["https://elsewhere".to_owned()]);
    let problems = check_key_files("trust", &[one.clone(), two.clone()]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("edge-1") && problems[0].message.contains("edge-2"), "{problems:?}");
    assert_eq!(problems[0].place.to_string(), "trust[1].kubernetes.keys.file");
    assert_eq!(problems[0].severity, Severity::Problem);
    assert!(check_key_files("trust", &[one.clone(), elsewhere]).is_empty());
    std::fs::remove_file(stand.path("2.json")).unwrap();
    let lints = check_key_files("trust", &[one, two]);
    assert!(lints.iter().all(|lint| lint.severity == Severity::Lint) && lints.len() == 1);
}
