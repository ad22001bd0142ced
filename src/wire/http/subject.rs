//! The tokens of others in a form: subject, actor, assertion (RFC 8693 §2.1, RFC 7523 §2.1).
//!
//! Reads which tokens there are and what they are declared to be. What is in them is nobody's to guess here.

use super::form::{Form, malformed};
use crate::credential::{ACCESS_TOKEN_TYPE, CompactJws, JWT_TYPE, ShownSubject};
use crate::exchange::Grants;
use crate::reason::{About, Misshapen, Refusal, quoted};

/// The tokens of a request beside the caller's credential.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) subject: Option<ShownSubject>,
    pub(super) actor: Option<ShownSubject>,
}

/// Reads those of a grant; the parameters of other grants are unknown to it, and ignored (TOK-05).
pub(super) fn shown(form: &Form, grant: Grants) -> Result<Tokens, Refusal> {
    match grant {
        Grants::ClientCredentials => Ok(Tokens::default()),
        Grants::Assertion => {
            let text = form.value("assertion").ok_or_else(|| malformed("Parameter assertion is missing."))?;
            let jws = jws("assertion", text, About::Assertion)?;
            Ok(Tokens { subject: Some(ShownSubject::Assertion(jws)), actor: None })
        }
        Grants::TokenExchange => {
            check_requested_type(form)?;
            let subject = declared(form, "subject_token", "subject_token_type")?
                .ok_or_else(|| malformed("Parameters subject_token and subject_token_type are needed."))?;
            let actor = declared(form, "actor_token", "actor_token_type")?;
            if matches!(actor, Some(ShownSubject::AccessToken(_))) {
                return Err(malformed(&format!("An actor_token is a platform token: actor_token_type is {JWT_TYPE}.")));
            }
            Ok(Tokens { subject: Some(subject), actor })
        }
    }
}

/// Access tokens are all that is issued; another wish is an error and never another type (TX-23).
fn check_requested_type(form: &Form) -> Result<(), Refusal> {
    match form.value("requested_token_type") {
        None | Some(ACCESS_TOKEN_TYPE) => Ok(()),
        Some(other) => Err(malformed(&format!(
            "requested_token_type {} is not issued here; leave it out, or send {ACCESS_TOKEN_TYPE}.",
            quoted(other)
        ))),
    }
}

/// A token and its declared type, which come together (TX-01, TX-02).
fn declared(form: &Form, token: &'static str, kind: &'static str) -> Result<Option<ShownSubject>, Refusal> {
    let (text, declared) = match (form.value(token), form.value(kind)) {
        (None, None) => return Ok(None),
        (Some(text), Some(declared)) => (text, declared),
        (Some(_), None) => return Err(malformed(&format!("Parameter {kind} is missing beside {token}."))),
        (None, Some(_)) => return Err(malformed(&format!("Parameter {token} is missing beside {kind}."))),
    };
    if ![ACCESS_TOKEN_TYPE, JWT_TYPE].contains(&declared) {
        return Err(malformed(&format!(
            "{kind} {} is not taken; taken are {ACCESS_TOKEN_TYPE} for tokens of ours and {JWT_TYPE} for those of platforms.",
            quoted(declared)
        )));
    }
    Ok(ShownSubject::of_type(declared, jws(token, text, About::Subject)?))
}

fn jws(parameter: &str, text: &str, about: About) -> Result<CompactJws, Refusal> {
    CompactJws::parse(text.to_owned()).map_err(|why| {
        let sentence = format!("{parameter} must be a signed JWT: {why}.");
        Refusal::misshapen(Misshapen::CredentialMalformed, sentence, "").about(about)
    })
}
