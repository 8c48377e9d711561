//! What an app sees of the API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http_support;

use http_support::{CLAIM, Gateway, body, good_body, labelled_part, part, photo, upload_head, upload_request};
use serde_json::json;
use shutterbridge::capture::failure::{Failure, FailureCode};
use shutterbridge::capture::{MediaKind, Operator, Stage};
use shutterbridge::identity::Scope;
use shutterbridge::pipeline::{Refusal, RefusalCode};

#[test]
fn a_photo_is_taken_and_the_phone_may_forget_it() {
    let gateway = Gateway::start();
    let picture = photo(1_500_000);
    let answer =
        gateway.upload(&gateway.writer(), "", &body(&[part("claim", CLAIM), part("file", &picture), part("file", photo(10))]));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let receipt = answer.json();
    let id = receipt["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/api/v1/captures/{id}").as_str()));
    assert_eq!(answer.header("idempotency-replayed"), None);
    assert_eq!(receipt["stage"], "accepted");
    assert_eq!(receipt["study_instance_uid"], json!(null));
    let item = &receipt["items"][0];
    assert_eq!(item["id"], format!("{id}-0"));
    assert_eq!(item["media"], "image/jpeg");
    assert_eq!(item["size_bytes"], 1_500_000);
    assert_eq!(item["sha256"].as_str().unwrap().len(), 64);
    assert!(item["sop_instance_uid"].as_str().unwrap().starts_with("2.25."));
    assert_eq!(item["location_found"], true);
    assert_eq!(item["removed"], json!(["exif.gps", "xmp"]));
    assert_eq!(item["essence"], "unchanged");
    let (record, files, _) = gateway.fake.filed().remove(0);
    assert_eq!(files, [picture, photo(10)], "the bytes changed on the way");
    let nurse = Operator { issuer: http_support::ISSUER.into(), subject: "nurse".into(), name: "N. Nurse".into() };
    assert_eq!(record.acceptance.operator, nurse);
}

#[test]
fn the_claim_is_known_by_its_name_whatever_its_labels_say() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let file = part("file", "x");
    for labels in [
        "Content-Disposition: form-data; name=\"claim\"",
        "Content-Disposition: form-data; name=\"claim\"\r\nContent-Type: text/plain",
        "Content-Disposition: form-data; name=\"claim\"\r\nContent-Type: application/octet-stream",
        "Content-Disposition: form-data; name=\"claim\"\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Transfer-Encoding: binary",
        "Content-Disposition: form-data; name=\"claim\"; filename=\"claim.json\"",
    ] {
        let answer = gateway.upload(&token, "", &body(&[labelled_part(labels, CLAIM), file.clone()]));
        assert_eq!(answer.status, 201, "{labels}: {}", answer.text());
    }
    let marked = body(&[part("claim", format!("\u{FEFF}{CLAIM}")), file]);
    assert_eq!(gateway.upload(&token, "", &marked).status, 201);
    for (record, ..) in gateway.fake.filed() {
        assert_eq!(record.acceptance.claim.department, "derm");
    }
}

#[test]
fn a_body_in_chunks_is_as_good_as_one_with_its_length() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let head = upload_head(&token, "", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut chunked = head.into_bytes();
    for piece in good_body().chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(gateway.ask(chunked).status, 201);
    assert_eq!(gateway.fake.filed()[0].1[0], photo(200_000));
}

#[test]
fn without_a_valid_token_nobody_gets_in_and_the_body_is_not_read() {
    let gateway = Gateway::start();
    let good = gateway.writer();
    let expired = {
        let token = gateway.writer();
        gateway.clock.advance_ms(3_660_000);
        token
    };
    let fresh = gateway.writer();
    for authorization in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Basic bnVyc2U6bnVyc2U=\r\n".to_owned(),
        format!("Authorization: Bearer {expired}\r\n"),
        format!("Authorization: Bearer {good}\r\n"),
        format!("Authorization: {fresh}\r\n"),
        format!("Authorization: Bearer {fresh}\r\nAuthorization: Bearer {fresh}\r\n"),
        format!("Authorization: Bearer {fresh}x\r\n"),
        format!("Cookie: token={fresh}\r\n"),
    ] {
        let request =
            String::from_utf8_lossy(&upload_request("", "", b"never read")).replace("Authorization: Bearer \r\n", &authorization);
        let answer = gateway.ask(request);
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"), "{authorization}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"shutterbridge\""));
        assert_eq!(answer.json()["detail"], gateway.ask("GET /api/v1/captures HTTP/1.1\r\nHost: x\r\n\r\n").json()["detail"]);
    }
    let in_the_address = format!("GET /api/v1/captures?access_token={fresh} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(gateway.ask(in_the_address).status, 401);
    assert_eq!(gateway.fake.open() + gateway.fake.filed().len(), 0);
    let lower = upload_request(&fresh, "", &good_body());
    let lower = [
        b"POST /api/v1/captures HTTP/1.1\r\nHost: x\r\nauthorization: bearer".as_slice(),
        &lower[lower.windows(8).position(|w| w == b" Bearer ").unwrap() + 7..],
    ]
    .concat();
    assert_eq!(gateway.ask(lower).status, 201);
}

