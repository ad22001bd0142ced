//! The text of one signing key: its dates and a private JWK.
//!
//! Strict: a member that is missing, unknown or out of order is refused. Never shows a private member in a fault.

use crate::clock::Timestamp;
use crate::issue::Schedule;
use crate::jose::{JsonFault, KeyFault, Object, SigningKey, parse_object};
use crate::reason::quoted;
use crate::secret::Secret;

/// Why the content of a key file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileFault {
    /// Not a JSON object as we read it; a file that was half written looks like this.
    #[error("is not a whole JSON object: {0}")]
    Json(#[from] JsonFault),
    /// A member that does not belong there.
    #[error("has an unknown member {0}")]
    Unknown(String),
    /// A date is missing or not RFC 3339.
    #[error("needs \"{0}\" as an RFC 3339 date")]
    Date(&'static str),
    /// The dates contradict each other.
    #[error(
        "needs dates in order: created, publish and activate each not before the last, retire after activate, revoked (if there) not before created, and planned (if there) not before publish"
    )]
    Order,
    /// The private JWK is missing or unusable.
    #[error("needs \"key\" as a private JWK with kid, alg and every member of its algorithm: {0}")]
    Key(#[from] KeyFault),
}

const MEMBERS: [&str; 7] = ["created", "publish", "activate", "retire", "revoked", "planned", "key"];

/// A signing key with its dates, as a file has them.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) schedule: Schedule,
    pub(super) key: SigningKey,
}

impl KeyFile {
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeyFileFault> {
        // Wrapped, so that the private members are overwritten when this returns.
        let file = Secret::new("signing key file", parse_object(text)?);
        let file = file.expose();
        if let Some(unknown) = file.names().find(|name| !MEMBERS.contains(name)) {
            return Err(KeyFileFault::Unknown(quoted(unknown)));
        }
        let (created, publish) = (date(file, "created")?, date(file, "publish")?);
        let (activate, retire) = (date(file, "activate")?, date(file, "retire")?);
        let mut schedule = Schedule::new(created, publish, activate, retire).ok_or(KeyFileFault::Order)?;
        if file.has("revoked") {
            schedule = schedule.revoked_at(date(file, "revoked")?).ok_or(KeyFileFault::Order)?;
        }
        if file.has("planned") {
            schedule = schedule.planned_for(date(file, "planned")?).ok_or(KeyFileFault::Order)?;
        }
        let key = SigningKey::from_private_jwk(file.object("key").ok_or(KeyFault::Malformed)?)?;
        Ok(Self { schedule, key })
    }

    pub(super) fn to_text(&self) -> Result<Secret<String>, KeyFault> {
        text(&self.schedule, &self.key)
    }

    /// `<created-date>-<alg>-<first 8 of kid>.json`, for people; nothing is ever read from a name.
    pub(super) fn name(&self) -> String {
        let created = self.schedule.created().to_rfc3339();
        let safe = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        let key_id: String = self.key.key_id().as_str().chars().filter(safe).take(8).collect();
        format!("{}-{}-{key_id}.json", created.get(..10).unwrap_or_default(), self.key.algorithm())
    }
}

/// The text of a file with that key and these dates.
pub(super) fn text(schedule: &Schedule, key: &SigningKey) -> Result<Secret<String>, KeyFault> {
    let key = key.to_private_jwk()?;
    let written = [schedule.created(), schedule.publish(), schedule.activate(), schedule.retire()].map(Some);
    let dates: String = MEMBERS
        .iter()
        .zip(written.into_iter().chain([schedule.revoked(), schedule.put_off_from()]))
        .filter_map(|(name, date)| Some(format!("\"{name}\":\"{}\",", date?.to_rfc3339())))
        .collect();
    // Room for all of it from the start: a string that grows leaves copies of the key behind.
    let mut text = String::with_capacity(dates.len() + key.expose().len() + 16);
    for part in ["{", &dates, "\"key\":", key.expose(), "}\n"] {
        text.push_str(part);
    }
    Ok(Secret::new("signing key file", text))
}

