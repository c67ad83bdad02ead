//! Comparison with hyper's client: well-formed answers mean the same to both.

use proptest::prelude::*;

use super::*;

/// A well-formed answer, which may arrive in two parts.
#[derive(Clone, Debug)]
struct SentAnswer {
    text: String,
    cut: prop::sample::Index,
}

fn fields() -> impl Strategy<Value = String> {
    let field = ("[A-Za-z][A-Za-z0-9-]{0,8}", "[ -~]{0,12}")
        .prop_map(|(name, value)| format!("X-{name}:{value}\r\nX-{name}: more\r\n"));
    prop::collection::vec(field, 0..4).prop_map(|fields| fields.concat())
}

fn framed_body() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec("[a-z\r\n]{1,20}", 0..4);
    (pieces, 0..4_u8, fields()).prop_map(|(pieces, framing, trailers)| {
        let whole = pieces.concat();
        let chunk = |piece: &String| format!("{:x};a=b\r\n{piece}\r\n", piece.len());
        let chunks: String = pieces.iter().map(chunk).collect();
        match framing {
            0 => format!("Content-Length: {}\r\n\r\n{whole}", whole.len()),
            1 => format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailers}\r\n"),
            2 => format!("Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
            _ => format!("\r\n{whole}"),
        }
    })
}

fn answers() -> impl Strategy<Value = SentAnswer> {
    let status = prop::sample::select(vec!["200 OK", "404 Not Found", "500", "200 Gr\u{fc}n", "299 "]);
    let interim = prop::sample::select(vec!["", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"]);
    let text = (interim, status, fields(), framed_body())
        .prop_map(|(interim, status, fields, body)| format!("{interim}HTTP/1.1 {status}\r\n{fields}{body}"));
    (text, any::<prop::sample::Index>()).prop_map(|(text, cut)| SentAnswer { text, cut })
}

fn script(SentAnswer { text, cut }: &SentAnswer) -> Vec<Step> {
    let (first, second) = text.as_bytes().split_at(cut.index(text.len() + 1));
    vec![Step::Read, Step::Write(first.to_vec()), Step::Write(second.to_vec()), Step::Close]
}

/// The answer that each client reads.
async fn both(answer: &SentAnswer) -> [WholeAnswer; 2] {
    let server = Server::start(vec![script(answer)]).await;
    let ours = ask(&client(), &server).await.unwrap();
    let hypers = Ways::new(&Network::default()).client(Destination::Upstream, false);
    let response = timeout(PATIENCE, hypers.request(post(&server, "{}"))).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    [ours, WholeAnswer { status: head.status, headers: head.headers, body }]
}

#[test]
fn well_formed_answers_mean_the_same_to_hyper() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let outcome = runner.run(&answers(), |answer| {
        let [ours, hypers] = runtime.block_on(both(&answer));
        prop_assert_eq!(ours, hypers);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
