//! What slow, broken, vanishing and impatient clients meet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http_support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http_support::{CLAIM, Client, Gateway, body, good_body, part, photo, upload_head, upload_request};
use shutterbridge::http::Limits;

const MIB: usize = 1 << 20;

/// Sends all of `request` before it reads anything, as simple clients do; a write that fails is
/// the moment to read.
fn send_all_then_read(client: &mut Client, request: &[u8]) -> Option<http_support::Answer> {
    for piece in request.chunks(64 * 1024) {
        if client.stream.write_all(piece).is_err() {
            break;
        }
    }
    client.try_answer(true)
}

#[test]
fn a_refusal_is_read_by_a_client_that_sends_first_and_listens_later() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let unknown = upload_request("no", "", &photo(20 * MIB));
    let large = upload_request(&token, "", &body(&[part("claim", CLAIM), part("file", photo(70 * MIB))]));
    let early = upload_request(&token, "", &[part("photo", photo(20 * MIB))].concat());
    for (what, request, status, code, runs) in [
        ("no token", &unknown, 401, "unauthenticated", 20),
        ("too large", &large, 413, "too-large", 4),
        ("bad part", &early, 400, "malformed", 6),
    ] {
        for run in 0..runs {
            let mut client = gateway.connect();
            let answer = send_all_then_read(&mut client, request).unwrap_or_else(|| panic!("{what}, run {run}: no answer"));
            assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{what}, run {run}");
            assert_eq!(answer.header("connection"), Some("close"), "{what}");
            assert!(client.ends(), "{what}: the answer is not the end");
        }
    }
    assert_eq!(gateway.fake.open(), 0);
}

#[test]
fn a_refusal_in_the_middle_of_chunks_is_read_as_well() {
    let gateway = Gateway::start();
    let head = upload_head("no", "", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunk = [format!("{:x}\r\n", 64 * 1024).into_bytes(), photo(64 * 1024), b"\r\n".to_vec()].concat();
    for run in 0..20 {
        let mut client = gateway.connect();
        let answer = send_all_then_read(&mut client, &[head.as_bytes(), &chunk.repeat(160)].concat());
        assert_eq!(answer.unwrap_or_else(|| panic!("run {run}")).problem(), "unauthenticated");
        assert!(client.ends());
    }
}

#[test]
fn whoever_asks_before_sending_hears_the_final_word_at_once() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let expect = "Expect: 100-continue\r\n";
    let table = [
        (upload_head("no", expect, 20 * MIB), 401),
        (upload_head(&gateway.token(&[]), expect, 20 * MIB), 403),
        (upload_head(&token, expect, 500_000_000_000), 413),
        (upload_head(&token, expect, 10).replace("multipart/form-data", "text/plain"), 415),
        (upload_head(&token, expect, 10).replace("/captures", "/nothing"), 404),
        (upload_head("no", expect, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked"), 401),
    ];
    for (head, status) in table {
        let mut client = gateway.connect();
        client.send(&head);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{head}");
        answer.problem();
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.ends());
    }
    let body = good_body();
    let mut client = gateway.connect();
    client.send(upload_head(&token, expect, body.len()));
    assert_eq!(client.try_answer(false).unwrap().status, 100);
    client.send(&body);
    assert_eq!(client.answer().status, 201);
}

/// Limits much shorter than in life. actix counts its own (head, keep-alive) from a clock that ticks
/// twice a second, so those cannot be shorter than that.
fn quick() -> Limits {
    Limits {
        body_grace_ms: 200,
        body_stall_ms: 500,
        body_rate_bytes_s: 50_000,
        head_ms: 1_500,
        keep_alive_ms: 1_500,
        discard_ms: 1_000,
        ..Limits::default()
    }
}

#[test]
fn a_body_that_stalls_is_cut_and_leaves_nothing() {
    let gateway = Gateway::with(quick(), |_| None);
    let token = gateway.writer();
    let body = good_body();
    let rings = gateway.fake.listen();
    let mut client = gateway.connect();
    client.send(upload_head(&token, "", body.len()));
    client.send(&body[..190_000]);
    let asked = Instant::now();
    let answer = client.answer();
    assert_eq!((answer.status, answer.problem().as_str()), (408, "timeout"));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(client.ends());
    while rings.recv_timeout(Duration::from_secs(20)).expect("the draft was never dropped") != "drop" {}
    assert_eq!(gateway.fake.open() + gateway.fake.filed().len(), 0);
}

#[test]
fn a_body_that_drips_is_cut() {
    let gateway = Gateway::with(quick(), |_| None);
    let token = gateway.writer();
    let mut client = gateway.connect();
    client.send(upload_head(&token, "", 1_000_000));
    client.stream.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let asked = Instant::now();
    // Twenty bytes a second by this clock; each read waits for the next drop.
    let answer = loop {
        assert!(asked.elapsed() < Duration::from_secs(20), "a dripping body was never cut");
        let _ = client.stream.write_all(b"x");
        let mut first = [0; 1024];
        match client.stream.read(&mut first) {
            Ok(n) if n > 0 => break String::from_utf8_lossy(&first[..n]).into_owned(),
            _ => {}
        }
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let body = body(&[part("claim", CLAIM), part("file", photo(3 * MIB))]);
    for politely in [true, false] {
        let rings = gateway.fake.listen();
        let mut client = gateway.connect();
        client.send(upload_head(&token, "", body.len()));
        client.send(&body[..2 * MIB]);
        while rings.recv_timeout(Duration::from_secs(20)).unwrap() != "push" {}
        if politely {
            client.stream.conn.send_close_notify();
            let _ = client.stream.flush();
        }
        drop(client);
        while rings.recv_timeout(Duration::from_secs(20)).expect("the draft was never dropped") != "drop" {}
        assert_eq!(gateway.fake.open(), 0);
    }
    assert!(gateway.fake.filed().is_empty());
}

#[test]
fn one_connection_carries_many_requests() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(upload_request(&token, "", &good_body()));
        let answer = client.answer();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("connection"), None);
        client.send(format!("GET /api/v1/captures?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(gateway.fake.filed().len(), 3);
}

#[test]
fn what_two_readers_could_cut_differently_is_not_answered() {
    let gateway = Gateway::start();
    let token = gateway.writer();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /api/v1/captures HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=XX\r\n{headers}\r\n{body}"
        )
    };
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for request in [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Content-Length: 4\r\nContent-Length: 40\r\n", smuggled),
        post("Content-Length: +4\r\n", smuggled),
        post("Content-Length: 4, 4\r\n", smuggled),
        post("Transfer-Encoding: gzip, chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: chunked\r\n", &format!("5x\r\nhello\r\n0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding : chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Content-Length: 0\r\n Transfer-Encoding: chunked\r\n", smuggled),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned(),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000)),
        "GET /healthz\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned(),
    ] {
        let mut client = gateway.connect();
        let _ = client.stream.write_all(request.as_bytes());
        let _ = client.stream.flush();
        client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let mut statuses = Vec::new();
        while let Some(answer) = client.try_answer(true) {
            statuses.push(answer.status);
        }
        assert!(statuses.len() <= 1, "{request:.200}: {statuses:?}");
        assert!(statuses.iter().all(|s| [400, 401, 408, 411, 431].contains(s)), "{request:.200}: {statuses:?}");
    }
    assert!(gateway.fake.filed().is_empty());
}

