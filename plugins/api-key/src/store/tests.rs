use witgate_stores::{in_parts, whole};

use super::*;

/// An entry whose lines after the first are `lines`.
fn entry(name: &str, lines: &str) -> String {
    let digest: String = name.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "\n[[keys]]\nname = \"{name}\"\nid = \"{name}\"\nsha256 = \"{digest}\"\ncreated = 2026-01-01T00:00:00Z\n{lines}"
    )
}

fn store(entries: &[String]) -> String {
    format!("# Keys.\nversion = 1\n{}", entries.concat())
}

#[test]
fn reading_in_parts_equals_reading_as_a_whole() {
    let plain = entry("a", "");
    let previous =
        format!("[keys.previous]\nsha256 = \"{}\"\nuntil = 2026-01-08T00:00:00Z\n", "0".repeat(64));
    let cases = [
        ("two", store(&[plain.clone(), entry("b", "roles = [\"x\"]\n")]), true),
        ("a table of its own", store(&[entry("b", &previous), plain.clone()]), true),
        ("no end of line", store(&[plain.clone(), entry("b", "")]).trim_end().to_owned(), true),
        ("a comment", store(&[entry("b", "# [[keys]]\n"), plain.clone()]), true),
        ("blanks", store(std::slice::from_ref(&plain)).replace("[[keys]]", "[[ keys ]]"), false),
        ("both spellings", store(&[plain.clone(), entry("b", "").replace("[[keys]]", "[[\"keys\"]]")]), true),
        ("ends of lines with CR", store(std::slice::from_ref(&plain)).replace('\n', "\r\n"), false),
        ("in a text", store(&[entry("b", "roles = [\"\"\"x\n[[keys]]\n\"\"\"]\n"), plain.clone()]), false),
        ("in a literal", store(&[entry("b", "roles = ['''\n[[keys]]\n''']\n"), plain.clone()]), false),
        ("in a list", store(&[entry("b", "roles = [\n[[keys]]\n]\n")]), false),
        (
            "a list before",
            store(std::slice::from_ref(&plain)).replace("version = 1", "version = 1\nkeys = []"),
            false,
        ),
        ("another table", store(&[plain.clone(), "\n[x]\ny = 1\n".to_owned()]), false),
        ("a version twice", store(&[plain.clone(), "\nversion = 1\n".to_owned()]), false),
        ("no version", store(std::slice::from_ref(&plain)).replace("version = 1", ""), false),
        ("a field twice", store(&[entry("b", "roles = []\nroles = []\n")]), false),
        ("none", store(&[]), false),
    ];
    for (what, text, is_in_parts) in cases {
        let in_parts = in_parts::<Store>(&text);
        assert_eq!(in_parts.is_some(), is_in_parts, "{what}");
        if let Some(in_parts) = in_parts {
            assert_eq!(Ok(in_parts), whole(&text), "{what}");
        }
    }
}

#[test]
fn scopes_are_of_an_oauth_scope_s_form() {
    let parsed = |scopes: &str| Store::parse(&store(&[entry("a", &format!("scopes = [{scopes}]\n"))]));
    let known = parsed(r#""mcp:read", "mcp:tool:*""#).unwrap();
    assert_eq!(known.keys[0].scopes, ["mcp:read", "mcp:tool:*"]);
    assert_eq!(Store::parse(&known.to_toml().unwrap()).unwrap(), known);
    for bad in [r#""""#, r#""a b""#, r#""a\"b""#, r#""é""#] {
        let error = parsed(bad).unwrap_err();
        assert_eq!(
            error,
            StoreError::Key { place: 1, fault: KeyFault::Rights(RightsFault::Scope(0)) },
            "{bad}"
        );
    }
}
