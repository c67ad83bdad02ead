use super::events::{Decoder, EventTooLarge, NamedEvent};
use super::request_settings::own_headers;
use super::upstream::MAX_MESSAGE;
use secrecy::SecretString;

fn decode(chunks: &[&str]) -> Vec<(Option<String>, Option<u64>, String)> {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk.as_bytes()).unwrap();
        while let Some(event) = decoder.next().and_then(NamedEvent::message) {
            events.push((event.id, event.retry, String::from_utf8(event.data.to_vec()).unwrap()));
        }
    }
    events
}

fn data(text: &str) -> (Option<String>, Option<u64>, String) {
    (None, None, text.to_owned())
}

#[test]
fn events_are_read_however_they_are_split() {
    let text = "id: 1\r\nretry: 500\r\ndata:\r\n\r\n: comment\n\ndata: {\"a\":\ndata: 1}\nevent: message\n\ndata:x\r\rdata: y\n\n";
    let expected =
        vec![(Some("1".to_owned()), Some(500), String::new()), data("{\"a\":\n1}"), data("x"), data("y")];
    assert_eq!(decode(&[text]), expected);
    let single: Vec<String> = text.chars().map(String::from).collect();
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    assert_eq!(decode(&single), expected);
}

#[test]
fn an_unfinished_event_is_not_delivered() {
    assert_eq!(decode(&["data: x", "\n"]), []);
    assert_eq!(decode(&["data: x", "\n", "\n"]), [data("x")]);
}

#[test]
fn an_endless_event_is_an_error() {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let chunk = vec![b'x'; 1 << 20];
    let pushed = (0..17).try_for_each(|_| {
        decoder.push(&chunk)?;
        decoder.next();
        Ok(())
    });
    assert_eq!(pushed, Err(EventTooLarge));
}

#[test]
fn events_are_read_in_linear_time() {
    use witgate_testing::growth::assert_linear;
    let read = |chunk: usize| {
        move |text: String| {
            let mut decoder = Decoder::new(MAX_MESSAGE);
            for chunk in text.as_bytes().chunks(chunk) {
                decoder.push(chunk).unwrap();
                while decoder.next().is_some() {}
            }
        }
    };
    let events = |n| "id: 1\ndata: {}\n\n".repeat(n);
    let lines = |n| format!("{}\n", "data: {\n".repeat(n));
    let line = |n| format!("data: {}\n\n", "x".repeat(n));
    assert_linear("events", 5_000, events, read(usize::MAX));
    assert_linear("events in small pieces", 2_000, events, read(1));
    assert_linear("lines of one event", 10_000, lines, read(16 << 10));
    assert_linear("a line in small pieces", 40_000, line, read(1));
    assert_linear("a line", 1_000_000, line, read(16 << 10));
    assert_linear("empty lines", 40_000, |n| "\r\n".repeat(n), read(16 << 10));
}

#[test]
fn configured_headers_are_checked_and_their_values_never_shown() {
    let header = |name: &str, value: &str| vec![(name.to_owned(), SecretString::from(value))];
    for (name, value) in [("a b", "x"), ("X-Key", "hidden\n"), ("Host", "x")] {
        let error = own_headers(&header(name, value)).unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{error}");
    }
    let own = own_headers(&header("Authorization", "hidden")).unwrap();
    assert!(!format!("{own:?}").contains("hidden"));
}
