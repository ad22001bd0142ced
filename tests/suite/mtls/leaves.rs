//! Which leaf authenticates: one good certificate, spoiled in one respect, and its good neighbours.

use countersign::clock::{Clock, Lifetime};
use countersign::world::x509::CertificateAuthority;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};

use super::client::Identity;
use super::ground::{Ground, LIFE, PARTNER, alone};
use crate::stage::API;

type Spoil = fn(&mut CertificateParams);

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn only(params: &mut CertificateParams, id: &str) {
    params.subject_alt_names = vec![uri(id)];
}

/// Key usage digitalSignature that is not critical.
fn usage_not_critical(params: &mut CertificateParams) {
    params.key_usages.clear();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]));
}

const REFUSED: &[(&str, &str, Spoil)] = &[
    ("XSV-01 SCA-09 two URI names", "subject_invalid", |p| p.subject_alt_names.push(uri("https://other.example/a"))),
    ("XSV-01 the same SPIFFE ID twice", "subject_invalid", |p| p.subject_alt_names.push(uri(API))),
    ("XSV-01 MTL-03 no URI name", "subject_invalid", |p| {
        p.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from("api.shop").unwrap())];
    }),
    ("XSV-02 another scheme", "subject_invalid", |p| only(p, "https://prod.example/ns/shop/sa/api")),
    ("XSV-02 the path is root", "subject_invalid", |p| only(p, "spiffe://prod.example")),
    ("XSV-02 an upper-case trust domain", "subject_invalid", |p| only(p, "spiffe://PROD.example/ns/shop/sa/api")),
    ("XSV-02 XSV-07 SCA-09 a certificate authority", "subject_invalid", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }),
    ("XSV-07 a signing certificate with the right to sign", "subject_invalid", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        p.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }),
    ("XSV-02 keyCertSign in a leaf", "subject_invalid", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
    ("XSV-02 cRLSign in a leaf", "subject_invalid", |p| p.key_usages.push(KeyUsagePurpose::CrlSign)),
    ("XSV-03 no key usage", "subject_invalid", |p| p.key_usages.clear()),
    ("XSV-03 the key usage is not critical", "subject_invalid", usage_not_critical),
    ("XSV-03 SCA-09 no digitalSignature", "subject_invalid", |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
    ("XSV-04 serverAuth alone", "subject_invalid", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }),
    ("a trust domain that is not configured", "source_unknown", |p| only(p, "spiffe://other.example/a")),
    ("XSV-05 SCA-09 the partner's name, signed by our authority", "signature_invalid", |p| only(p, PARTNER)),
];

