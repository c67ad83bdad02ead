//! The answers that are read and those that are refused, without a connection.

use ::http::{Method, StatusCode};
use bytes::BytesMut;
use proptest::prelude::*;

use super::super::answer_body::BodyDecoder;
use super::super::answer_head::{AnswerHead, AnswerLength, HeadReader};
use super::super::fault::HttpAnswerFault;
use witgate_testing::growth::assert_linear;

/// An answer that was read, with its body and the bytes after it.
#[derive(Debug)]
struct ReadAnswer {
    head: AnswerHead,
    body: String,
    rest: String,
}

/// Reads an answer that arrives in these pieces, after which the connection ends.
fn read<'a>(
    method: &Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<ReadAnswer, HttpAnswerFault> {
    let (mut received, mut reader) = (BytesMut::new(), HeadReader::new(method));
    let (mut answer, mut body) = (None, Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        if answer.is_none() {
            let head = reader.read(&mut received)?;
            answer = head.map(|head| (BodyDecoder::new(head.length), head));
        }
        let Some((decoder, _)) = &mut answer else { continue };
        while let Some(data) = decoder.next(&mut received)? {
            body.extend_from_slice(&data);
        }
    }
    let (mut decoder, head) = answer.ok_or(HttpAnswerFault::Incomplete)?;
    decoder.finish()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(ReadAnswer { head, body: text(&body), rest: text(&received) })
}

fn read_text(text: &str) -> Result<ReadAnswer, HttpAnswerFault> {
    read(&Method::POST, [text.as_bytes()])
}

fn fault(text: &str) -> Option<HttpAnswerFault> {
    read_text(text).err()
}

#[test]
fn heads_are_refused_unless_every_reader_understands_them_alike() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", HttpAnswerFault::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", HttpAnswerFault::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\r\n\n", HttpAnswerFault::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", HttpAnswerFault::Field),
        ("HTTP/1.1 200 OK\r\nA: b\x7f\r\n\r\n", HttpAnswerFault::Field),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.2 200 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/2 200\r\n\r\n", HttpAnswerFault::StatusLine),
        ("http/1.1 200 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", HttpAnswerFault::StatusLine),
        ("SSH-2.0-OpenSSH_9.9\r\n", HttpAnswerFault::StatusLine),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", HttpAnswerFault::Upgrade),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", HttpAnswerFault::Incomplete),
        ("", HttpAnswerFault::Incomplete),
    ] {
        assert_eq!(fault(head), Some(expected), "{head:?}");
    }
}

#[test]
fn lengths_are_refused_unless_they_are_one_number() {
    for length in ["+5", "-5", "", "5,", ",5", "5 5", "5, 6", "0x5", "5.0", "18446744073709551616", "٥"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
        assert_eq!(fault(&head), Some(HttpAnswerFault::Length), "{length:?}");
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 6\r\n\r\nhello!";
    assert_eq!(fault(head), Some(HttpAnswerFault::Length));
    for length in ["5", "005", "5, 5", "5\r\nContent-Length: 5"] {
        let answer =
            read_text(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello!")).unwrap();
        assert_eq!((&*answer.body, &*answer.rest, answer.head.is_last), ("hello", "!", false), "{length}");
    }
}

#[test]
fn transfer_codings_are_refused_except_for_chunked() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "identity", "", "chunked,"] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{chunks}");
        assert_eq!(fault(&head), Some(HttpAnswerFault::Coding), "{coding:?}");
    }
    for (head, expected) in [
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HttpAnswerFault::Coding),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip", HttpAnswerFault::Coding),
        ("1.0 200 OK\r\nTransfer-Encoding: chunked", HttpAnswerFault::Coding),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", HttpAnswerFault::Length),
        ("1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", HttpAnswerFault::Length),
        ("1.1 204 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", HttpAnswerFault::Length),
    ] {
        assert_eq!(fault(&format!("HTTP/{head}\r\n\r\n{chunks}")), Some(expected), "{head}");
    }
    let answer = read_text(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{chunks}"));
    assert_eq!(answer.unwrap().body, "hello");
}

