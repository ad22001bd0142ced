//! `countersign decode`: what a token says, and whether it is what it says.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output::{aside, line, runtime};
use super::surroundings::Surroundings;
use super::{Exit, Format, http};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::credential::CompactJws;
use crate::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open};
use crate::reason::quoted;

/// The longest token that is read from stdin.
const LONGEST: u64 = 64 * 1024;

/// Read a token on stdin, verify it, and say what it says.
///
/// The keys come from the issuer that you name (or of a running `countersign up`), never from one that the token names. When it
/// cannot be verified, that is said first. The token is sent nowhere.
#[derive(Debug, Args)]
pub(super) struct Decode {
    /// The issuer whose published keys must verify it [default: that of `up`]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The certificate authority of the issuer [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The audience that you expect
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

/// A check with its outcome: `None` was not asked for.
struct Check {
    name: &'static str,
    held: bool,
    text: String,
}

impl Decode {
    pub(super) fn run(self) -> Exit {
        let mut text = String::new();
        if let Err(error) = std::io::stdin().take(LONGEST).read_to_string(&mut text) {
            aside(format!("countersign decode: stdin cannot be read: {error}"));
            return Exit::Problem;
        }
        let jws = match CompactJws::parse(text.trim().to_owned()) {
            Ok(jws) => jws,
            Err(why) => {
                aside(format!("countersign decode: not a signed JWT: {why}"));
                return Exit::Problem;
            }
        };
        let document = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
        let (header, claims) = (document(jws.header()), document(jws.payload()));
        let near = Surroundings::find();
        let issuer = self.issuer.clone().or_else(|| near.map(|near| near.issuer));
        let verified = match (&issuer, runtime()) {
            (Some(issuer), Ok(runtime)) => runtime.block_on(self.verify(&jws, issuer)),
            (None, _) => Err("no issuer is named: use --issuer".to_owned()),
            (_, Err(error)) => Err(format!("{error:#}")),
        };
        let mut checks = vec![match &verified {
            Ok(key) => Check {
                name: "signature",
                held: true,
                text: format!("by key {key} of {}", issuer.as_deref().unwrap_or_default()),
            },
            Err(why) => Check { name: "signature", held: false, text: why.clone() },
        }];
        checks.extend(self.compare(&claims, issuer.as_deref(), SystemClock.now()));
        let all = checks.iter().all(|check| check.held);
        match self.output {
            Format::Json => {
                let checks: Vec<Value> =
                    checks.iter().map(|one| json!({ "check": one.name, "held": one.held, "text": one.text })).collect();
                line(
                    json!({ "verified": verified.is_ok(), "header": header, "claims": claims, "checks": checks })
                        .to_string(),
                );
            }
            Format::Text => {
                if verified.is_err() {
                    line("NOT VERIFIED: anybody could have written what follows.\n");
                }
                line(format!("{header:#}\n{claims:#}"));
                for check in &checks {
                    line(format!(" {} {:<10} {}", if check.held { "✓" } else { "✗" }, check.name, check.text));
                }
            }
        }
        if all { Exit::Ok } else { Exit::Problem }
    }

    /// Verifies with the issuer's published keys and names the key.
    async fn verify(&self, jws: &CompactJws, issuer: &str) -> Result<String, String> {
        let header = Header::read(jws).map_err(|fault| fault.to_string())?;
        let keys = self.published(issuer).await?;
        let claims = UnverifiedClaims::read(jws).map_err(|fault| fault.to_string())?;
        let key = match keys.candidates(&header) {
            Candidates::Try(keys) => keys.into_iter().next().ok_or("no key")?,
            Candidates::OtherAlgorithm => return Err("its key is not for its algorithm".to_owned()),
            Candidates::Unknown => return Err(format!("no published key of {issuer} has its key id")),
            Candidates::Ambiguous(_) => return Err("it has no key id, and several keys fit".to_owned()),
        };
        open(jws, &header, claims, &key).map_err(|(invalid, _)| invalid.to_string())?;
        Ok(key.key_id().map_or_else(|| "without id".to_owned(), ToString::to_string))
    }

