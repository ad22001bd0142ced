//! Who is believed to be a bundle endpoint, by either profile and at every step of a redirect.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::EndpointProfile;
use super::bundle_endpoint::{PARTNER, Partner, attempt, authorities, pretend, started, why};
use super::*;
use crate::clock::SystemClock;
use crate::identity::SpiffeId;
use crate::world::spiffe_agent::BUNDLE_PATH;
use crate::world::spiffe_agent::PretendTrustDomain;
use crate::world::x509::svid_params;
use crate::world::{Behaviour, Surroundings};

const SERVER: &str = "spiffe://partner.example/spire/server";

/// The source `partner` by `https_spiffe`, and its file of first authorities with those that the server's domain has now.
fn by_spiffe(stand: &Stand, partner: &Partner, server: &PretendTrustDomain, id: &str) -> SourceSettings {
    let first = stand.write("first.json", server.spiffe_bundle().to_string());
    partner.with(EndpointProfile::Spiffe { server_id: SpiffeId::parse(id).unwrap(), first })
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_02_fed_04_sca_22_https_web_checks_the_name_and_the_chain() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let source = started(&stand, &partner.by_web()).await;
    assert_eq!(key_ids(&source, stand.now()), partner.key());
    // A name that is another, by the same authority.
    let mut params = svid_params("spiffe://x.example/y", SystemClock.now(), Lifetime::from_hours(24)).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    partner.endpoint.show(&partner.endpoint.authority().issue(&params).unwrap()).unwrap();
    attempt(&stand).await;
    assert!(why(&stand).contains("for another name"), "{}", why(&stand));
    partner.endpoint.show_name().unwrap();
    attempt(&stand).await;
    assert_eq!(why(&stand), "");
    // The same endpoint without the extra authority: the system has not heard of it.
    let source = started(&stand, &partner.with(EndpointProfile::Web { ca: None })).await;
    assert!(why(&stand).contains("is not signed by an authority"), "{}", why(&stand));
    assert_eq!(key_ids(&source, stand.now()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_13_no_profile_falls_back_to_the_other() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    // A good name, and no X.509-SVID.
    let by_svid = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    let source = started(&stand, &by_svid).await;
    assert!(why(&stand).contains("has 0 URI names"), "{}", why(&stand));
    assert_eq!(key_ids(&source, stand.now()), None);
    // A good X.509-SVID, and no name.
    let clock = PretendTrustDomain::new(PARTNER, &Surroundings::system()).unwrap();
    partner.endpoint.show_svid(&clock, SERVER).unwrap();
    let source = started(&stand, &partner.by_web()).await;
    assert!(why(&stand).contains("is not signed by an authority"), "{}", why(&stand));
    assert_eq!(key_ids(&source, stand.now()), None);
    assert_eq!(partner.endpoint.requests(BUNDLE_PATH), 0, "nothing was asked of either");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_02_fed_05_https_spiffe_takes_exactly_one_identity() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    let impostor = pretend(&stand, PARTNER);
    let now = stand.now();
    let day = Lifetime::from_hours(24);
    let (domain, endpoint) = (&partner.domain, &partner.endpoint);
    endpoint.show_svid(domain, "spiffe://partner.example/spire/other").unwrap();
    let source = started(&stand, &settings).await;
    assert!(
        why(&stand).contains("and the source has server_id spiffe://partner.example/spire/server"),
        "{}",
        why(&stand)
    );
    assert_eq!((key_ids(&source, now), endpoint.requests(BUNDLE_PATH)), (None, 0), "another ID of the trust domain");
    let spoil = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = svid_params(SERVER, now, day).unwrap();
        change(&mut params);
        endpoint.show(&domain.issue_x509(&params).unwrap()).unwrap();
    };
    let uri = |text: &str| rcgen::SanType::URI(text.try_into().unwrap());
    let refused = async |says: &str| {
        attempt(&stand).await;
        assert!(why(&stand).contains(says), "{says}: {}", why(&stand));
        assert_eq!((key_ids(&source, stand.now()), endpoint.requests(BUNDLE_PATH)), (None, 0), "{says}");
    };
    endpoint.show_svid(&impostor, SERVER).unwrap();
    refused("none of 1 X.509 authorities of partner.example vouches").await;
    spoil(&|params| params.subject_alt_names.push(uri("spiffe://partner.example/two")));
    refused("has 2 URI names").await;
    spoil(&|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    refused("does not name serverAuth").await;
    spoil(&|params| params.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign));
    refused("may sign certificates").await;
    spoil(&|params| params.not_after = params.not_before);
    refused("vouches for its X.509-SVID: CertExpired").await;
    endpoint.show_svid(domain, SERVER).unwrap();
    attempt(&stand).await;
    assert_eq!((why(&stand), key_ids(&source, stand.now())), (String::new(), partner.key()));
    assert_eq!(authorities(&stand, &source), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_later_the_newest_bundle_vouches_for_the_server() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    let (domain, endpoint) = (&partner.domain, &partner.endpoint);
    let old = domain.x509_svid(SERVER, Lifetime::from_hours(24)).unwrap();
    endpoint.show(&old).unwrap();
    let source = started(&stand, &settings).await;
    assert_eq!(authorities(&stand, &source), Some(1));
    // A new authority is published, then used, then alone.
    domain.rotate_x509().unwrap();
    attempt(&stand).await;
    assert_eq!(authorities(&stand, &source), Some(2));
    endpoint.show_svid(domain, SERVER).unwrap();
    domain.withdraw_old_x509();
    attempt(&stand).await;
    assert_eq!((why(&stand), authorities(&stand, &source)), (String::new(), Some(1)));
    attempt(&stand).await;
    assert_eq!(why(&stand), "", "by the new one alone");
    // The first bundle has the old one still, and does not count any more: also not after a restart.
    endpoint.show(&old).unwrap();
    attempt(&stand).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities"), "{}", why(&stand));
    stand.restart().await;
    started(&stand, &settings).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities"), "{}", why(&stand));
    endpoint.show_svid(domain, SERVER).unwrap();
    attempt(&stand).await;
    assert_eq!(why(&stand), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_bun_02_withdrawn_authorities_come_back_by_an_operators_word_alone() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    let (domain, endpoint) = (&partner.domain, &partner.endpoint);
    endpoint.show_svid(domain, SERVER).unwrap();
    let mut source = started(&stand, &settings).await;
    let stale_first = std::fs::read(stand.path("first.json")).unwrap();
    domain.set_sequence(40);
    domain.publish_empty(true);
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (ids(&[]), Some(0)));
    domain.publish_empty(false);
    for restart in [false, true] {
        if restart {
            stand.restart().await;
            source = started(&stand, &settings).await;
        } else {
            attempt(&stand).await;
        }
        assert!(!why(&stand).contains("are others than"), "{}", why(&stand));
        assert!(why(&stand).contains("none of 0 X.509 authorities"), "{}", why(&stand));
        assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (ids(&[]), Some(0)));
    }
    // The trust domain was made anew, its numbers too, and somebody carried its bundle over.
    domain.rotate_x509().unwrap();
    domain.withdraw_old_x509();
    domain.set_sequence(1);
    endpoint.show_svid(domain, SERVER).unwrap();
    stand.write("first.json", domain.spiffe_bundle().to_string());
    attempt(&stand).await;
    assert_eq!((why(&stand), key_ids(&source, stand.now())), (String::new(), partner.key()));
    assert_eq!(authorities(&stand, &source), Some(1));
    // Somebody puts the old file back: the operator hears whose word counts.
    stand.write("first.json", stale_first);
    attempt(&stand).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities"), "{}", why(&stand));
    assert!(why(&stand).contains("first.json are others than when the newest bundle came"), "{}", why(&stand));
    // From here the newest bundle counts again, and the file need not be there.
    std::fs::remove_file(stand.path("first.json")).unwrap();
    attempt(&stand).await;
    assert_eq!(why(&stand), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_bun_06_a_server_that_was_restored_is_judged_by_the_newest_bundle_until_its_own_counts() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let mut settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    settings.max_stale = Lifetime::from_minutes(20);
    let (domain, endpoint) = (&partner.domain, &partner.endpoint);
    // What its database had when it was saved, and what it has now.
    let saved = json!({ "keys": domain.spiffe_bundle()["keys"], "spiffe_sequence": 12, "spiffe_refresh_hint": 60 });
    domain.rotate_x509().unwrap();
    domain.withdraw_old_x509();
    domain.set_sequence(40);
    endpoint.show_svid(domain, SERVER).unwrap();
    let first = stand.write("first.json", domain.spiffe_bundle().to_string());
    let mut source = started(&stand, &settings).await;
    assert_eq!((why(&stand), authorities(&stand, &source)), (String::new(), Some(1)));
    endpoint.behave(BUNDLE_PATH, Behaviour::Body(saved.to_string().into_bytes()));
    attempt(&stand).await;
    // The server has its newer X.509-SVID still, and nobody by an authority that its bundle lacks is let in.
    for restart in [false, true] {
        if restart {
            until("kept", || kept_authorities(&stand) == Some(0)).await;
            std::fs::remove_file(&first).unwrap();
            stand.restart().await;
            source = started(&stand, &settings).await;
        }
        assert!(why(&stand).contains("spiffe_sequence 12, and an earlier one had 40"), "{}", why(&stand));
        assert_eq!(authorities(&stand, &source), Some(0));
    }
    let taken = || authorities(&stand, &source) == Some(1);
    stand.through_attempts("partner", "taken as a whole once max_stale has passed", taken).await;
    // From then on it is the newest, and its authority the one that vouches.
    attempt(&stand).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities"), "{}", why(&stand));
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_bun_06_a_lower_number_lets_no_withdrawn_authority_vouch_again() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    let (domain, endpoint) = (&partner.domain, &partner.endpoint);
    let old = domain.x509_svid(SERVER, Lifetime::from_hours(24)).unwrap();
    let saved = json!({ "keys": domain.spiffe_bundle()["keys"], "spiffe_sequence": 12 });
    domain.rotate_x509().unwrap();
    domain.withdraw_old_x509();
    domain.set_sequence(40);
    endpoint.show_svid(domain, SERVER).unwrap();
    stand.write("first.json", domain.spiffe_bundle().to_string());
    started(&stand, &settings).await;
    endpoint.behave(BUNDLE_PATH, Behaviour::Body(saved.to_string().into_bytes()));
    attempt(&stand).await;
    assert!(why(&stand).contains("spiffe_sequence 12"), "{}", why(&stand));
    endpoint.show(&old).unwrap();
    attempt(&stand).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities"), "{}", why(&stand));
}

/// How many authorities of the source are kept for a restart.
fn kept_authorities(stand: &Stand) -> Option<usize> {
    let text = std::fs::read_to_string(stand.path("state/keys/partner.json")).ok()?;
    let kept: Value = serde_json::from_str(&text).ok()?;
    kept.pointer("/x509/authorities")?.as_array().map(Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_bun_09_a_server_of_another_trust_domain_is_vouched_for_by_that_one() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let hub = pretend(&stand, "hub.example");
    let settings = by_spiffe(&stand, &partner, &hub, "spiffe://hub.example/bundles");
    partner.endpoint.show_svid(&hub, "spiffe://hub.example/bundles").unwrap();
    let source = started(&stand, &settings).await;
    assert_eq!((why(&stand), key_ids(&source, stand.now())), (String::new(), partner.key()));
    // The bundle that it serves says nothing about the hub's authorities.
    attempt(&stand).await;
    assert_eq!(why(&stand), "");
    partner.endpoint.show_svid(&partner.domain, "spiffe://hub.example/bundles").unwrap();
    attempt(&stand).await;
    assert!(why(&stand).contains("none of 1 X.509 authorities of hub.example vouches"), "{}", why(&stand));
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_06_redirects_stay_on_the_host_with_the_same_checks_and_are_not_remembered() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let endpoint = &partner.endpoint;
    let other = Partner::start(&stand).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let elsewhere = nobody.local_addr().unwrap();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while nobody.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let ca = Some(stand.write("partner-ca.crt", endpoint.ca_pem()));
    let source = started(&stand, &partner.with(EndpointProfile::Web { ca })).await;
    // Within the host: followed, and forgotten.
    endpoint.behave(BUNDLE_PATH, Behaviour::Moved("/moved".to_owned()));
    for poll in 1..=2 {
        attempt(&stand).await;
        assert_eq!(why(&stand), "");
        assert_eq!((endpoint.requests(BUNDLE_PATH), endpoint.requests("/moved")), (1 + poll, poll));
    }
    endpoint.behave_well();
    attempt(&stand).await;
    assert_eq!((endpoint.requests(BUNDLE_PATH), endpoint.requests("/moved")), (4, 2), "the configured URL again");
    // Another port of the host is another server, which has to show the same.
    endpoint.behave(BUNDLE_PATH, Behaviour::Redirect(other.endpoint.url().to_owned()));
    attempt(&stand).await;
    assert!(why(&stand).contains("is not signed by an authority"), "{}", why(&stand));
    for (to, says) in [
        (format!("https://{elsewhere}/bundle"), "which is another host"),
        (endpoint.url().replacen("https", "http", 1), "not a plain https URL"),
        (endpoint.url().replacen("https://", "https://u@", 1), "not a plain https URL"),
        (BUNDLE_PATH.to_owned(), "one more redirect after 3"),
    ] {
        endpoint.behave(BUNDLE_PATH, Behaviour::Redirect(to.clone()));
        attempt(&stand).await;
        assert!(why(&stand).contains(says), "{to}: {}", why(&stand));
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
    assert_eq!(key_ids(&source, stand.now()), partner.key(), "last good keys stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_06_a_redirect_of_https_spiffe_leads_to_the_same_identity_alone() {
    let stand = Stand::new();
    let (partner, other) = (Partner::start(&stand).await, Partner::start(&stand).await);
    let settings = by_spiffe(&stand, &partner, &partner.domain, SERVER);
    partner.endpoint.show_svid(&partner.domain, SERVER).unwrap();
    other.endpoint.show_svid(&partner.domain, "spiffe://partner.example/spire/other").unwrap();
    partner.endpoint.behave(BUNDLE_PATH, Behaviour::Redirect(other.endpoint.url().to_owned()));
    started(&stand, &settings).await;
    assert!(why(&stand).contains("and the source has server_id"), "{}", why(&stand));
    assert_eq!(other.endpoint.requests(BUNDLE_PATH), 0);
    other.endpoint.show_svid(&partner.domain, SERVER).unwrap();
    attempt(&stand).await;
    assert_eq!((why(&stand), other.endpoint.requests(BUNDLE_PATH)), (String::new(), 1));
}
