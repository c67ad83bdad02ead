use super::*;

#[tokio::test]
async fn a_line_above_the_limit_is_skipped_alone() {
    let text = format!("{{}}\n\r\n{}\n  \nlast", "x".repeat(200_000));
    let mut lines = LineReader::new(text.as_bytes(), 1000);
    assert_eq!(lines.next().await.unwrap(), LineOutcome::Line(Bytes::from_static(b"{}")));
    assert!(matches!(lines.next().await.unwrap(), LineOutcome::TooLong(_)));
    assert_eq!(lines.next().await.unwrap(), LineOutcome::Line(Bytes::from_static(b"last")));
    assert_eq!(lines.next().await.unwrap(), LineOutcome::End);
}

#[tokio::test]
async fn a_line_one_byte_above_the_limit_is_too_long() {
    let mut lines = LineReader::new(&b"12345\n1234\n"[..], 4);
    assert!(matches!(lines.next().await.unwrap(), LineOutcome::TooLong(_)));
    assert_eq!(lines.next().await.unwrap(), LineOutcome::Line(Bytes::from_static(b"1234")));
    assert_eq!(lines.next().await.unwrap(), LineOutcome::End);
}

#[test]
fn pretty_printed_messages_become_one_line() {
    assert_eq!(one_line(Bytes::from_static(b"{\r\n \"a\": 1\n}")), b"{   \"a\": 1 }"[..]);
}

#[tokio::test]
async fn an_id_is_found_at_either_end_of_a_skipped_line() {
    let long = "x".repeat(100_000);
    let cases = [
        (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"x":"{long}"}}}}"#), Some("7")),
        (format!(r#"{{"jsonrpc":"2.0","id":"7","result":{{"x":"{long}"}}}}"#), Some("\"7\"")),
        (format!(r#"{{"result":{{"x":"{long}"}},"jsonrpc":"2.0","id":7}}"#), Some("7")),
        (format!(r#"{{"result":{{"x":"{long}"}}, "id" : 7, "jsonrpc":"2.0"}}"#), Some("7")),
        (format!(r#"{{"result":{{"x":"{long}","id":7}}}}"#), None),
        (format!(r#"{{"params":{{"id":7,"x":"{long}"}}}}"#), None),
        (format!(r#"{{"result":{{"id":7}},"x":"{long}"}}"#), None),
        (long, None),
    ];
    for (text, id) in cases {
        for end in ["\n", ""] {
            let text = format!("{text}{end}");
            let mut lines = LineReader::new(text.as_bytes(), 1000);
            let LineOutcome::TooLong(ends) = lines.next().await.unwrap() else { panic!() };
            assert_eq!(ends.id().as_deref(), id, "{}", &text[..40]);
        }
    }
}