fn chunked(body: &str) -> Result<ReadAnswer, HttpAnswerFault> {
    read_text(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
}

#[test]
fn chunks_are_read_with_extensions_and_trailers() {
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        "0005\r\nhello\r\n000\r\n\r\n",
        "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
        "5 \t\r\nhello\r\n0 ;x\r\n\r\n",
        "5\r\nhello\r\n0\r\nDigest: x\r\nOther: y\r\n\r\n",
    ] {
        let answer = chunked(&format!("{body}next")).unwrap();
        assert_eq!((&*answer.body, &*answer.rest, answer.head.is_last), ("hello", "next", false), "{body:?}");
    }
    let large = format!("1A\r\n{0}\r\n1a\r\n{0}\r\n0\r\n\r\n", "x".repeat(26));
    assert_eq!(chunked(&large).unwrap().body.len(), 52);
}

#[test]
fn chunks_are_refused_unless_every_reader_understands_them_alike() {
    let extensions = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(17 << 10));
    let one_by_one = format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "x".repeat(1 << 10)).repeat(17));
    let line = format!("5;{}", "x".repeat(20 << 10));
    let fields = format!("0\r\n{}\r\n", "A: b\r\n".repeat(101));
    let trailers = format!("0\r\nA: {}\r\n\r\n", "x".repeat(17 << 10));
    for (body, expected) in [
        ("+5\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("-5\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        (" 5\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("0x5\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5h\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5 5\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5\nhello\r\n0\r\n\r\n", HttpAnswerFault::LineEnd),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", HttpAnswerFault::LineEnd),
        ("5\r\nhello0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5\r\nhello\n0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5\r\nhello\r0\r\n\r\n", HttpAnswerFault::Chunk),
        ("5\r\nhello\r\n0\r\nA: b\n\r\n", HttpAnswerFault::LineEnd),
        ("5\r\nhello\r\n0\r\nA : b\r\n\r\n", HttpAnswerFault::Field),
        ("5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n", HttpAnswerFault::Field),
        ("5\r\nhello\r\n0\r\nA: b\0\r\n\r\n", HttpAnswerFault::Field),
        ("5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n", HttpAnswerFault::Field),
        ("5\r\nhell", HttpAnswerFault::Incomplete),
        ("5\r\nhello\r\n", HttpAnswerFault::Incomplete),
        ("5\r\nhello\r\n0\r\n", HttpAnswerFault::Incomplete),
        ("5\r\nhello\r\n0\r\nA: b\r\n", HttpAnswerFault::Incomplete),
        ("ffffffffffffffff\r\nhello", HttpAnswerFault::Incomplete),
        (&extensions, HttpAnswerFault::Chunk),
        (&one_by_one, HttpAnswerFault::Chunk),
        (&line, HttpAnswerFault::Chunk),
        (&fields, HttpAnswerFault::Flood),
        (&trailers, HttpAnswerFault::Flood),
    ] {
        assert_eq!(chunked(body).err(), Some(expected), "{:?}", body.get(..60).unwrap_or(body));
    }
}

#[test]
fn heads_are_bounded() {
    let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    assert!(read_text(&with(&"A: b\r\n".repeat(99))).is_ok());
    assert_eq!(fault(&with(&"A: b\r\n".repeat(100))), Some(HttpAnswerFault::Flood));
    let long = |length: usize| with(&format!("A: {}\r\n", "x".repeat(length)));
    let others = long(0).len();
    assert!(read_text(&long((64 << 10) - others)).is_ok());
    assert_eq!(fault(&long((64 << 10) - others + 1)), Some(HttpAnswerFault::Flood));
    assert_eq!(fault(&format!("HTTP/1.1 200 {}", "x".repeat(64 << 10))), Some(HttpAnswerFault::Flood));
}

