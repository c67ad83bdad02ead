use super::*;

#[test]
fn events_are_written_unchanged() {
    let event =
        Event { id: Some("a\nb".to_owned()), retry: Some(5), data: "{\"x\":\n1}".into(), ..Event::default() };
    assert_eq!(encode(&event), "id: ab\nretry: 5\ndata: {\"x\":\ndata: 1}\n\n");
    assert_eq!(encode(&Event::default()), "data: \n\n");
}