const GRANTED: &[(&str, Spoil)] = &[
    ("as it is", |_| ()),
    ("XSV-01 names of other kinds beside it", |p| {
        p.subject_alt_names.push(SanType::DnsName(Ia5String::try_from("api.shop").unwrap()));
        p.subject_alt_names.push(SanType::Rfc822Name(Ia5String::try_from("api@shop.example").unwrap()));
    }),
    ("XSV-03 further usages of a leaf", |p| p.key_usages.push(KeyUsagePurpose::KeyAgreement)),
    ("XSV-04 no extended key usage", |p| p.extended_key_usages.clear()),
    ("XSV-04 clientAuth alone", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
    ("XSV-02 no basic constraints", |p| p.is_ca = IsCa::NoCa),
];

#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_break_one_rule_are_refused_and_their_neighbours_granted() {
    let ground = Ground::new().await;
    let mut wrong = Vec::new();
    for (name, spoil) in GRANTED {
        let mut params = ground.params(API);
        spoil(&mut params);
        let answer = ground.ask(alone(&ground.prod().issue_x509(&params).unwrap()), API).await;
        if answer.status != 200 {
            wrong.push(format!("{name}: {}", answer.text));
        }
    }
    for (name, reason, spoil) in REFUSED {
        let mut params = ground.params(API);
        spoil(&mut params);
        let answer = ground.ask(alone(&ground.prod().issue_x509(&params).unwrap()), API).await;
        if answer.status == 200 {
            wrong.push(format!("{name}: granted"));
            continue;
        }
        let (found, said) = (ground.reason(&answer).await, answer.body["error_description"].to_string());
        if found != *reason || !said.contains("could not be verified; if it is brand new") {
            wrong.push(format!("{name}: {found}, {said}"));
        }
    }
    ground.good_is_granted().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn xsv_05_sca_10_mtl_08_only_the_authorities_of_the_leafs_own_trust_domain_count() {
    let ground = Ground::new().await;
    let by_partner = |id: &str| alone(&ground.partner.issue_x509(&ground.params(id)).unwrap());
    assert_eq!(ground.ask(by_partner(PARTNER), PARTNER).await.status, 200, "the neighbour");
    let answer = ground.ask(by_partner(API), API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid", "XSV-05: our name by the partner's authority");
    // The authority of servers, as a system store would have it: what vouches for a server vouches for no SVID.
    let web = ground.servers.issue(&ground.params(API)).unwrap();
    let answer = ground.ask(alone(&web), API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid", "SCA-10 MTL-08");
    let own = CertificateAuthority::for_trust_domain("prod.example", ground.stage.clock.now()).unwrap();
    let forged = own.issue(&ground.params(API)).unwrap();
    let chain = vec![forged.der().clone(), own.der().clone()];
    let answer = ground.ask(Identity { chain, key: forged.private_key() }, API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid", "an authority of the caller's own, sent along");
    ground.good_is_granted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_with_intermediates_are_built_from_what_was_sent() {
    let ground = Ground::new().await;
    let mut params = ground.params("spiffe://prod.example");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages.clear();
    let authority = ground.prod().subordinate_x509(params).unwrap();
    let leaf = authority.issue(&ground.params(API)).unwrap();
    let whole = vec![leaf.der().clone(), authority.der().clone()];
    assert_eq!(ground.ask(Identity { chain: whole, key: leaf.private_key() }, API).await.status, 200);
    let answer = ground.ask(alone(&leaf), API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid", "without the intermediate");
    // A leaf is no authority, whatever it signs.
    let mut no_authority = ground.params("spiffe://prod.example/x");
    no_authority.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let authority = ground.prod().subordinate_x509(no_authority).unwrap();
    let leaf = authority.issue(&ground.params(API)).unwrap();
    let chain = vec![leaf.der().clone(), authority.der().clone()];
    let answer = ground.ask(Identity { chain, key: leaf.private_key() }, API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid", "an intermediate without the CA flag");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_a_certificate_are_judged_by_our_clock_once_it_is_known_to_be_genuine() {
    let ground = Ground::new().await;
    let now = ground.stage.clock.now();
    let at =
        |moment: countersign::clock::Timestamp| time::OffsetDateTime::from_unix_timestamp(moment.seconds()).unwrap();
    let (minute, day) = (Lifetime::from_minutes(1), Lifetime::from_hours(24));
    let rows = [
        ("ended", now.minus(LIFE), now.minus(minute), "token_expired"),
        ("about to end", now.minus(minute), now.plus(Lifetime::from_seconds(5)), "token_expired"),
        ("not yet valid", now.plus(minute), now.plus(LIFE), "token_not_yet_valid"),
        ("too long", now.minus(minute), now.plus(day), "token_lifetime"),
        ("within the leeway", now.plus(Lifetime::from_seconds(20)), now.plus(LIFE), ""),
    ];
    for (name, from, until, reason) in rows {
        let mut params = ground.params(API);
        (params.not_before, params.not_after) = (at(from), at(until));
        let answer = ground.ask(alone(&ground.prod().issue_x509(&params).unwrap()), API).await;
        if reason.is_empty() {
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            continue;
        }
        assert_eq!(ground.reason(&answer).await, reason, "{name}");
        assert!(answer.text.contains("Your certificate"), "{name}: {}", answer.text);
        let forged = ground.partner.issue_x509(&params).unwrap();
        let answer = ground.ask(alone(&forged), API).await;
        assert_eq!(ground.reason(&answer).await, "signature_invalid", "{name}: a stranger hears nothing of its time");
    }
}