#[test]
fn interim_answers_are_skipped_up_to_a_number() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let answer = read_text(&(interim.repeat(8) + last)).unwrap();
    assert_eq!((answer.head.status, answer.head.headers.len(), &*answer.body), (StatusCode::OK, 1, "x"));
    assert_eq!(fault(&(interim.repeat(9) + last)), Some(HttpAnswerFault::Interim));
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let ends = |method: &Method, head: &str| {
        let text = format!("HTTP/1.1 {head}\r\n\r\nrest");
        let answer = read(method, [text.as_bytes()]).unwrap();
        assert_eq!((&*answer.body, &*answer.rest), ("", "rest"), "{head}");
        answer.head.is_last
    };
    assert!(!ends(&Method::POST, "204 No Content"));
    assert!(!ends(&Method::POST, "204 No Content\r\nContent-Length: 0"));
    assert!(ends(&Method::POST, "204 No Content\r\nContent-Length: 4"));
    assert!(ends(&Method::POST, "204 No Content\r\nTransfer-Encoding: chunked"));
    assert!(!ends(&Method::POST, "304 Not Modified\r\nContent-Length: 4"));
    assert!(!ends(&Method::HEAD, "200 OK\r\nContent-Length: 4"));
    assert!(!ends(&Method::HEAD, "200 OK\r\nTransfer-Encoding: chunked"));
    assert!(!ends(&Method::POST, "200 OK\r\nContent-Length: 0"));
}

#[test]
fn a_connection_ends_with_its_answer_if_the_server_says_so() {
    let is_last = |head: &str| read_text(&format!("HTTP/{head}\r\n\r\n")).unwrap().head.is_last;
    assert!(!is_last("1.1 200 OK\r\nContent-Length: 0"));
    assert!(!is_last("1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive"));
    assert!(is_last("1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close"));
    assert!(is_last("1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, close"));
    assert!(is_last("1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nConnection: keep-alive"));
    assert!(is_last("1.0 200 OK\r\nContent-Length: 0"));
    assert!(is_last("1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive"));
    assert!(is_last("1.1 200 OK"));
    let answer = read_text("HTTP/1.1 200 OK\r\n\r\nto the end").unwrap();
    assert_eq!((&*answer.body, answer.head.length), ("to the end", AnswerLength::UntilEnd));
}

/// Answers, complete and incomplete, valid and not.
fn texts() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nServer: b\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
    ]);
    let body = prop::collection::vec(
        prop::sample::select(vec![
            "hello",
            "5\r\nhello\r\n",
            "3;x=y\r\nabc\r\n",
            "0\r\n",
            "\r\n",
            "A: b\r\n",
            "\n",
            "\r",
            "a",
            "f",
        ]),
        0..8,
    );
    (head, body).prop_map(|(head, body)| head.to_owned() + &body.concat())
}

proptest! {
    /// The places where the network splits an answer have no effect.
    #[test]
    fn an_answer_is_read_alike_however_it_is_split(
        text in texts(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        for other in [read(&Method::POST, pieces), read(&Method::POST, bytes.chunks(1))] {
            match (read_text(&text), other) {
                (Ok(whole), Ok(split)) => {
                    prop_assert_eq!(whole.head.headers, split.head.headers);
                    prop_assert_eq!(whole.head.length, split.head.length);
                    prop_assert_eq!((whole.body, whole.rest), (split.body, split.rest));
                }
                (whole, split) => prop_assert_eq!(whole.err(), split.err(), "{}", text.escape_debug()),
            }
        }
    }
}

#[test]
fn answers_are_read_in_linear_time() {
    let with = |size: usize| move |text: String| drop(read(&Method::POST, text.as_bytes().chunks(size)));
    let head = |n| format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(n));
    let fields = |n| format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("A: {}\r\n", "x".repeat(n)).repeat(90));
    let chunk = |size: &'static str| {
        move |n| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", size.repeat(n))
    };
    let extension =
        |n| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\nx", "x".repeat(n));
    let trailers =
        |n| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", "x".repeat(n));
    assert_linear("a head in small pieces", 30_000, head, with(1));
    assert_linear("fields in small pieces", 300, fields, with(1));
    assert_linear("small chunks", 20_000, chunk("1\r\nx\r\n"), with(16 << 10));
    assert_linear("small chunks in small pieces", 20_000, chunk("1\r\nx\r\n"), with(1));
    assert_linear("an extension in small pieces", 7_000, extension, with(1));
    assert_linear("trailers in small pieces", 7_000, trailers, with(1));
    assert_linear(
        "a body in small pieces",
        50_000,
        |n| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(n)),
        with(1),
    );
}
