use proptest::prelude::*;
use witgate_config::{Denials, ResourceDescription};

use super::*;

pub(crate) fn plan(upstreams: &[(&str, &[&str])]) -> NamePlan {
    let upstream = |(name, owns): &(&str, &[&str])| EndpointUpstream {
        name: (*name).to_owned(),
        owns: owns.iter().map(|text| text.parse().unwrap()).collect(),
        written: Vec::new(),
        offers_resources: owns.iter().any(|own| *own == "*" || own.starts_with("resource:")),
    };
    let (name, path, resource) = ("all".to_owned(), "/all/mcp".to_owned(), "https://a/all/mcp".to_owned());
    let (about, denials) = (ResourceDescription::default(), Denials::default());
    let upstreams = upstreams.iter().map(upstream).collect();
    NamePlan::new(&CombinedEndpoint { name, path, resource, about, upstreams, denials })
}

#[test]
fn a_name_has_a_prefix_unless_its_upstream_owns_it() {
    let plan = plan(&[("a", &["read_*", "resource:file:///*"]), ("b", &["*"])]);
    let shown = |place, name| plan.shown(place, TargetKind::Tool, name).unwrap().into_owned();
    assert_eq!(shown(0, "read_file"), "read_file");
    assert_eq!(shown(0, "write"), "a__write");
    assert_eq!(shown(1, "read_file"), "b__read_file", "the first upstream that owns it keeps the name");
    assert_eq!(shown(1, "write"), "write");
    assert_eq!(shown(1, "a__write"), "b__a__write", "no upstream takes the name of another one");
    let target = |name| plan.target(TargetKind::Tool, name);
    assert_eq!(target("read_file"), Some((0, "read_file")));
    assert_eq!(target("a__read_file"), None, "lists do not have this form");
    assert_eq!(target("b__read_file"), Some((1, "read_file")));
    assert_eq!(target("a__write"), Some((0, "write")));
    assert_eq!(target("b__"), None);
    let resource = |uri| plan.target(TargetKind::Resource, uri);
    assert_eq!(resource("file:///a"), Some((0, "file:///a")));
    assert_eq!(resource("a__x:y"), Some((1, "a__x:y")));
    assert_eq!(plan.shown(1, TargetKind::Resource, "file:///a"), None);
}

#[test]
fn nothing_is_owned_by_default() {
    let plan = plan(&[("a", &[]), ("b", &[])]);
    assert_eq!(plan.target(TargetKind::Tool, "x"), None);
    assert_eq!(plan.target(TargetKind::Tool, "c__x"), None);
    assert_eq!(plan.target(TargetKind::Tool, "a___x"), Some((0, "_x")));
    assert_eq!(plan.target(TargetKind::Resource, "file:///a"), None);
    assert!(!plan.offers_resources(0));
}

#[test]
fn ids_find_their_way_back_and_forged_ones_do_not() {
    let plan = plan(&[("a", &[]), ("b", &[])]);
    for id in ["7", "-1", r#""7""#, r#""a__7""#] {
        assert_eq!(plan.own_id(&plan.shown_id(1, id)), Some((1, id.to_owned())));
    }
    assert_ne!(plan.shown_id(0, "7"), plan.shown_id(0, r#""7""#));
    for forged in ["7", r#""c__7""#, r#""a__7,\"x\":1""#, r#""a__1.5""#, r#""a__[1]""#, r#""a__""#, r#""7""#]
    {
        assert_eq!(plan.own_id(forged), None, "{forged}");
    }
}

proptest! {
    /// Lists and calls agree: what a list shows is the call of the same tool, and of no other one.
    #[test]
    fn every_shown_name_leads_to_its_own_target(
        owned in proptest::collection::vec("[a-c_*]{1,4}", 0..3),
        place in 0_usize..2,
        name in "(a|b|c|_|__|x){1,4}",
    ) {
        let owned: Vec<_> = owned.iter().map(String::as_str).collect();
        let plan = plan(&[("a", &owned), ("b", &owned)]);
        for kind in [TargetKind::Tool, TargetKind::Prompt] {
            let shown = plan.shown(place, kind, &name).unwrap();
            prop_assert_eq!(plan.target(kind, &shown), Some((place, &*name)));
        }
    }

    #[test]
    fn every_target_is_in_its_list(shown in "(a|b|c|_|__|x|:){1,6}") {
        let plan = plan(&[("a", &["a*", "x", "resource:a:*"]), ("b", &["*"])]);
        for kind in [TargetKind::Tool, TargetKind::Resource] {
            if let Some((place, name)) = plan.target(kind, &shown) {
                let again = plan.shown(place, kind, name).map(Cow::into_owned);
                prop_assert_eq!(again, Some(shown.clone()));
            }
        }
    }
}
