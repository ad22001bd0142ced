//! Plain connections: versions, sizes, counts, addresses.

use tokio::io::AsyncWriteExt as _;

use super::*;

#[tokio::test]
async fn both_versions_are_spoken_and_the_connection_is_described() {
    let served = Served::plain(PATIENT).await;
    let socket = served.connect().await;
    let expected =
        format!("ConnectionInfo {{ peer: {}, tls: false, certificates: None }}", socket.local_addr().unwrap());
    let (mut client, _task) = http1(socket).await;
    assert_eq!(text(soon(client.send_request(get_request("/"))).await.unwrap()).await, format!("HTTP/1.1 {expected}"));

    let socket = served.connect().await;
    let expected =
        format!("ConnectionInfo {{ peer: {}, tls: false, certificates: None }}", socket.local_addr().unwrap());
    let (mut client, _task) = http2(socket).await;
    assert_eq!(text(soon(client.send_request(get_request("/"))).await.unwrap()).await, format!("HTTP/2.0 {expected}"));
}

#[tokio::test]
async fn sca_28_forwarded_headers_change_nothing() {
    let served = Served::plain(PATIENT).await;
    let socket = served.connect().await;
    let own = socket.local_addr().unwrap();
    let (mut client, _task) = http1(socket).await;
    let mut request = get_request("/");
    for name in
        ["forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "client-cert", "x-forwarded-client-cert"]
    {
        request.headers_mut().insert(name, "for=192.0.2.1;proto=https".parse().unwrap());
    }
    let answer = text(soon(client.send_request(request)).await.unwrap()).await;
    assert_eq!(answer, format!("HTTP/1.1 ConnectionInfo {{ peer: {own}, tls: false, certificates: None }}"));
}

/// A request whose header counts as `bytes`, with `fields` fields.
fn raw_request(bytes: usize, fields: usize) -> String {
    let mut request = String::from("GET / HTTP/1.1\r\nconnection: close\r\n");
    let mut counted = "/".len() + "connection".len() + "close".len() + 32;
    for number in 0..fields - 2 {
        request += &format!("x-{number:03}: y\r\n");
        counted += "x-000".len() + 1 + 32;
    }
    let value = bytes - counted - "x-long".len() - 32;
    request + "x-long: " + &"z".repeat(value) + "\r\n\r\n"
}

#[tokio::test]
async fn lim_07_header_limits_are_exact() {
    let served = Served::plain(PATIENT).await;
    let limit = Limits::STANDARD.header_bytes as usize;
    for (bytes, fields, status) in [
        (limit, 3, 200),
        (limit + 1, 3, 431),
        (20 * 1024, 3, 431),
        (40 * 1024, 3, 431),
        (8000, 100, 200),
        (8000, 101, 431),
    ] {
        let mut socket = served.connect().await;
        // A refused request may be closed upon before it is written whole.
        let _ = socket.write_all(raw_request(bytes, fields).as_bytes()).await;
        let answer = rest_of(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes} bytes in {fields} fields: {answer}");
        if status == 431 && bytes < 2 * limit && fields <= 100 {
            assert!(
                answer.contains(r#"{"error":"invalid_request""#) && answer.contains("connection: close"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn lim_07_header_limit_of_http2() {
    let served = Served::plain(PATIENT).await;
    let (mut client, task) = http2(served.connect().await).await;
    for (length, status) in [(15 * 1024, 200), (20 * 1024, 431)] {
        let mut request = get_request("/");
        request.headers_mut().insert("x-long", "z".repeat(length).parse().unwrap());
        assert_eq!(soon(client.send_request(request)).await.unwrap().status(), status, "{length}");
    }
    assert!(!task.is_finished(), "only the stream ends");
}

#[tokio::test]
async fn lim_07_rapid_reset_ends_the_connection() {
    let served = Served::plain(PATIENT).await;
    let mut socket = served.connect().await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1_u32..2000).step_by(2) {
        let stream = stream.to_be_bytes();
        // HEADERS with END_STREAM and END_HEADERS: GET http://a/ from the static table.
        bytes.extend([0, 0, 6, 1, 5].iter().chain(&stream).chain(&[0x82, 0x86, 0x84, 0x41, 0x01, b'a']));
        // RST_STREAM with CANCEL.
        bytes.extend([0, 0, 4, 3, 0].iter().chain(&stream).chain(&[0, 0, 0, 8]));
    }
    let _ = socket.write_all(&bytes).await;
    rest_of(&mut socket).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let served = Served::plain(Limits { connections: 1, ..PATIENT }).await;
    let (mut first, task) = http1(served.connect().await).await;
    soon(first.send_request(get_request("/"))).await.unwrap();
    let (mut second, _task) = http1(served.connect().await).await;
    let mut waiting = std::pin::pin!(second.send_request(get_request("/")));
    assert!(tokio::time::timeout(SHORT, waiting.as_mut()).await.is_err(), "answered beyond the limit");
    drop(first);
    soon(task).await.unwrap().unwrap();
    assert_eq!(soon(waiting).await.unwrap().status(), 200);
}

#[tokio::test]
async fn failing_accepts_do_not_end_the_loop() {
    const EMFILE: i32 = 24;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (drain, limits) = (Drain::new(), Arc::new(PATIENT));
    let router = Router::new().route("/", get(async || "served"));
    let protocols = Protocols::new(&limits, &drain);
    let door = Arc::new(Door { tls: None, router, limits, protocols, drain });
    let address = socket.local_addr().unwrap();
    let mut results = vec![
        io::ErrorKind::ConnectionAborted.into(),
        io::Error::from_raw_os_error(EMFILE),
        io::Error::from_raw_os_error(EMFILE),
    ];
    let accepting = accept(
        || {
            let failure = results.pop();
            async {
                match failure {
                    Some(error) => Err(error),
                    None => socket.accept().await,
                }
            }
        },
        &door,
    );
    let asking = async {
        let (mut client, _task) = http1(TcpStream::connect(address).await.unwrap()).await;
        text(client.send_request(get_request("/")).await.unwrap()).await
    };
    tokio::select! {
        () = accepting => panic!("the loop ended"),
        answer = soon(asking) => assert_eq!(answer, "served"),
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let served = Served::plain(PATIENT).await;
    let error = Listener::bind(&ListenSettings { address: served.address, tls: None }, None).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", served.address)), "{error}");
    let error = Listener::bind_admin(&AdminSettings { address: served.address }).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn tok_09_plain_http_is_for_loopback_alone() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let error =
            Listener::bind(&ListenSettings { address: address.parse().unwrap(), tls: None }, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address}: {error}");
    }
    Listener::bind(&ListenSettings { address: "127.0.0.2:0".parse().unwrap(), tls: None }, None).await.unwrap();
    // The admin address may be anywhere; this test stays on loopback.
    Listener::bind_admin(&AdminSettings { address: "127.0.0.1:0".parse().unwrap() }).await.unwrap();
}
