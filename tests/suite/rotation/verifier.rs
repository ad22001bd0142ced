//! A resource server's key set, kept as HTTP allows it.

use countersign::clock::{Lifetime, Timestamp};
use countersign::credential::CompactJws;
use countersign::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open};

use crate::stage::{Answer, answer, client};

/// Reads a key set by conditional requests, and never because of a key that it does not know.
pub struct Verifier {
    url: String,
    every: Option<Lifetime>,
    read_at: Timestamp,
    etag: String,
    keys: KeySet,
}

impl Verifier {
    /// Asks again when its copy is that old.
    pub async fn every(every: Lifetime, public: &str, now: Timestamp) -> Self {
        Self { every: Some(every), ..Self::by_hand(public, now).await }
    }

    /// Asks again only when it is told to.
    pub async fn by_hand(public: &str, now: Timestamp) -> Self {
        let mut new = Self {
            url: format!("{public}/jwks"),
            every: None,
            read_at: now,
            etag: "\"none\"".to_owned(),
            keys: KeySet::default(),
        };
        assert_eq!(new.ask(now).await.status, 200);
        new
    }

    /// One conditional request.
    pub async fn ask(&mut self, now: Timestamp) -> Answer {
        let request = client().get(&self.url).header("if-none-match", &self.etag);
        let answer = answer(request.send().await.unwrap()).await;
        if answer.status == 200 {
            self.etag = answer.headers["etag"].to_str().unwrap().to_owned();
            self.keys = KeySet::parse(answer.text.as_bytes(), KeyPurpose::JwkSet).unwrap();
        }
        self.read_at = now;
        answer
    }

    pub async fn keep_up(&mut self, now: Timestamp) {
        if self.every.is_some_and(|every| now.since(self.read_at) >= every) {
            assert!(matches!(self.ask(now).await.status, 200 | 304));
        }
    }

    /// The signature of a token verifies by the copy as it is.
    pub fn verifies(&self, token: &str) {
        let jws = CompactJws::parse(token.to_owned()).unwrap();
        let header = Header::read(&jws).unwrap();
        let Candidates::Try(fitting) = self.keys.candidates(&header) else {
            panic!("JWK-17: a token by a key that its verifier cannot know yet")
        };
        open(&jws, &header, UnverifiedClaims::read(&jws).unwrap(), &fitting[0]).unwrap();
    }

    /// A token that was changed does not verify: the check checks something.
    pub fn refuses_what_was_changed(&self, token: &str) {
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let jws = CompactJws::parse(format!("{rest}.{first}{}", &signature[1..])).unwrap();
        let header = Header::read(&jws).unwrap();
        let Candidates::Try(fitting) = self.keys.candidates(&header) else { panic!("the key is known") };
        assert!(open(&jws, &header, UnverifiedClaims::read(&jws).unwrap(), &fitting[0]).is_err());
    }
}