#[test]
fn a_head_that_drips_is_cut_on_every_request_of_a_connection() {
    let gateway = Gateway::with(quick(), |_| None);
    for warm in [false, true] {
        let mut client = gateway.connect();
        if warm {
            client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(client.answer().status, 200);
        }
        client.stream.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let asked = Instant::now();
        let mut buffer = [0; 1024];
        client.send("GET /healthz HTTP/1.1\r\nX: ");
        loop {
            assert!(asked.elapsed() < Duration::from_secs(20), "a dripping head was never cut (warm: {warm})");
            if client.stream.write_all(b"x").is_err() {
                break;
            }
            match client.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => assert!(buffer[..n].starts_with(b"HTTP/1.1 408 ")),
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
    }
}

#[test]
fn an_idle_connection_ends_and_a_silent_one_too() {
    let gateway = Gateway::with(Limits { handshake_ms: 300, ..quick() }, |_| None);
    let mut idle = gateway.connect();
    idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    assert!(idle.ends());
    let mut silent = std::net::TcpStream::connect(gateway.addr).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "a connection without TLS was kept");
}

#[test]
fn too_many_uploads_at_once_are_asked_to_come_back() {
    let gateway = Gateway::with(Limits { uploads_max: 2, ..Limits::default() }, |_| None);
    let token = gateway.writer();
    let body = good_body();
    let rings = gateway.fake.listen();
    let mut running: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = gateway.connect();
            client.send(upload_head(&token, "", body.len()));
            client.send(&body[..body.len() - 1000]);
            while rings.recv_timeout(Duration::from_secs(20)).unwrap() != "begin" {}
            client
        })
        .collect();
    let third = gateway.upload(&token, "", &body);
    assert_eq!((third.status, third.problem().as_str(), third.header("retry-after")), (429, "busy", Some("2")));
    for client in &mut running {
        client.send(&body[body.len() - 1000..]);
        assert_eq!(client.answer().status, 201);
    }
    assert_eq!(gateway.upload(&token, "", &body).status, 201);
}

#[test]
fn a_stop_lets_an_upload_end_and_takes_no_new_one() {
    let mut gateway = Gateway::start();
    let token = gateway.writer();
    let body = good_body();
    let rings = gateway.fake.listen();
    let mut client = gateway.connect();
    let mut idle = gateway.connect();
    idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    client.send(upload_head(&token, "", body.len()));
    client.send(&body[..190_000]);
    while rings.recv_timeout(Duration::from_secs(20)).unwrap() != "begin" {}
    let server = gateway.server.take().unwrap();
    let addr = gateway.addr;
    let stopping = thread::spawn(move || server.stop());
    assert!(idle.ends(), "an idle connection keeps the server from stopping");
    let refused = Arc::new(std::net::TcpStream::connect(addr));
    client.send(&body[190_000..]);
    let answer = client.answer();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("connection"), Some("close"));
    drop(client);
    stopping.join().unwrap().unwrap();
    assert!(refused.is_err() || std::net::TcpStream::connect(addr).is_err());
    assert_eq!(gateway.fake.filed().len(), 1);
}
