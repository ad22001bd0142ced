//! Reads everything that a grant leaves behind: the answer, the token, the record.

use std::collections::BTreeSet;
use std::fmt::Debug;

use countersign::clock::{Clock, Timestamp};
use countersign::credential::CompactJws;
use countersign::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open};
use serde_json::{Value, json};

use super::house::House;
use super::row::{Gets, Row};
use crate::evidence;
use crate::stage::{Answer, answer, client, eventually, part};

/// Makes the request of a row as often as it says and compares everything. `ids` are all token ids so far.
pub async fn check(house: &House, row: &Row, ids: &mut BTreeSet<String>) -> Result<(), String> {
    let credential = (row.credential)(house);
    for _ in 0..row.times {
        let answer = send(house, row, &credential).await;
        let token = check_answer(&answer, &row.gets)?;
        check_header(house, &token, &row.gets).await?;
        let jti = check_claims(house, &token, &row.gets)?;
        if !ids.insert(jti.clone()) {
            return Err(format!("AT-11: jti {jti} was there before"));
        }
        check_record(house, row, &credential, &token, &jti).await?;
    }
    Ok(())
}

async fn send(house: &House, row: &Row, credential: &str) -> Answer {
    let request = &row.request;
    let mut form = vec![("grant_type", "client_credentials"), ("client_assertion_type", request.assertion_type)];
    form.push(("client_assertion", credential));
    form.extend(request.ask);
    evidence::secret(credential);
    let mut post = client()
        .post(format!("{}/token{}", house.stage.issuer, request.query))
        .header("content-type", request.content_type)
        .body((request.body)(&form));
    for (name, value) in request.headers {
        post = post.header(*name, *value);
    }
    answer(post.send().await.unwrap()).await
}

/// TOK-11 to TOK-13, TOK-21, OID-01: exactly these members, and nothing that a cache may keep.
fn check_answer(answer: &Answer, gets: &Gets) -> Result<String, String> {
    let Some(token) = answer.body["access_token"].as_str() else {
        return Err(format!("{}: {}", answer.status, answer.text));
    };
    let mut body = answer.body.clone();
    body["access_token"].take();
    let expected = json!({
        "access_token": null,
        "token_type": "Bearer",
        "expires_in": gets.life,
        "refresh_in": gets.life * 4 / 5,
        "scope": gets.scope,
    });
    same("answer", &body, &expected)?;
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    same("status", &answer.status, &200)?;
    same("content type", &header("content-type"), &Some("application/json"))?;
    same("cache", &(header("cache-control"), header("pragma")), &(Some("no-store"), Some("no-cache")))?;
    Ok(token.to_owned())
}

/// AT-01, AT-15: the header, and the signature by a key that we publish.
async fn check_header(house: &House, token: &str, gets: &Gets) -> Result<(), String> {
    let published = house.stage.request("GET", "/jwks", &[]).await;
    let keys = KeySet::parse(published.text.as_bytes(), KeyPurpose::JwkSet).map_err(|fault| fault.to_string())?;
    let jws = CompactJws::parse(token.to_owned()).map_err(|fault| fault.to_string())?;
    let header = Header::read(&jws).map_err(|fault| fault.to_string())?;
    let Candidates::Try(fitting) = keys.candidates(&header) else { return Err("its key is not published".to_owned()) };
    let claims = UnverifiedClaims::read(&jws).map_err(|fault| fault.to_string())?;
    open(&jws, &header, claims, &fitting[0]).map_err(|_invalid| "its signature does not verify".to_owned())?;
    let kid = fitting[0].key_id().map(ToString::to_string);
    same("header", &part(token, 0), &json!({ "alg": gets.target.algorithm, "kid": kid, "typ": gets.target.typ }))
}

/// AT-03, AT-04, AT-05, AT-12, NOR-07, NOR-08: these claims and no other.
fn check_claims(house: &House, token: &str, gets: &Gets) -> Result<String, String> {
    let (claims, now) = (part(token, 1), house.in_seconds(0));
    let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
    same("length of jti", &jti.len(), &22)?;
    let mut expected = json!({
        "iss": house.stage.issuer,
        "sub": (gets.sub)(),
        "aud": gets.target.audience,
        "client_id": client_id(gets),
        "scope": gets.scope,
        "iat": now,
        "nbf": now - 10,
        "exp": now + gets.life,
        "jti": jti,
        "source": gets.source,
        "kind": gets.kind,
    });
    for (name, value) in gets.flat.iter().chain(gets.target.claims) {
        expected[*name] = json!(value);
    }
    same("claims", &claims, &expected)?;
    Ok(jti)
}

