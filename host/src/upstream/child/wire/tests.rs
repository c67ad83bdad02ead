use super::*;

#[tokio::test]
async fn lines_are_bounded_and_a_long_one_costs_only_itself() {
    let text = format!("{{}}\n\r\n{}\n  \nlast", "x".repeat(200_000));
    let mut lines = Lines::new(text.as_bytes(), 1000);
    assert_eq!(lines.next().await.unwrap(), Read::Line(Bytes::from_static(b"{}")));
    assert_eq!(lines.next().await.unwrap(), Read::TooLong);
    assert_eq!(lines.next().await.unwrap(), Read::Line(Bytes::from_static(b"last")));
    assert_eq!(lines.next().await.unwrap(), Read::End);
}

#[tokio::test]
async fn a_line_one_longer_than_the_bound_is_too_long() {
    let mut lines = Lines::new(&b"12345\n1234\n"[..], 4);
    assert_eq!(lines.next().await.unwrap(), Read::TooLong);
    assert_eq!(lines.next().await.unwrap(), Read::Line(Bytes::from_static(b"1234")));
    assert_eq!(lines.next().await.unwrap(), Read::End);
}

#[test]
fn what_is_no_message_is_told_apart() {
    for line in [
        "",
        "hello",
        "[]",
        "{}",
        "1",
        r#"{"id":1}"#,
        r#"{"id":1,"id":2,"result":{}}"#,
        r#"{"id":1,"result":{},"error":{}}"#,
    ] {
        assert!(Incoming::read(line.as_bytes()).is_none(), "{line}");
    }
}

#[test]
fn parts_are_replaced_and_the_rest_stays() {
    let line = br#"{ "id" : 7 , "result":{"a":"\u0041" ,"id":7}}"#;
    let message = Incoming::read(line).unwrap();
    let id = message.id().unwrap();
    assert_eq!(message.with(&[(id, "\"x\"")]), br#"{ "id" : "x" , "result":{"a":"\u0041" ,"id":7}}"#[..]);
}

#[test]
fn pretty_printed_messages_become_one_line() {
    assert_eq!(one_line(Bytes::from_static(b"{\r\n \"a\": 1\n}")), b"{   \"a\": 1 }"[..]);
}
