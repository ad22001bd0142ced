//! JSON that two readers could read differently, or that costs more than it should.

use super::ground::Ground;
use super::run::{CLIENT, Row, refuse, row};
use countersign::world::forge::Forge;

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_json() {
    refuse(&Ground::new().await, ROWS).await;
}

/// The claims with `more` as their first members.
fn claims_with(forge: Forge, more: &str) -> Forge {
    let text = String::from_utf8(forge.claims_bytes()).unwrap();
    forge.raw_claims(format!("{{{more},{}", &text[1..]))
}

/// The header with `more` as its first members.
fn header_with(forge: Forge, more: &str) -> Forge {
    let text = String::from_utf8(forge.header_bytes()).unwrap();
    forge.raw_header(format!("{{{more},{}", &text[1..]))
}

const ROWS: &[Row] = &[
    row("JOSE-07 sub twice", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, r#""sub":"spiffe://prod.example/admin""#))
    }),
    row("JOSE-07 sub twice, one with an escape", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, r#""\u0073ub":"spiffe://prod.example/admin""#))
    }),
    row("JOSE-07 aud twice", "credential_malformed", CLIENT, |g| g.svid(|t| claims_with(t, r#""aud":"x""#))),
    row("JOSE-07 exp twice, both equal", "credential_malformed", CLIENT, |g| {
        let exp = g.now().seconds() + 300;
        g.svid(|t| claims_with(t, &format!("\"exp\":{exp}")))
    }),
    row("JOSE-07 a claim that nobody reads, twice", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, r#""x":1,"x":1"#))
    }),
    row("JOSE-07 a name twice, deep inside", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, r#""x":[{"y":{"z":1,"z":2}}]"#))
    }),
    row("JOSE-07 kubernetes.io twice", "credential_malformed", CLIENT, |g| {
        g.pod(|t| claims_with(t, r#""kubernetes.io":{"namespace":"kube-system"}"#))
    }),
    row("JOSE-07 alg twice", "credential_malformed", CLIENT, |g| g.svid(|t| header_with(t, r#""alg":"none""#))),
    row("JOSE-07 kid twice", "credential_malformed", CLIENT, |g| g.svid(|t| header_with(t, r#""kid":"other""#))),
    row("JOSE-07 kid twice, one with an escape", "credential_malformed", CLIENT, |g| {
        g.svid(|t| header_with(t, r#""k\u0069d":"other""#))
    }),
    row("JOSE-11 a byte order mark before the claims", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let claims = [b"\xef\xbb\xbf".to_vec(), t.claims_bytes()].concat();
            t.raw_claims(claims)
        })
    }),
    row("JOSE-11 a byte order mark before the header", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let header = [b"\xef\xbb\xbf".to_vec(), t.header_bytes()].concat();
            t.raw_header(header)
        })
    }),
    row("JOSE-11 claims in UTF-16", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let text = String::from_utf8(t.claims_bytes()).unwrap();
            t.raw_claims(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
        })
    }),
    row("JOSE-11 half of a surrogate pair", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, r#""x":"\ud800""#))
    }),
    row("JOSE-11 a raw control character in a text", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, "\"x\":\"a\nb\""))
    }),
    row("JOSE-11 a byte that is no UTF-8", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let claims = [b"{\"x\":\"\xff\",".to_vec(), t.claims_bytes()[1..].to_vec()].concat();
            t.raw_claims(claims)
        })
    }),
    row("JOSE-11 text behind the claims", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let claims = [t.claims_bytes(), b"{}".to_vec()].concat();
            t.raw_claims(claims)
        })
    }),
    row("JOSE-11 a comment in the claims", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, "/* x */\"x\":1"))
    }),
    row("JOSE-11 NaN", "credential_malformed", CLIENT, |g| g.svid(|t| claims_with(t, "\"x\":NaN"))),
    row("JOSE-11 a number beyond every float", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, "\"x\":1e999"))
    }),
    row("JOSE-11 the claims are a list", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.raw_claims(*br#"["sub","aud","exp"]"#))
    }),
    row("JOSE-11 the claims are a text", "credential_malformed", CLIENT, |g| g.svid(|t| t.raw_claims(*br#""sub""#))),
    row("JOSE-11 the claims are empty", "credential_malformed", CLIENT, |g| g.svid(|t| t.raw_claims(*b""))),
    row("JOSE-11 the header is a list", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.raw_header(*br#"["ES256","kid"]"#))
    }),
    row("JOSE-11 the header is null", "credential_malformed", CLIENT, |g| g.svid(|t| t.raw_header(*b"null"))),
    row("JOSE-11 half a header", "credential_malformed", CLIENT, |g| g.svid(|t| t.raw_header(*br#"{"alg":"ES256""#))),
    row("JOSE-20 5000 lists in each other", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, &format!("\"x\":{}{}", "[".repeat(5000), "]".repeat(5000))))
    }),
    row("JOSE-20 5000 lists in each other, in the header", "credential_malformed", CLIENT, |g| {
        g.svid(|t| header_with(t, &format!("\"x\":{}{}", "[".repeat(5000), "]".repeat(5000))))
    }),
    row("JOSE-20 LIM-04 17 levels", "credential_malformed", CLIENT, |g| {
        g.svid(|t| claims_with(t, &format!("\"x\":{}{}", "[".repeat(16), "]".repeat(16))))
    }),
    row("JOSE-20 LIM-04 257 members", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            // sub, aud, iat and exp are there already.
            let more: Vec<String> = (0..253).map(|n| format!("\"m{n}\":0")).collect();
            claims_with(t, &more.join(","))
        })
    }),
    row("JOSE-20 257 members deep inside", "credential_malformed", CLIENT, |g| {
        g.svid(|t| {
            let more: Vec<String> = (0..257).map(|n| format!("\"m{n}\":0")).collect();
            claims_with(t, &format!("\"x\":{{{}}}", more.join(",")))
        })
    }),
];
