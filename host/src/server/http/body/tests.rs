use super::*;

fn between(chunks: &[&str]) -> bool {
    let mut boundary = Boundary::default();
    chunks.iter().for_each(|chunk| boundary.pass(chunk.as_bytes()));
    boundary.is_between_events()
}

#[test]
fn a_comment_never_cuts_an_event() {
    assert!(between(&[]));
    assert!(between(&["data: x\n\n"]));
    assert!(between(&["data: x\r\n\r\n"]));
    assert!(between(&["data: x\n", "\n"]));
    assert!(!between(&["data: x\n"]));
    assert!(!between(&["data: x\r\n"]));
    assert!(!between(&["data: x\n\nda"]));
    assert!(!between(&["\n\n", "d", "\n"]));
}

#[test]
fn events_are_written_as_they_were_read() {
    let event = Event { id: Some("a\nb".to_owned()), retry: Some(5), data: "{\"x\":\n1}".into() };
    assert_eq!(encode(&event), "id: ab\nretry: 5\ndata: {\"x\":\ndata: 1}\n\n");
    assert_eq!(encode(&Event::default()), "data: \n\n");
}
