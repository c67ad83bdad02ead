//! Reports for programs: JSON, JUnit's XML, the schema.

use serde_json::Value;
use witgate_tests::gateway::{Setup, component};

use super::{BAD, GOOD, err, json, out, test};

#[test]
fn the_json_report_has_the_outcome_of_each_question() {
    let setup = Setup::new();
    setup.file("cases.toml", format!("component = \"{}\"\n{GOOD}{BAD}", component("rbac").display()));
    let report = json(&setup, &["--parallel", "2"]);
    assert_eq!((&report["ok"], &report["passed"], &report["failed"]), (&false.into(), &1.into(), &1.into()));
    let names: Vec<_> =
        report["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["users get", "users put"], "in the order of the file");
    let step = &report["cases"][1]["steps"][0];
    assert_eq!(step["answer"]["denied"], "not-allowed");
    assert_eq!(step["findings"][0]["what"], "answer");
    assert!(step["memory_bytes"].as_u64().unwrap() > 0 && step["wall_us"].as_u64().unwrap() > 0, "{step}");
    assert_eq!(report["coverage"]["answers"]["allow"], 1);
    assert_eq!(report["coverage"]["reasons"][0]["reason"], "not-allowed");
}

/// Read by the parser that the system's own tools have.
#[test]
fn the_junit_report_is_xml() {
    let setup = Setup::new();
    let odd = BAD.replace("users put", "users <put> & \\\"go\\\" \\u0007");
    setup.file("cases.toml", format!("{GOOD}{odd}"));
    let output = test(&setup, &["--junit", "report.xml"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let script = "import sys, xml.etree.ElementTree as e\n\
                  s = e.parse(sys.argv[1]).getroot().find('testsuite')\n\
                  c = s.findall('testcase')\n\
                  print(s.get('tests'), s.get('failures'), [x.get('name') for x in c], c[1].find('failure').get('message'))";
    let read = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(setup.dir().join("report.xml"))
        .output();
    let read = read.unwrap();
    let text = String::from_utf8_lossy(&read.stdout);
    assert!(text.starts_with("2 1 ['users get', 'users <put> & \"go\""), "{text}{}", err(&read));
    assert!(text.contains("denied = \"not-allowed\"") && text.contains("instead of \"allow\""), "{text}");
}

/// The schema is that of JSON Schema, and takes what the host takes.
#[test]
fn the_schema_accepts_the_tables() {
    let setup = Setup::new();
    let output = test(&setup, &["--schema"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let schema: Value = serde_json::from_str(&out(&output)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for kind in witgate_tests::cases::KINDS {
        let path = witgate_tests::cases::directory().join(kind.name()).with_extension("toml");
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let table = serde_json::to_value(table).unwrap();
        let faults: Vec<_> =
            validator.iter_errors(&table).map(|fault| fault.instance_path().to_string()).collect();
        assert!(faults.is_empty(), "{kind:?}: {faults:?}");
    }
    let wrong = serde_json::json!({ "case": [{ "name": "a", "principal": {}, "expects": "allow" }] });
    assert!(!validator.is_valid(&wrong));
}

/// The page for people has each key that the schema has.
#[test]
fn the_page_on_cases_has_every_key() {
    fn keys<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
        match schema {
            Value::Object(members) => {
                let own = schema["properties"].as_object().into_iter().flatten();
                found.extend(own.map(|(name, _)| name.as_str()));
                members.values().for_each(|member| keys(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let workspace = witgate_tests::gateway::workspace();
    let page = std::fs::read_to_string(workspace.join("docs/cases.md")).unwrap();
    let mut schema = witgate_cases::schema().clone();
    // Those are a policy's, and stand on the page of the configuration.
    schema["$defs"].as_object_mut().unwrap().remove("Limits");
    let mut found = Vec::new();
    keys(&schema, &mut found);
    let words: Vec<_> = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let missing: Vec<_> = found.into_iter().filter(|key| !words.contains(key)).collect();
    assert!(missing.is_empty(), "docs/cases.md does not have {missing:?}");
}