fn date(file: &Object, name: &'static str) -> Result<Timestamp, KeyFileFault> {
    file.text(name).and_then(Timestamp::parse_rfc3339).ok_or(KeyFileFault::Date(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jose::Algorithm;

    /// A key of 1024 bits, made for this test and used nowhere.
    const WEAK: &str = r#"{"kty":"RSA","alg":"RS256","kid":"weak-key","e":"AQAB",
        "n":"0W3e66YaIQUgadEhoSfbyETizMFS9BIVzqsms8MuDoSoO3eHOjOP8NoV5yfAPCsgb9CDN5y3B0i6995Vmg6I1LltfMjZQp1vRtwMdLYr5Lm7qzui6ghmOelYMjLnzRXS0O5zfIv64hmbZcsCAxknVxd51ogX7JygfTb2f8IXedE",
        "d":"J3pwpTdAgaz3uTrE_h4HXi8uGa7vtjaaicTVnNlUG0SCegNEKIKDxcE2k8Z4hF8U1D8YHSmbjvH03Li6pjnLLQcihJeuPxMLfH3Scw4GuDTl_2BT8e5gJg6VvXRoYBGTZiRlC2vXhMbeURAAcW1eV3J69YFc1zJ2JIaNmoDHp8k",
        "p":"6abCWolCmHcFgEZ_AXMUZWGU8vHe8xc6LxiVPSzcAcnBDcJijUagJ0Phw1_dPrSNDo2HmHl9PJg5xX2GwrQu9w",
        "q":"5XYAN_ZCDfOU7I8xqmgzQ6_peeZVwkDGT_Lbnsi7kzJjOdrW64mZTX8DbBqjObusIvukmB-QK_4BnZuZFo1Ddw",
        "dp":"47C_Ky0heaRa9wM71zTHBnjOhuWPR0M2Txjcri3eA9wRRpBMK7JMdZcgFZ2A5A9cencPUVXq5jbN7ZeC0JB4Rw",
        "dq":"Owm3WK61pB1N7eeR4cRZnErAiaqn2gkMfTmBJEOFb4QBX7tcnNGUbgoF-WSJJquQyJdya-mDEK6T_9cu9kx2VQ",
        "qi":"DlQjstD2wL2k6Mged-R0OdmnmxA3v_S8aq1nfser7Md-VaJ1fKRhAy28frRTreKpNYPOgfg5UI-bMhOWx4txuQ"}"#;

    fn file() -> KeyFile {
        let schedule = Schedule::announced(Timestamp::from_seconds(1_790_000_000));
        KeyFile { schedule, key: SigningKey::generate(Algorithm::ES256).unwrap() }
    }

    #[test]
    fn key_files_survive_their_text() {
        let file = file();
        let text = file.to_text().unwrap();
        let again = KeyFile::parse(text.expose().as_bytes()).unwrap();
        assert_eq!(again.schedule, file.schedule);
        assert_eq!(again.key.public_jwk(), file.key.public_jwk());
        let key_id: String = file.key.key_id().as_str().chars().take(8).collect();
        assert_eq!(file.name(), format!("2026-09-21-ES256-{key_id}.json"));
        let private = parse_object(text.expose().as_bytes()).unwrap();
        let private = private.object("key").unwrap().text("d").unwrap();
        assert!(!format!("{file:?} {text:?}").contains(private));
    }

    #[test]
    fn a_revocation_is_a_date_of_its_own() {
        let mut file = file();
        let revoked = file.schedule.created().plus(crate::clock::Lifetime::from_hours(1));
        file.schedule = file.schedule.revoked_at(revoked).unwrap();
        let text = file.to_text().unwrap();
        assert_eq!(KeyFile::parse(text.expose().as_bytes()).unwrap().schedule, file.schedule);
        let mut value: Value = serde_json::from_str(text.expose()).unwrap();
        assert_eq!(value["revoked"], json!(revoked.to_rfc3339()));
        for (bad, fault) in [
            (Value::Null, KeyFileFault::Date("revoked")),
            (json!("now"), KeyFileFault::Date("revoked")),
            (json!("2020-01-01T00:00:00Z"), KeyFileFault::Order),
        ] {
            value["revoked"] = bad;
            assert_eq!(KeyFile::parse(value.to_string().as_bytes()).unwrap_err(), fault);
        }
    }

    #[test]
    fn what_was_planned_is_kept_while_a_key_is_put_off() {
        let mut file = file();
        file.schedule = file.schedule.put_off(file.schedule.activate().plus(crate::clock::Lifetime::from_hours(1)));
        let text = file.to_text().unwrap();
        assert_eq!(KeyFile::parse(text.expose().as_bytes()).unwrap().schedule, file.schedule);
        let mut value: Value = serde_json::from_str(text.expose()).unwrap();
        assert_eq!(value["planned"], json!(file.schedule.planned().to_rfc3339()));
        for (bad, fault) in [(json!(7), KeyFileFault::Date("planned")), (value["created"].clone(), KeyFileFault::Order)]
        {
            value["planned"] = bad;
            assert_eq!(KeyFile::parse(value.to_string().as_bytes()).unwrap_err(), fault);
        }
        value["planned"] = value["retire"].clone();
        let edited = KeyFile::parse(value.to_string().as_bytes()).unwrap().schedule;
        assert_eq!((edited.activate(), edited.put_off_from()), (file.schedule.activate(), None), "a person's date");
    }

    #[test]
    fn key_files_are_read_strictly() {
        let text = file().to_text().unwrap();
        let spoiled = |spoil: &dyn Fn(&mut Value)| {
            let mut value: Value = serde_json::from_str(text.expose()).unwrap();
            spoil(&mut value);
            KeyFile::parse(value.to_string().as_bytes()).unwrap_err()
        };
        assert_eq!(spoiled(&|v| v["rotate"] = json!("30d")), KeyFileFault::Unknown("\"rotate\"".to_owned()));
        for name in ["created", "publish", "activate", "retire"] {
            for bad in [Value::Null, json!(1_790_000_000), json!("2026-09-21"), json!("tomorrow"), json!("")] {
                assert_eq!(spoiled(&|v| v[name] = bad.clone()), KeyFileFault::Date(name), "{name} {bad}");
            }
        }
        assert_eq!(spoiled(&|v| v["retire"] = v["activate"].clone()), KeyFileFault::Order);
        assert_eq!(spoiled(&|v| v["publish"] = v["retire"].clone()), KeyFileFault::Order);
        for member in ["kid", "alg", "kty", "crv", "x", "y", "d"] {
            let fault = spoiled(&|v| drop(v["key"].as_object_mut().unwrap().remove(member)));
            assert_eq!(fault, KeyFileFault::Key(KeyFault::Malformed), "{member}");
        }
        assert_eq!(spoiled(&|v| v["key"] = json!([])), KeyFileFault::Key(KeyFault::Malformed));
        let half = text.expose().get(..100).unwrap();
        assert!(matches!(KeyFile::parse(half.as_bytes()), Err(KeyFileFault::Json(_))));
        assert!(matches!(KeyFile::parse(b""), Err(KeyFileFault::Json(_))));
    }

    #[test]
    fn jwk_07_rsa_keys_under_2048_bits_are_refused() {
        let mut value: Value = serde_json::from_str(file().to_text().unwrap().expose()).unwrap();
        value["key"] = serde_json::from_str(WEAK).unwrap();
        let fault = KeyFile::parse(value.to_string().as_bytes()).unwrap_err();
        assert_eq!(fault, KeyFileFault::Key(KeyFault::Malformed));
    }
}
