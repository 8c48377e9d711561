//! Who gets in, and who does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Map, Value, json};
use shutterbridge::capture::Operator;
use shutterbridge::identity::{Denied, DevIssuer, IssuerOptions, JwksSource, Scope, Verifier};

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "shutterbridge";
const NOW_S: i64 = 1_800_000_000;

fn now() -> Timestamp {
    at(0)
}

fn at(offset_s: i64) -> Timestamp {
    Timestamp::from_second(NOW_S + offset_s).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with one key of each kind.
struct Idp {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Idp {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ec = |way: &'static signature::EcdsaSigningAlgorithm| {
            let document = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &random).unwrap()
        };
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            // A key made for these tests and used nowhere else.
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("identity_keys/rsa2048.pk8")).unwrap(),
            p256: ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn keys(&self) -> Vec<Value> {
        let ec = |pair: &EcdsaKeyPair, crv: &str, kid: &str| {
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": crv, "kid": kid, "x": b64(x), "y": b64(y)})
        };
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        vec![
            json!({"kty": "RSA", "kid": "rsa", "n": b64(rsa.n), "e": b64(rsa.e)}),
            ec(&self.p256, "P-256", "p256"),
            ec(&self.p384, "P-384", "p384"),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed.public_key())}),
        ]
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let mut rsa = vec![0; self.rsa.public().modulus_len()];
        match alg {
            "RS256" => self.rsa.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut rsa).map(|()| rsa).unwrap(),
            "PS256" => self.rsa.sign(&signature::RSA_PSS_SHA256, &random, message, &mut rsa).map(|()| rsa).unwrap(),
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            other => panic!("{other}"),
        }
    }

    /// A token with these very texts, signed well.
    fn raw(&self, alg: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        format!("{signed}.{}", b64(self.sign(alg, signed.as_bytes())))
    }

    fn token(&self, alg: &str, kid: &str, claims: &Value) -> String {
        self.raw(alg, &json!({"alg": alg, "kid": kid, "typ": "JWT"}).to_string(), &claims.to_string())
    }

    fn es256(&self, claims: &Value) -> String {
        self.token("ES256", "p256", claims)
    }
}

fn good_claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "u-17", "exp": NOW_S + 600, "iat": NOW_S, "nbf": NOW_S,
           "name": "A. Khan", "scope": "openid capture.write patient.lookup capture.writer"})
}

/// The good claims with some changed; `null` removes one.
#[allow(clippy::needless_pass_by_value)] // reads as a literal at each call
fn claims(changes: Value) -> Value {
    let mut all = good_claims();
    let members: &mut Map<String, Value> = all.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    all
}

fn verifier(keys: &[Value]) -> Verifier {
    let jwks = JwksSource::Given(json!({"keys": keys}).to_string());
    Verifier::open(vec![IssuerOptions { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), jwks }]).unwrap()
}

#[test]
fn a_good_token_of_each_kind_names_its_person_and_what_they_may() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    for (alg, kid) in [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed")] {
        let token = idp.token(alg, kid, &good_claims());
        for _ in 0..2 {
            let permit = verifier.verify(&token, now()).unwrap_or_else(|d| panic!("{alg}: {d:?}"));
            let operator = Operator { issuer: ISSUER.to_owned(), subject: "u-17".to_owned(), name: "A. Khan".to_owned() };
            assert_eq!(permit.operator(), &operator);
            assert_eq!(permit.expires_at(), at(600));
            let may: Vec<Scope> = Scope::ALL.into_iter().filter(|s| permit.may(*s)).collect();
            assert_eq!(may, [Scope::CaptureWrite, Scope::PatientLookup], "{alg}");
        }
    }
}