/// AUD-01, AUD-02, AUD-05, NOR-05: one record that says what happened, without what could be used again.
async fn check_record(house: &House, row: &Row, credential: &str, token: &str, jti: &str) -> Result<(), String> {
    let find = || {
        let lines = house.stage.records.lines().into_iter();
        lines.filter(|line| line["token"]["jti"] == jti).collect::<Vec<_>>()
    };
    eventually("the record of a grant is written", || !find().is_empty()).await;
    let found = find();
    same("records", &found.len(), &1)?;
    let mut record = found[0].clone();
    let text = record.to_string();
    if let Some(leak) = [credential, token].into_iter().flat_map(|token| token.split('.')).find(|it| text.contains(it))
    {
        return Err(format!("AUD-02: the record has token material: {leak}"));
    }
    let (header, claims) = (part(credential, 0), part(credential, 1));
    let taken = |record: &mut Value, pointer: &str| record.pointer_mut(pointer).map(Value::take).unwrap_or_default();
    let key = taken(&mut record, "/key/thumbprint");
    same("length of the key's thumbprint", &key.as_str().map(str::len), &Some(43))?;
    let reference = taken(&mut record, "/ref");
    same("length of the reference", &reference.as_str().map(str::len), &Some(12))?;
    let shown_kid = header["kid"].as_str().map(str::to_owned);
    let kid = shown_kid.or_else(|| record["key"]["id"].as_str().map(str::to_owned)).unwrap_or_default();
    if kid.is_empty() {
        return Err("NOR-05: the record names no key".to_owned());
    }
    for (name, value) in row.gets.flat {
        same("attribute", &record["attributes"][*name], &json!(value))?;
    }
    let issued = taken(&mut record, "/credential/issued");
    same("whether the record says when it was issued", &issued.is_string(), &claims["iat"].is_number())?;
    if let Some(credential) = record["credential"].as_object_mut() {
        credential.remove("issued");
    }
    taken(&mut record, "/attributes");
    taken(&mut record, "/asked");
    let (gets, now) = (&row.gets, house.stage.clock.now());
    let expected = json!({
        "time": now.to_rfc3339(),
        "ref": null,
        "outcome": "allow",
        "transport": "http",
        "peer": "127.0.0.1",
        "grant_type": "client_credentials",
        "generation": house.stage.app.exchange().generation().id().to_string(),
        "kind": gets.kind,
        "source": gets.source,
        "id": (gets.sub)(),
        "attributes": null,
        "credential": {
            "id": claims["jti"].as_str().map_or_else(|| fingerprint(credential), str::to_owned),
            "expires": end(&claims).to_rfc3339(),
            "assurance": "bearer",
        },
        "key": { "id": kid, "thumbprint": null, "algorithm": header["alg"] },
        "asked": null,
        "resource": gets.target.name,
        "rules": [gets.rule],
        "token": {
            "jti": jti,
            "client_id": client_id(gets),
            "aud": gets.target.audience,
            "scope": gets.scope,
            "expires": Timestamp::from_seconds(now.seconds() + gets.life).to_rfc3339(),
        },
        "took_ms": 0,
    });
    same("record", &record, &expected)
}

fn client_id(gets: &Gets) -> String {
    gets.client_id.map_or_else(gets.sub, str::to_owned)
}

fn fingerprint(credential: &str) -> String {
    CompactJws::parse(credential.to_owned()).unwrap().fingerprint()
}

/// The end of a credential: `exp`, or `warnafter` where that comes first.
fn end(claims: &Value) -> Timestamp {
    let seconds = |value: &Value| value.as_f64().map_or(i64::MAX, |seconds| seconds as i64);
    Timestamp::from_seconds(seconds(&claims["exp"]).min(seconds(&claims["kubernetes.io"]["warnafter"])))
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}:\n    found    {found:?}\n    expected {expected:?}")) }
}
