//! The record of one decision: what is written, kept and explained (design §6, AUD-05).
//!
//! Facts, and what the caller was told. Never token material; text that came from outside unverified stands under `shown`, quoted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::SourceName;
use crate::jose::KeySet;

/// A word of a closed list.
type Word = Cow<'static, str>;

/// Bytes of most lines, so that they need not be moved while they grow.
const LINE: usize = 1008;

/// One decision. Absent facts are absent from its JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When the request arrived, RFC 3339.
    pub time: String,
    /// The reference that the caller got.
    pub r#ref: String,
    /// `allow`, `deny`, `answered`, `dropped`; `would_allow` and `would_deny` when nothing was asked for.
    pub outcome: Word,
    /// The reason's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// The door.
    pub transport: Word,
    /// The other end of the connection.
    pub peer: String,
    /// `grant_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<Word>,
    /// The configuration that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// What the credential was declared to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// The source whose key verified it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The verified SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is known of the caller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The verified credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialRecord>,
    /// The key that verified the signature, also when the claims were then refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRecord>,
    /// What an unverified credential said of itself: believe none of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownRecord>,
    /// Somebody for whom the caller acts, or whose token it asks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectRecord>,
    /// What an introspection answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Which token of the request was refused, when it was not the caller's credential: `subject` or `assertion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<Word>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedRecord>,
    /// The resource that was meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The rules that granted it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Rules in `mode: observe` that matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<String>,
    /// The token that left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenRecord>,
    /// What was revoked or lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationRecord>,
    /// Keys that were pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<PushRecord>,
    /// How long an operator lets the keys of a source serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionRecord>,
    /// What the caller was told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// What the operator should know besides.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<String>,
    /// The smallest change that would let it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// From arrival to outcome, in milliseconds.
    pub took_ms: i64,
}

/// A verified credential.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialRecord {
    /// `jti`, or the SHA-256 of the signing input; the serial number of a certificate.
    pub id: String,
    /// `iat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<String>,
    /// When it ends.
    pub expires: String,
    /// How strongly the caller was proven.
    pub assurance: Word,
}

/// The key that verified a signature, or the authority that vouched for a certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRecord {
    /// `kid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// RFC 7638 thumbprint; of an authority, SHA-256 of its certificate in hexadecimal.
    pub thumbprint: String,
    /// The algorithm; of an authority, nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub algorithm: Word,
}

/// What an unverified credential said of itself; every text is quoted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShownRecord {
    /// SHA-256 of the signing input, or of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// `iss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `kid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
}

/// A subject, by its token.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectRecord {
    /// The verified `sub` of tokens: a SPIFFE ID, or a source and a person's `sub` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The source that vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `jti` of its token, or the SHA-256 of the signing input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When its token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Who acted for it before, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acted_by: Vec<String>,
    /// What its token said of itself and nobody verified, or not as this subject's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownRecord>,
}

/// What was asked for, cut to 256 characters each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedRecord {
    /// `resource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `audience`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// `scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `client_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A token that left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRecord {
    /// `jti`.
    pub jti: String,
    /// `client_id`.
    pub client_id: String,
    /// `aud`.
    pub aud: String,
    /// `scope`.
    pub scope: String,
    /// `exp`.
    pub expires: String,
    /// `cnf`: the key or certificate that it is bound to, by its thumbprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<BTreeMap<String, String>>,
}

/// A change of what is revoked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RevocationRecord {
    /// `revoke` or `lift`.
    pub action: Word,
    /// `identity`, `source`, `key` or `token`.
    pub kind: Word,
    /// What: a token by its `jti`.
    pub name: String,
    /// When it ends or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// Why, as an operator said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A push of keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PushRecord {
    /// The source that was named.
    pub source: String,
    /// The thumbprints of the keys that it has now; empty when the push was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

impl PushRecord {
    pub(super) fn of(source: &SourceName, set: &KeySet) -> Self {
        Self { source: source.to_string(), keys: set.keys().iter().map(|key| key.thumbprint().to_string()).collect() }
    }
}

/// An operator's order about the keys of a source that is away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtensionRecord {
    /// `extend` or `end`.
    pub action: Word,
    /// The source.
    pub source: String,
    /// Until when its last keys may serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// Why, as an operator said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Record {
    /// The record as one line of JSON, without its end.
    ///
    /// # Errors
    /// Never in practice: every part is plain text.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut line = Vec::with_capacity(LINE);
        serde_json::to_writer(&mut line, self)?;
        String::from_utf8(line).map_err(serde::ser::Error::custom)
    }

    /// Whether a token left, or a question was answered: what need not be kept as long as a refusal.
    pub fn is_routine(&self) -> bool {
        self.outcome == "allow" || self.outcome == "answered"
    }
}