#[test]
fn a_token_that_differs_from_its_signature_in_one_place_is_refused() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    for (alg, kid) in [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed")] {
        let token = idp.token(alg, kid, &good_claims());
        verifier.verify(&token, now()).unwrap();
        // Every place; the last letter of a part may have bits that mean nothing, which strict
        // base64 refuses as well.
        for (place, letter) in token.char_indices() {
            let other = if letter == 'A' { 'B' } else { 'A' };
            let mut bent = token.clone();
            bent.replace_range(place..=place, &other.to_string());
            assert!(verifier.verify(&bent, now()).is_err(), "{alg} at {place}");
        }
    }
}

#[test]
fn claims_are_read_strictly() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    let table = [
        // given these claims, then
        (json!({}), Ok(())),
        (json!({"exp": NOW_S - 59}), Ok(())),
        (json!({"exp": NOW_S - 60}), Err(Denied::Expired)),
        (json!({"exp": 1_800_000_000.5}), Ok(())),
        (json!({"exp": null}), Err(Denied::Claims)),
        (json!({"exp": (NOW_S + 600).to_string()}), Err(Denied::Claims)),
        (json!({"exp": true}), Err(Denied::Claims)),
        (json!({"exp": [NOW_S + 600]}), Err(Denied::Claims)),
        (json!({"exp": u64::MAX}), Err(Denied::Claims)),
        (json!({"exp": 1e300}), Err(Denied::Claims)),
        (json!({"exp": -1}), Err(Denied::Expired)),
        (json!({"nbf": NOW_S + 60}), Ok(())),
        (json!({"nbf": NOW_S + 61}), Err(Denied::NotYet)),
        (json!({"nbf": "9999999999"}), Err(Denied::Claims)),
        (json!({"iat": NOW_S + 61}), Err(Denied::NotYet)),
        (json!({"iat": "now"}), Err(Denied::Claims)),
        (json!({"nbf": null, "iat": null}), Ok(())),
        (json!({"iss": null}), Err(Denied::Issuer)),
        (json!({"iss": "https://idp.example/"}), Err(Denied::Issuer)),
        (json!({"iss": "https://IDP.example"}), Err(Denied::Issuer)),
        (json!({"iss": [ISSUER]}), Err(Denied::Issuer)),
        (json!({"aud": null}), Err(Denied::Audience)),
        (json!({"aud": "other"}), Err(Denied::Audience)),
        (json!({"aud": "shutterbridge2"}), Err(Denied::Audience)),
        (json!({"aud": ["other", AUDIENCE]}), Ok(())),
        (json!({"aud": ["other"]}), Err(Denied::Audience)),
        (json!({"aud": []}), Err(Denied::Audience)),
        (json!({"aud": [AUDIENCE, 1]}), Err(Denied::Audience)),
        (json!({"aud": {"a": AUDIENCE}}), Err(Denied::Audience)),
        (json!({"sub": null}), Err(Denied::Claims)),
        (json!({"sub": ""}), Err(Denied::Claims)),
        (json!({"sub": " "}), Err(Denied::Claims)),
        (json!({"sub": 17}), Err(Denied::Claims)),
        (json!({"sub": "u".repeat(255)}), Ok(())),
        (json!({"sub": "u".repeat(256)}), Err(Denied::Claims)),
        (json!({"sub": "a\r\nb"}), Err(Denied::Claims)),
        (json!({"sub": "WARD\\khan"}), Ok(())),
        (json!({"name": 5}), Err(Denied::Claims)),
        (json!({"scope": ["capture.write"]}), Err(Denied::Claims)),
        (json!({"scope": null}), Ok(())),
    ];
    for (changes, then) in table {
        let got = verifier.verify(&idp.es256(&claims(changes.clone())), now()).map(drop);
        assert_eq!(got, then, "{changes}");
    }
}

#[test]
fn a_name_that_fits_no_record_is_left_out() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    for (name, want) in [
        ("Dr. Jörg Müller", "Dr. Jörg Müller"),
        ("  A. Khan ", "A. Khan"),
        ("x\\y", ""),
        ("a\u{202E}b", ""),
        ("", ""),
        (&"n".repeat(65), ""),
    ] {
        let permit = verifier.verify(&idp.es256(&claims(json!({"name": name}))), now()).unwrap();
        assert_eq!(permit.operator().name, want, "{name}");
    }
}

