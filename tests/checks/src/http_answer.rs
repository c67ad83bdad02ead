//! The answers of HTTP upstreams.
//!
//! An input is what a server sends on a connection. The places where the network splits it have no effect, and an
//! answer that is read ends where a plain reading of RFC 9112 says, so that its end is no other answer's beginning.

use bytes::BytesMut;
use http::Method;
use witgate_services::network::upstream_client::answer_body::BodyDecoder;
use witgate_services::network::upstream_client::answer_head::{AnswerHead, AnswerLength, HeadReader};
use witgate_services::network::upstream_client::fault::HttpAnswerFault;

/// An answer with its body, and the bytes that follow it.
#[derive(Debug)]
struct ReadAnswer {
    head: AnswerHead,
    body: Vec<u8>,
    rest: Vec<u8>,
}

/// Reads an input as a whole and in pieces, as the answer to different requests.
///
/// # Panics
/// Where the pieces make a difference, or an answer ends elsewhere than it should.
pub fn check(data: &[u8]) {
    let whole = read(&Method::POST, [data]);
    is_alike(&whole, &read(&Method::POST, data.chunks(1)));
    let (first, second) = data.split_at(data.len() / 2);
    is_alike(&whole, &read(&Method::POST, [first, second]));
    is_alike(&whole, &read(&Method::POST, data.chunks(7)));
    if let Ok(answer) = whole {
        ends_where_it_should(data, &answer);
        is_read_again(&answer);
    }
    if let Ok(answer) = read(&Method::HEAD, [data]) {
        assert!(answer.body.is_empty(), "an answer to HEAD has no body");
    }
}

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
            assert!(!data.is_empty(), "a part of a body has bytes");
            body.extend_from_slice(&data);
        }
    }
    let (mut decoder, head) = answer.ok_or(HttpAnswerFault::Incomplete)?;
    decoder.finish()?;
    Ok(ReadAnswer { head, body, rest: received.to_vec() })
}

fn is_alike(whole: &Result<ReadAnswer, HttpAnswerFault>, split: &Result<ReadAnswer, HttpAnswerFault>) {
    match (whole, split) {
        (Ok(whole), Ok(split)) => {
            assert_eq!(whole.head.status, split.head.status);
            assert_eq!(whole.head.headers, split.head.headers);
            assert_eq!((&whole.body, &whole.rest), (&split.body, &split.rest));
        }
        (whole, split) => assert!(whole.is_err() && split.is_err(), "{whole:?} {split:?}"),
    }
}

/// Finds the end of the answer by other means.
fn ends_where_it_should(data: &[u8], answer: &ReadAnswer) {
    let mut after = data;
    loop {
        let end = after.windows(4).position(|end| end == b"\r\n\r\n").expect("a head has an end") + 4;
        let (head, rest) = after.split_at(end);
        assert!(!head.contains(&0), "a head contains no NUL");
        let lines = head.split(|byte| *byte == b'\n').rev().skip(1);
        assert!(lines.clone().all(|line| line.ends_with(b"\r")), "each line ends with CR LF");
        assert!(lines.clone().all(|line| !line.starts_with(b" ")), "no line continues another");
        after = rest;
        if head.get(9) != Some(&b'1') {
            break;
        }
    }
    let (body, rest) = match answer.head.length {
        AnswerLength::UntilEnd => (after.to_vec(), &after[after.len()..]),
        AnswerLength::Chunked => without_chunks(after),
        AnswerLength::Fixed(length) => {
            let (body, rest) = after.split_at(length.try_into().expect("it was received"));
            (body.to_vec(), rest)
        }
    };
    assert_eq!((&*answer.body, &*answer.rest), (&*body, rest));
}

/// The body in chunks, and the bytes after it.
fn without_chunks(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let (line, rest) = first_line(bytes);
        let size = line.split(|byte| b"; \t".contains(byte)).next().expect("there is a size");
        let size = std::str::from_utf8(size).expect("a size is ASCII");
        assert!(size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{size}");
        let (chunk, rest) = rest.split_at(usize::from_str_radix(size, 16).expect("a size is a number"));
        bytes = rest;
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").expect("a chunk ends with CR LF");
    }
    loop {
        let (trailer, rest) = first_line(bytes);
        bytes = rest;
        if trailer.is_empty() {
            return (body, bytes);
        }
        assert!(trailer.contains(&b':'), "a trailer is a field");
    }
}

fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(2).position(|end| end == b"\r\n").expect("a line has an end");
    (&bytes[..end], &bytes[end + 2..])
}

/// The same answer, written in a plain way, is the same.
fn is_read_again(answer: &ReadAnswer) {
    let mut text = format!("HTTP/1.1 {}\r\n", answer.head.status.as_u16()).into_bytes();
    for (name, value) in &answer.head.headers {
        if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
            text.extend([name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"].concat());
        }
    }
    let length = format!("content-length: {}\r\n\r\n", answer.body.len());
    text.extend([length.as_bytes(), &answer.body, b"rest"].concat());
    let Ok(again) = read(&Method::POST, [&*text]) else {
        // The written length may be one field or some bytes too many.
        let fields = answer.head.headers.len();
        assert!(fields >= 99 || text.len() - answer.body.len() > (64 << 10) - 100, "{fields} fields");
        return;
    };
    assert_eq!((again.body, &*again.rest), (answer.body.clone(), &b"rest"[..]));
    assert_eq!(again.head.status, answer.head.status);
}
