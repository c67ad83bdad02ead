use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_missing_program_is_named() {
    assert_eq!(check(&words("sh -c true")), Ok(()));
    assert_eq!(check(&words("/bin/sh")), Ok(()));
    assert!(check(&[]).unwrap_err().contains("empty"));
    assert!(check(&words("no-such-program-x")).unwrap_err().contains("`no-such-program-x` is not installed"));
    assert_eq!(check(&words("/etc/passwd")).unwrap_err(), "`/etc/passwd` may not be executed");
    let joined = check(&["npx -y some-server".to_owned()]).unwrap_err();
    assert!(joined.ends_with(r#"as separate words, ["npx", "-y", "some-server"]"#), "{joined}");
    assert_eq!(check(&words("/nowhere/npx")).unwrap_err(), "`/nowhere/npx` does not exist");
}

#[test]
fn no_secret_is_inherited() {
    for name in [
        "MCP_API_KEY",
        "MCP_BEARER_TOKEN",
        "JWT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "NODE_OPTIONS",
        "NPM_TOKEN",
    ] {
        assert!(!INHERITED.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn log_lines_are_cut_and_cleaned() {
    let text = format!("plain\n\x1b[31mred\x07\u{202e}\u{2028}\n{}\nend", "y".repeat(10_000));
    let mut said = Vec::new();
    log_lines(text.as_bytes(), |line| said.push(line.to_owned())).await;
    assert_eq!(said, ["plain", "\\u{1b}[31mred\\u{7}\\u{202e}\\u{2028}", "(a line too long to show)", "end"]);
}
