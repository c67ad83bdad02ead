use super::*;

#[test]
fn lines_that_are_no_messages_are_distinguished() {
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
fn parts_of_a_message_are_replaced_and_the_rest_stays() {
    let line = br#"{ "id" : 7 , "result":{"a":"\u0041" ,"id":7}}"#;
    let message = Incoming::read(line).unwrap();
    let id = message.id().unwrap();
    assert_eq!(message.with(&[(id, "\"x\"")]), br#"{ "id" : "x" , "result":{"a":"\u0041" ,"id":7}}"#[..]);
}
