//! SPIFFE IDs.

use countersign::identity::{PathTemplate, SpiffeId};

use super::{Target, fuzz};

/// What is read is written back, and is of the form that the standard gives, said here in other words.
#[test]
fn spiffe_ids_are_read_as_they_are_written() {
    let samples = [
        "spiffe://prod.example/ns/shop/sa/api",
        "spiffe://id.example/k8s/eu1/ns/shop/sa/api",
        "spiffe://a/b",
        "spiffe://xn--td-1.example/..a/b_C-1",
    ];
    let target = Target {
        name: "spiffe_id",
        samples: samples.iter().map(|text| text.as_bytes().to_vec()).collect(),
        words: &[
            "spiffe://",
            "SPIFFE://",
            "/../",
            "/./",
            "//",
            "%2e",
            "%2F",
            "?",
            "#",
            "@",
            ":8443",
            "é",
            "\u{202e}",
            ".",
            "_",
            "-",
        ],
        longest: 4096,
    };
    let template = PathTemplate::parse("/ns/{namespace}/sa/{service_account}").unwrap();
    fuzz(target, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
        let id = match SpiffeId::parse(text) {
            Ok(id) => id,
            Err(why) => return why.to_string(),
        };
        assert!(is_of_the_form(text), "taken: {text:?}");
        assert_eq!(id.to_string(), text);
        assert_eq!(SpiffeId::parse(&id.to_string()).as_ref(), Ok(&id));
        let domain = id.trust_domain();
        assert!(id.is_member_of(&domain) && text.starts_with(&format!("spiffe://{domain}/")));
        let again = SpiffeId::from_segments(&domain, id.segments()).unwrap();
        assert_eq!(again, id);
        for (_, value) in template.read(&id).into_iter().flatten() {
            assert!(!value.is_empty() && !value.contains('/'));
        }
        format!("{} segments", id.segments().count().min(8))
    });
}

/// SPIFFE-ID §2.1 to §2.3, by characters alone.
fn is_of_the_form(text: &str) -> bool {
    let mut parts = text.split('/');
    let head = (parts.next(), parts.next(), parts.next());
    let (Some("spiffe:"), Some(""), Some(domain)) = head else { return false };
    let segments: Vec<&str> = parts.collect();
    let in_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let in_path = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    text.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.chars().all(in_domain)
        && !segments.is_empty()
        && segments
            .iter()
            .all(|segment| !segment.is_empty() && !["..", "."].contains(segment) && segment.chars().all(in_path))
}
