//! For whom a verified credential was made.
//!
//! Exactly one audience, equal byte for byte to one that the source takes. A near miss is named and never accepted.

use std::collections::BTreeSet;

use crate::identity::IssuerUrl;
use crate::jose::VerifiedClaims;
use crate::reason::{Refusal, Unaccepted, any_of, quoted};
use crate::trust::SourceSettings;

use super::{Verifier, refuse_claims};

/// Checks `aud` (CA-06, SCA-04, K8S-04). The assertion of a grant may name the token endpoint too (CA-16).
pub(super) fn check(claims: &VerifiedClaims, source: &SourceSettings, verifier: &Verifier<'_>) -> Result<(), Refusal> {
    let shown = claims.audiences().map_err(refuse_claims)?;
    let is_wanted = |audience: &str| match &source.audiences {
        Some(wanted) => wanted.contains(audience),
        None => verifier.issuer.as_str() == audience,
    };
    match shown.as_slice() {
        [only] if is_wanted(only) || verifier.token_endpoint == Some(*only) => Ok(()),
        _ => Err(refuse(&shown, source, verifier.issuer)),
    }
}

/// Says what is wrong with audiences that are not the wanted one.
fn refuse(shown: &[&str], source: &SourceSettings, issuer: &IssuerUrl) -> Refusal {
    let ours = BTreeSet::from([issuer.as_str().to_owned()]);
    let wanted = source.audiences.as_ref().unwrap_or(&ours);
    let want = any_of(wanted);
    match shown {
        [only] => match wanted.iter().find(|want| folded(want) == folded(only)) {
            Some(near) => Refusal::unaccepted(
                Unaccepted::AudienceNearMiss,
                format!(
                    "The audience of your platform token differs from {near} only by {}. Values are compared exactly.",
                    difference(only, near)
                ),
                "one character is enough: copy the issuer from the metadata",
            )
            .comparing(quoted(only), quoted(near))
            .mended_by(format!("a token with the audience {near}")),
            None => mismatch(
                format!("Your platform token was issued for another audience. Request one for {want}."),
                shown,
                &want,
            ),
        },
        several if several.iter().any(|one| wanted.contains(*one)) => mismatch(
            format!("Your platform token has {} audiences. Request one for {want} alone.", several.len()),
            shown,
            &want,
        ),
        _ => mismatch(
            format!("Your platform token was issued for other audiences. Request one for {want}."),
            shown,
            &want,
        ),
    }
}

fn mismatch(sentence: String, shown: &[&str], want: &str) -> Refusal {
    let shown: Vec<String> = shown.iter().map(|audience| quoted(audience)).collect();
    let note = "a pod needs a projected serviceAccountToken with that audience; a SPIFFE workload asks for it in FetchJWTSVID, a CI job when it asks for its ID token";
    Refusal::unaccepted(Unaccepted::AudienceMismatch, sentence, note)
        .comparing(format!("[{}]", shown.join(", ")), format!("[{}]", quoted(want)))
        .mended_by(format!("a token whose only audience is {want}"))
}

/// Text without what people get wrong: case, scheme, white space, default port, last slashes.
fn folded(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(*c)).collect();
    let lower = kept.to_lowercase();
    let bare = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    let bare = bare.trim_end_matches('/');
    bare.strip_suffix(":443").or_else(|| bare.strip_suffix(":80")).unwrap_or(bare).to_owned()
}

const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{00ad}')
}

fn difference(got: &str, want: &str) -> &'static str {
    if got.trim_end_matches('/') == want.trim_end_matches('/') {
        "a slash at its end"
    } else if got.chars().any(|c| c.is_whitespace() || c.is_control() || is_invisible(c)) {
        "white space or an invisible character"
    } else if got.eq_ignore_ascii_case(want) {
        "the case of letters"
    } else if got.split_once("://").map(|(_, rest)| rest) == want.split_once("://").map(|(_, rest)| rest) {
        "its scheme"
    } else {
        "its spelling (scheme, port, case or slash)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named() {
        let want = "https://id.example";
        for (got, what) in [
            ("https://id.example/", "a slash at its end"),
            ("https://ID.example", "the case of letters"),
            ("http://id.example", "its scheme"),
            ("https://id.example\n", "white space or an invisible character"),
            ("https://id.example\u{200b}", "white space or an invisible character"),
            ("https://id.example:443", "its spelling (scheme, port, case or slash)"),
        ] {
            assert_eq!(folded(got), folded(want), "{got:?}");
            assert_eq!(difference(got, want), what, "{got:?}");
        }
        for other in ["https://id.example/token", "https://id.example2", "https://other.example"] {
            assert_ne!(folded(other), folded(want));
        }
    }
}