#[test]
fn each_door_wants_its_own_scope() {
    let gateway = Gateway::start();
    let lookup = |token: &str| {
        gateway.ask(format!(
            "POST /api/v1/lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 18\r\n\r\n{{\"barcode\":\"4711\"}}"
        ))
    };
    for (scope, upload, list, look) in [
        (Scope::CaptureWrite, 201, 200, 403),
        (Scope::CaptureRead, 403, 200, 403),
        (Scope::PatientLookup, 403, 403, 200),
        (Scope::QueueOperate, 403, 403, 403),
        (Scope::AuditRead, 403, 403, 403),
    ] {
        let token = gateway.token(&[scope]);
        let answer = gateway.upload(&token, "", &good_body());
        assert_eq!(answer.status, upload, "{scope:?}");
        if upload == 403 {
            assert_eq!(answer.problem(), "forbidden");
            assert!(answer.header("www-authenticate").unwrap().contains("scope=\"capture.write\""));
        }
        assert_eq!(gateway.get(&token, "/api/v1/captures").status, list, "{scope:?}");
        assert_eq!(lookup(&token).status, look, "{scope:?}");
    }
}

#[test]
fn a_body_that_is_no_capture_is_refused_with_words_and_leaves_nothing() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let claim = || part("claim", CLAIM);
    let file = || part("file", photo(300_000));
    let cut = {
        let whole = body(&[claim(), file()]);
        whole[..whole.len() - 1000].to_vec()
    };
    let table: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        ("not JSON", body(&[part("claim", "patient=4711"), file()]), 400, "malformed", "JSON"),
        (
            "a name twice",
            body(&[part("claim", r#"{"barcode":"1","barcode":"2","department":"d"}"#), file()]),
            400,
            "malformed",
            "twice",
        ),
        ("claim in Latin-1", body(&[part("claim", b"{\"department\":\"h\xE4nde\"}"), file()]), 400, "malformed", "UTF-8"),
        ("names nobody", body(&[part("claim", r#"{"department":"derm"}"#), file()]), 422, "claim-invalid", "claim"),
        (
            "unknown member",
            body(&[part("claim", r#"{"barcode":"1","department":"d","mrn":"2"}"#), file()]),
            422,
            "claim-invalid",
            "claim",
        ),
        ("two claims", body(&[claim(), claim(), file()]), 400, "malformed", "two claims"),
        ("two claims, apart", body(&[claim(), file(), claim()]), 400, "malformed", "two claims"),
        ("no claim", body(&[file()]), 400, "malformed", "claim"),
        ("claim last", body(&[file(), claim()]), 400, "malformed", "first"),
        ("no file", body(&[claim()]), 400, "malformed", "no file"),
        ("nothing", body(&[]), 400, "malformed", "claim"),
        ("another name", body(&[claim(), part("photo", "x")]), 400, "malformed", "`file`"),
        ("another name first", body(&[part("upload", "x"), claim(), file()]), 400, "malformed", "`file`"),
        ("cut in the middle of a part", cut, 400, "malformed", "ends before"),
        ("no parts at all", b"hello".to_vec(), 400, "malformed", "ends before"),
        ("long preamble", vec![b'x'; 100_000], 400, "malformed", "boundary"),
        ("claim too large", body(&[part("claim", vec![b' '; 70_000]), file()]), 413, "too-large", "64 KiB"),
        ("too many files", body(&[vec![claim()], vec![part("file", "x"); 101]].concat()), 413, "too-large", "100 files"),
        ("no photo", body(&[claim(), part("file", "GIF89a")]), 415, "unsupported-media", "photo"),
    ];
    for (what, bytes, status, code, words) in table {
        let answer = gateway.upload(&token, "", &bytes);
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{what}: {}", answer.text());
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{what}: {}", answer.text());
        assert_eq!(gateway.fake.open(), 0, "{what} left something behind");
    }
    assert!(gateway.fake.filed().is_empty());
    let refused = gateway.upload(&token, "", &body(&[part("claim", r#"{"laterality":"X"}"#), file()])).json();
    let pointers: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert!(["/laterality", "/department", ""].iter().all(|p| pointers.contains(p)), "{refused}");
    let kinds = gateway.upload(&token, "", &body(&[claim(), part("file", "GIF89a")])).json();
    assert_eq!(kinds["accepted"], json!(MediaKind::ACCEPTED_TYPES));
    assert_eq!(kinds["part"], 1);
}

#[test]
fn a_head_that_cannot_carry_a_capture_is_refused_before_its_body() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let good = good_body();
    let with = |from: &str, to: &str| {
        let request = upload_head(&token, "", good.len()).replace(from, to);
        gateway.ask([request.as_bytes(), &good].concat())
    };
    let typed = |content_type: &str| with("multipart/form-data; boundary=XX", content_type);
    for (content_type, status, code) in [
        ("application/json", 415, "unsupported-media"),
        ("image/jpeg", 415, "unsupported-media"),
        ("multipart/mixed; boundary=XX", 415, "unsupported-media"),
        ("multipart/form-data", 400, "malformed"),
        ("multipart/form-data; boundary=XX; boundary=YY", 400, "malformed"),
    ] {
        let answer = typed(content_type);
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{content_type}");
    }
    let encoded = gateway.upload(&token, "Content-Encoding: gzip\r\n", &good);
    assert_eq!((encoded.status, encoded.problem().as_str()), (415, "unsupported-media"));
    assert_eq!(gateway.upload(&token, "Content-Encoding: identity\r\n", &good).status, 201);
    let bodyless = gateway.ask(upload_head(&token, "", 0).replace("Content-Length: 0\r\n", ""));
    assert_eq!((bodyless.status, bodyless.problem().as_str()), (411, "length-required"));
    let huge = gateway.ask(upload_head(&token, "", 500_000_000_000));
    assert_eq!((huge.status, huge.problem().as_str()), (413, "too-large"));
    assert_eq!(huge.json()["limit_bytes"], 100u64 * (4 << 30) + (1 << 20));
    for key in ["Idempotency-Key: \r\n", "Idempotency-Key: a b\r\n", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"] {
        assert_eq!(gateway.upload(&token, key, &good).problem(), "malformed", "{key}");
    }
    for host in ["", "Host: a\r\nHost: b\r\n"] {
        assert_eq!(with("Host: localhost\r\n", host).status, 400, "{host:?}");
    }
}

#[test]
fn the_same_key_gets_the_same_receipt() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let first = gateway.upload(&token, "Idempotency-Key: k-1\r\n", &good_body());
    let again = gateway.upload(&token, "Idempotency-Key: k-1\r\n", &good_body());
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(gateway.fake.filed().len(), 1);
}

#[test]
fn what_the_pipeline_refuses_reaches_the_phone_whole() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    for (code, status, retry) in [
        (RefusalCode::DamagedMedia, 422, None),
        (RefusalCode::IdempotencyMismatch, 422, None),
        (RefusalCode::UnknownPatient, 422, None),
        (RefusalCode::Conflict, 409, Some("2")),
        (RefusalCode::Busy, 429, Some("2")),
        (RefusalCode::SpoolFull, 507, Some("30")),
        (RefusalCode::Unavailable, 503, Some("30")),
    ] {
        gateway.fake.refuse_next(Refusal::new(code, "So it is."));
        let answer = gateway.upload(&token, "", &good_body());
        assert_eq!((answer.status, answer.problem().as_str()), (status, code.word()));
        assert_eq!(answer.header("retry-after"), retry, "{code:?}");
        assert_eq!(answer.json()["detail"], "So it is.");
        assert_eq!(answer.json()["retryable"], code.is_retryable());
    }
    assert!(gateway.fake.filed().is_empty());
}

#[test]
fn a_capture_can_be_followed_by_who_made_it() {
    let gateway = Gateway::start();
    let writer = gateway.writer();
    let id = gateway.upload(&writer, "", &good_body()).json()["id"].as_str().unwrap().to_owned();
    gateway.fake.change(|record| {
        let at = record.acceptance.accepted_at;
        record.move_item(0, Stage::Held, at, Some("no such patient yet".to_owned())).unwrap();
        record.items[0].failure = Some(Failure::new(FailureCode::PatientUnknown, "waits for the hospital", at));
        record.items[0].schedule.attempts = 3;
        record.items[0].schedule.due = None;
        record.notes.push("two active visits; none was chosen".to_owned());
    });
    let path = format!("/api/v1/captures/{id}");
    let answer = gateway.get(&writer, &path);
    assert_eq!(answer.status, 200);
    let capture = answer.json();
    assert_eq!(capture["stage"], "held");
    let failure = &capture["items"][0]["failure"];
    assert_eq!(failure["code"], "patient-unknown");
    assert_eq!(failure["class"], "permanent");
    assert_eq!(failure["attempts"], 3);
    assert_eq!(failure["next_try_at"], json!(null));
    assert_eq!(capture["history"][0]["stage"], "accepted");
    assert_eq!(capture["history"][1]["why"], "no such patient yet");
    assert_eq!(capture["notes"][0], "two active visits; none was chosen");
    assert!(!answer.text().contains("4711"), "patient data in the answer");

    let other = gateway.token_of("other", &[Scope::CaptureWrite]);
    let reader = gateway.token_of("reader", &[Scope::CaptureRead]);
    assert_eq!(gateway.get(&reader, &path).status, 200);
    let (foreign, absent) = (gateway.get(&other, &path), gateway.get(&other, "/api/v1/captures/01J00000000000000000000000"));
    assert_eq!((foreign.status, absent.status), (404, 404));
    assert_eq!(foreign.json()["detail"], absent.json()["detail"], "another's capture looks different from none");
    for id in ["x", "..%2f..%2fetc", "01J00000000000000000000000-0", &"0".repeat(5000)] {
        assert_eq!(gateway.get(&writer, &format!("/api/v1/captures/{id}")).status, 404, "{id:.40}");
    }
}

#[test]
fn captures_are_listed_in_pages() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    for _ in 0..5 {
        assert_eq!(gateway.upload(&token, "", &good_body()).status, 201);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.get(&token, &format!("/api/v1/captures?limit=2&stage=accepted&cursor={cursor}")).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|i| i["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(gateway.get(&token, "/api/v1/captures?stage=held").json(), json!({"items": [], "next": null}));
    let bad = gateway.get(&token, "/api/v1/captures?stage=lost&limit=1000");
    assert_eq!((bad.status, bad.json()["errors"].as_array().unwrap().len()), (400, 2));
}

#[test]
fn a_patient_is_found_by_a_question_in_a_body() {
    let gateway = Gateway::start();
    let token = gateway.token(&[Scope::PatientLookup]);
    let ask = |question: &str| {
        let length = question.len();
        gateway.ask(format!("POST /api/v1/lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{question}"))
    };
    let found = ask(r#"{"barcode":"4711"}"#);
    assert_eq!(found.status, 200);
    assert_eq!(found.json()["status"], "found");
    let patient = found.json()["patients"][0].clone();
    assert_eq!((&patient["id"], &patient["name"]), (&json!("4711"), &json!("Jörg Müller")));
    for member in ["issuer_universal_id", "other_ids", "active", "deceased", "name_dicom", "sex", "visits", "orders"] {
        assert!(patient.get(member).is_some(), "no {member}");
    }
    assert_eq!(ask(r#"{"visit":{"id":"V9"}}"#).json(), json!({"status": "none", "patients": []}));
    for bad in ["", "{", "[]", r#"{"patient":{"id":"1"},"barcode":"2"}"#, r#"{"name":"Müller"}"#] {
        let answer = ask(bad);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed"), "{bad}");
    }
    assert_eq!(ask(&format!("{{\"barcode\":\"{}\"}}", "9".repeat(5000))).status, 413);
}

#[test]
fn every_other_address_says_so() {
    let gateway = Gateway::start();
    let ask = |line: &str| gateway.ask(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"));
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/captures/",
        "/API/v1/captures",
        "/api/v1//captures",
        "/metrics",
        "/.env",
        "/%2e",
    ] {
        let answer = ask(&format!("GET {path}"));
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
    }
    for (line, allow) in [
        ("DELETE /api/v1/captures", "GET, HEAD, POST"),
        ("TRACE /healthz", "GET, HEAD"),
        ("OPTIONS /api/v1/lookup", "POST"),
        ("PUT /api/v1/captures/01J00000000000000000000000", "GET, HEAD"),
        ("FROB /healthz", "GET, HEAD"),
    ] {
        let answer = ask(line);
        assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"), "{line}");
        assert_eq!(answer.header("allow"), Some(allow), "{line}");
    }
    let health = ask("GET /healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "{\"status\":\"ok\"}"));
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    client.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.try_answer(false).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("15")));
    assert_eq!(client.answer().text(), "{\"status\":\"ok\"}");
}

#[test]
fn every_answer_guards_its_reader_and_names_itself() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let mut ids = std::collections::HashSet::new();
    for answer in [
        gateway.upload(&token, "", &good_body()),
        gateway.upload("no", "", &good_body()),
        gateway.get(&token, "/api/v1/captures"),
        gateway.get(&token, "/nothing"),
        gateway.get(&token, "/healthz"),
    ] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value));
        }
        assert_eq!(answer.header("server"), None);
        assert!(ids.insert(answer.header("x-request-id").unwrap().to_owned()), "a request id came twice");
    }
    let lines = gateway.log.0.lock().unwrap().clone();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with("POST /api/v1/captures 201 "), "{}", lines[0]);
    assert!(lines[1].contains("refusal=unauthenticated denied="), "{}", lines[1]);
    assert!(lines[3].starts_with("GET other 404 "), "{}", lines[3]);
    for line in &lines {
        assert!(ids.iter().any(|id| line.contains(id.as_str())));
        assert!(!line.contains(&token) && !line.contains("4711"), "{line}");
    }
}

#[test]
fn whoever_may_file_may_search_codes() {
    let gateway = Gateway::start();
    let ask = |scopes: &[Scope], query: &str| gateway.get(&gateway.token(scopes), &format!("/api/v1/codes?{query}"));
    let hand = ask(&[Scope::CaptureWrite], "kind=body-site&q=H%C3%84ND&limit=1");
    assert_eq!((hand.status, hand.json()["codes"][0]["side"].as_str()), (200, Some("required")));
    assert_eq!(ask(&[Scope::PatientLookup], "kind=department").json()["codes"][0]["term"], "derm");
    assert_eq!(ask(&[Scope::AuditRead], "kind=view").status, 403);
    let wrong = ask(&[Scope::CaptureRead], "kind=colour");
    assert_eq!((wrong.status, wrong.json()["errors"][0]["pointer"].as_str()), (400, Some("kind")));
}

#[test]
fn the_routes_and_the_published_contract_agree() {
    let contract = include_str!("../api-spec/openapi.yaml");
    for route in shutterbridge::http::routes::ROUTES {
        let path = format!("\n  {}:\n", route.path);
        let (_, operations) =
            contract.split_once(path.as_str()).unwrap_or_else(|| panic!("{} is not in openapi.yaml", route.path));
        let operations = operations.split("\n  /").next().unwrap();
        let method = format!("    {:?}:\n", route.method).to_lowercase();
        let (_, operation) = operations.split_once(method.as_str()).unwrap_or_else(|| panic!("{method} of {path}"));
        let until = operation.find("\n    get:").or(operation.find("\n    post:")).unwrap_or(operation.len());
        let operation = &operation[..until];
        for scope in route.scopes {
            assert!(operation.contains(scope.word()), "{path} {method} does not name {}", scope.word());
        }
        assert_eq!(operation.contains("security: []"), route.scopes.is_empty(), "{path} {method}");
    }
}

#[test]
fn every_refusal_and_every_failure_is_explained() {
    let problems = include_str!("../api-spec/problems.md");
    let words = RefusalCode::ALL.iter().map(|c| c.word()).chain(FailureCode::ALL.iter().map(|c| c.word()));
    for word in words {
        assert!(problems.contains(&format!("\n### {word}\n")), "no heading for {word}");
    }
}