    async fn published(&self, issuer: &str) -> Result<KeySet, String> {
        let client = http::client(self.ca.as_deref()).map_err(|error| format!("{error:#}"))?;
        let client = client.build().map_err(|error| error.to_string())?;
        let get = async |url: String| -> Result<Vec<u8>, String> {
            let fault = |error: reqwest::Error| format!("{url} cannot be read: {error}");
            let response =
                client.get(&url).send().await.and_then(reqwest::Response::error_for_status).map_err(fault)?;
            Ok(response.bytes().await.map_err(fault)?.to_vec())
        };
        let metadata = get(format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
        let metadata: Value = serde_json::from_slice(&metadata).map_err(|error| error.to_string())?;
        if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(format!("the metadata at {issuer} is of another issuer"));
        }
        let keys = metadata.get("jwks_uri").and_then(Value::as_str).ok_or("the metadata has no jwks_uri")?;
        KeySet::parse(&get(keys.to_owned()).await?, KeyPurpose::JwkSet).map_err(|fault| fault.to_string())
    }

    /// Issuer, audience and times against what was expected; white space and the like made visible.
    fn compare(&self, claims: &Value, issuer: Option<&str>, now: Timestamp) -> Vec<Check> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let mut checks = Vec::new();
        if let Some(want) = issuer {
            let got = text("iss").unwrap_or_default();
            checks.push(same("issuer", got, want));
        }
        if let Some(want) = &self.audience {
            checks.push(match claims.get("aud") {
                Some(Value::String(got)) => same("audience", got, want),
                Some(Value::Array(several)) => {
                    let held = several.iter().any(|one| one.as_str() == Some(want));
                    Check {
                        name: "audience",
                        held,
                        text: format!("{} values: {}", several.len(), Value::from(several.clone())),
                    }
                }
                _ => Check { name: "audience", held: false, text: "there is none".to_owned() },
            });
        }
        checks.extend(claims.get("cnf").map(bound));
        let ends = claims.get("exp").and_then(Value::as_i64).map(Timestamp::from_seconds);
        checks.push(match ends {
            Some(ends) if ends > now => {
                Check { name: "time", held: true, text: format!("ends in {}", ends.since(now)) }
            }
            Some(ends) => Check { name: "time", held: false, text: format!("ended {} ago", now.since(ends)) },
            None => Check { name: "time", held: false, text: "it has no end".to_owned() },
        });
        checks
    }
}

/// To which key it is bound, and so what its user has to prove. Whether this user can is not for a reader to check.
fn bound(confirmation: &Value) -> Check {
    let known = [("jkt", "used with a DPoP proof by the key"), ("x5t#S256", "used over TLS with the certificate")];
    let text = known.into_iter().find_map(|(member, how)| {
        let value = confirmation.get(member).and_then(Value::as_str)?;
        Some(format!("{how} {member} {}", quoted(value)))
    });
    Check {
        name: "binding",
        held: true,
        text: text.unwrap_or_else(|| "to a key in a form that is not known here".to_owned()),
    }
}

fn same(name: &'static str, got: &str, want: &str) -> Check {
    if got == want {
        return Check { name, held: true, text: got.to_owned() };
    }
    let trimmed = |text: &str| text.trim().trim_end_matches('/').to_lowercase();
    let difference = match () {
        () if got.trim() == want.trim() => "; they differ by white space at an end",
        () if got.trim_end_matches('/') == want.trim_end_matches('/') => "; they differ by a slash at the end",
        () if got.eq_ignore_ascii_case(want) => "; they differ by case",
        () if trimmed(got) == trimmed(want) => "; they differ by case, a slash or white space",
        () => "",
    };
    Check { name, held: false, text: format!("got {} want {}{difference}", quoted(got), quoted(want)) }
}