#[test]
fn scopes_count_by_whole_words() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    for (scope, may) in [
        ("capture.write", true),
        ("a  capture.write ", true),
        ("capture.writer", false),
        ("xcapture.write", false),
        ("capture.write,capture.read", false),
        ("capture.write\tcapture.read", false),
        ("CAPTURE.WRITE", false),
        ("", false),
    ] {
        let permit = verifier.verify(&idp.es256(&claims(json!({"scope": scope}))), now()).unwrap();
        assert_eq!(permit.may(Scope::CaptureWrite), may, "{scope:?}");
    }
}

#[test]
fn a_header_cannot_bring_its_own_rules() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    let claims = good_claims().to_string();
    let table = [
        (r#"{"alg":"ES256","kid":"p256"}"#, Ok(())),
        (r#"{"alg":"ES256","kid":"p256","typ":"at+JWT"}"#, Ok(())),
        (r#"{"alg":"ES256","kid":"p256","x5t":"aaaa"}"#, Ok(())),
        (r#"{"alg":"ES256","kid":"p256","typ":"dpop+jwt"}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","crit":["exp"],"exp":1}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","crit":[]}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","jku":"https://idp.example/k"}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","x5u":"https://idp.example/k"}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","x5c":[]}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","jwk":{"kty":"EC"}}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"p256","alg":"ES256"}"#, Err(Denied::Shape)),
        (r#"{"alg":"ES256","kid":["p256"]}"#, Err(Denied::Header)),
        (r#"{"alg":"ES256","kid":"../../p256"}"#, Err(Denied::Key)),
        (r#"{"alg":"ES256","kid":""}"#, Err(Denied::Key)),
        (r#"{"alg":"ES384","kid":"p256"}"#, Err(Denied::Key)),
        (r#"{"alg":"none","kid":"p256"}"#, Err(Denied::Algorithm)),
        (r#"{"alg":"None","kid":"p256"}"#, Err(Denied::Algorithm)),
        (r#"{"alg":"HS256","kid":"p256"}"#, Err(Denied::Algorithm)),
        (r#"{"alg":"RS512","kid":"rsa"}"#, Err(Denied::Algorithm)),
        (r#"{"alg":"es256","kid":"p256"}"#, Err(Denied::Algorithm)),
        (r#"{"kid":"p256"}"#, Err(Denied::Algorithm)),
        (r#"["ES256"]"#, Err(Denied::Shape)),
        (r#"{"alg":"ES256","kid":"p256"} "#, Ok(())),
        (r#"{"alg":"ES256","kid":"p256"}x"#, Err(Denied::Shape)),
    ];
    for (header, then) in table {
        assert_eq!(verifier.verify(&idp.raw("ES256", header, &claims), now()).map(drop), then, "{header}");
    }
    let twice = claims.replacen('{', r#"{"sub":"admin","#, 1);
    let header = r#"{"alg":"ES256","kid":"p256"}"#;
    assert_eq!(verifier.verify(&idp.raw("ES256", header, &twice), now()).map(drop), Err(Denied::Shape));
}

#[test]
fn a_token_is_three_parts_in_strict_base64_and_short() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    let good = idp.es256(&good_claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"ES256"}"#), b64(good_claims().to_string()));
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        unsigned,
        format!("{good}="),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', ". "),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 63])),
    ] {
        assert!(verifier.verify(&bad, now()).is_err(), "{bad:?}");
    }
    let long = idp.es256(&claims(json!({"groups": "g".repeat(8 * 1024)})));
    assert_eq!(verifier.verify(&long, now()).map(drop), Err(Denied::Oversized));
    assert!(verifier.verify(&idp.es256(&claims(json!({"groups": "g".repeat(5 * 1024)}))), now()).is_ok());
}

/// RSA, 1024 bits: long broken in practice.
const WEAK_MODULUS: &str = "4iuhhzK2zXuJYQl_jo7J7Ts5OJNYtw2kiUSeM8s16Dn7-GEpOjGQRVdZ8GcAcvh_5XuLpfFZhMQxrMaXc8DDQwidt1laNrLGJ1NKaDDFrYzJBLKrlQMSdNGwyBsB1uh0rVSlCFO0Y-2nwMHphkebcnuubDD6rBtcN1-5kCU1K10";

#[test]
fn a_key_is_used_for_what_it_says_and_nothing_else() {
    let idp = Idp::new();
    let key = |index: usize, changes: Value| {
        let mut key = idp.keys()[index].clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let table = [
        // given this one key, then RS256 / PS256 / ES256 of the same issuer pass
        (key(0, json!({})), [true, true, false]),
        (key(0, json!({"alg": "RS256"})), [true, false, false]),
        (key(0, json!({"alg": "PS256", "use": "sig"})), [false, true, false]),
        (key(0, json!({"alg": "RS512"})), [false, false, false]),
        (key(0, json!({"use": "enc"})), [false, false, false]),
        (key(0, json!({"key_ops": ["verify"]})), [true, true, false]),
        (key(0, json!({"key_ops": ["encrypt"]})), [false, false, false]),
        (key(0, json!({"n": WEAK_MODULUS})), [false, false, false]),
        (key(0, json!({"kty": "oct", "k": "c2VjcmV0"})), [false, false, false]),
        (key(1, json!({"alg": "ES256"})), [false, false, true]),
        (key(1, json!({"alg": "RS256"})), [false, false, false]),
        (key(1, json!({"crv": "P-384"})), [false, false, false]),
        (key(1, json!({"crv": "secp256k1"})), [false, false, false]),
        (key(1, json!({"x": "AA"})), [false, false, false]),
    ];
    for (key, then) in table {
        let kid = key["kid"].as_str().unwrap().to_owned();
        let verifier = verifier(std::slice::from_ref(&key));
        let passes = ["RS256", "PS256", "ES256"].map(|alg| verifier.verify(&idp.token(alg, &kid, &good_claims()), now()).is_ok());
        assert_eq!(passes, then, "{key}");
    }
}

#[test]
fn a_token_without_kid_passes_only_where_one_key_fits() {
    let idp = Idp::new();
    let other = Idp::new();
    let token = idp.raw("ES256", r#"{"alg":"ES256"}"#, &good_claims().to_string());
    assert!(verifier(&idp.keys()).verify(&token, now()).is_ok());
    let two = [idp.keys(), other.keys()].concat();
    assert_eq!(verifier(&two).verify(&token, now()).map(drop), Err(Denied::Key));
    // Same name twice: neither is chosen, whoever stands first.
    assert_eq!(verifier(&two).verify(&idp.es256(&good_claims()), now()).map(drop), Err(Denied::Key));
    // A key that may not be used does not count.
    let mut enc = other.keys()[1].clone();
    enc["use"] = json!("enc");
    assert!(verifier(&[idp.keys(), vec![enc]].concat()).verify(&token, now()).is_ok());
}

#[test]
fn an_issuer_cannot_speak_for_another() {
    let (ours, theirs) = (Idp::new(), Idp::new());
    let options = |issuer: &str, audience: &str, idp: &Idp| IssuerOptions {
        issuer: issuer.to_owned(),
        audience: audience.to_owned(),
        jwks: JwksSource::Given(json!({"keys": idp.keys()}).to_string()),
    };
    let verifier = Verifier::open(vec![options(ISSUER, AUDIENCE, &ours), options("https://b.example", "sb-b", &theirs)]).unwrap();
    let of_b = claims(json!({"iss": "https://b.example", "aud": "sb-b"}));
    assert!(verifier.verify(&theirs.es256(&of_b), now()).is_ok());
    assert_eq!(verifier.verify(&theirs.es256(&good_claims()), now()).map(drop), Err(Denied::Signature));
    let wrong_door = claims(json!({"iss": "https://b.example"}));
    assert_eq!(verifier.verify(&theirs.es256(&wrong_door), now()).map(drop), Err(Denied::Audience));
}

#[test]
fn a_key_set_must_be_one() {
    let given = |text: &str| IssuerOptions {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks: JwksSource::Given(text.to_owned()),
    };
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kty":"EC","kty":"oct"}]}"#] {
        assert!(Verifier::open(vec![given(bad)]).is_err(), "{bad}");
    }
    let empty = Verifier::open(vec![given(r#"{"keys":[1,{},{"kty":"quantum"}]}"#)]).unwrap();
    assert_eq!(empty.usable_keys(now()), [(ISSUER, 0)]);
}

#[test]
fn new_keys_are_taken_up_without_a_restart_and_a_broken_file_locks_nobody_out() {
    let folder = std::env::temp_dir().join(format!("shutterbridge-identity-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("jwks.json");
    // Each write gets a time of its own, so that no test waits for a clock to tick.
    let write = |text: &str, age_s: u64| {
        fs::write(&file, text).unwrap();
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(age_s))
            .unwrap();
    };
    let (old, new) = (Idp::new(), Idp::new());
    write(&json!({"keys": old.keys()}).to_string(), 300);
    let options =
        IssuerOptions { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), jwks: JwksSource::File(file.clone()) };
    let verifier = Verifier::open(vec![options]).unwrap();
    let (of_old, of_new) = (old.es256(&good_claims()), new.es256(&good_claims()));
    assert!(verifier.verify(&of_old, at(0)).is_ok());
    assert!(verifier.verify(&of_new, at(0)).is_err());

    write("{\"keys\": [", 200);
    assert!(verifier.verify(&of_old, at(10)).is_ok(), "a half-written file locked everybody out");
    fs::remove_file(&file).unwrap();
    assert!(verifier.verify(&of_old, at(20)).is_ok(), "a missing file locked everybody out");

    write(&json!({"keys": new.keys()}).to_string(), 100);
    assert!(verifier.verify(&of_new, at(30)).is_ok(), "the new key was not taken up");
    assert_eq!(verifier.verify(&of_old, at(30)).map(drop), Err(Denied::Signature), "a withdrawn key still opens the door");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_remembered_token_ends_when_it_ends() {
    let idp = Idp::new();
    let verifier = verifier(&idp.keys());
    let token = idp.es256(&good_claims());
    assert!(verifier.verify(&token, at(0)).is_ok());
    assert!(verifier.verify(&token, at(659)).is_ok());
    assert_eq!(verifier.verify(&token, at(660)).map(drop), Err(Denied::Expired));
}

#[test]
fn the_dev_issuer_opens_the_door_it_was_configured_for() {
    let folder = std::env::temp_dir().join(format!("shutterbridge-dev-issuer-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("dev-issuer.key");
    let made = DevIssuer::load(&file, AUDIENCE).unwrap();
    let again = DevIssuer::load(&file, AUDIENCE).unwrap();
    let verifier = Verifier::open(vec![made.options("https://dev.local")]).unwrap();
    let nurse = Operator { issuer: "https://dev.local".to_owned(), subject: "nurse".to_owned(), name: "N. Nurse".to_owned() };
    let token = again.mint(&nurse, &[Scope::CaptureWrite], now(), 3600).unwrap();
    let permit = verifier.verify(&token, now()).unwrap();
    assert_eq!(permit.operator(), &nurse);
    assert!(permit.may(Scope::CaptureWrite) && !permit.may(Scope::QueueOperate));
    let stranger = DevIssuer::generate(AUDIENCE).unwrap().mint(&nurse, &[], now(), 60).unwrap();
    assert!(verifier.verify(&stranger, now()).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::remove_dir_all(&folder).unwrap();
}
