//! Ids of events. An id at an endpoint says, for each upstream of its stream, after which event of that upstream the
//! stream resumes. It may be forged: each upstream still decides about the ids of its own events.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::names::NamePlan;

/// The longest id of an upstream's event that is passed on.
const LONGEST: usize = 512;

/// The last events of the upstreams of a stream, by their places.
#[derive(Debug)]
pub(crate) struct EventPositions(Mutex<Vec<(usize, Option<String>)>>);

impl EventPositions {
    /// The positions at the beginning of a stream.
    pub(crate) fn new(positions: Vec<(usize, Option<String>)>) -> Self {
        Self(Mutex::new(positions))
    }

    /// The id of the event that the upstream at `place` calls `id`. None: it has no id that fits.
    pub(crate) fn pass(&self, plan: &NamePlan, place: usize, id: Option<String>) -> Option<String> {
        let id = id.filter(|id| id.len() <= LONGEST)?;
        let mut positions = self.0.lock();
        let (_, position) = positions.iter_mut().find(|(of, _)| *of == place)?;
        *position = Some(id);
        let text = |(place, id): &(usize, Option<String>)| {
            (plan.upstream(*place).to_owned(), id.clone().map_or(Value::Null, Value::from))
        };
        let object: Map<String, Value> = positions.iter().map(text).collect();
        Some(URL_SAFE_NO_PAD.encode(Value::from(object).to_string()))
    }
}

/// The upstreams of a broken stream, each with the id of its last event. None: it is no id of an endpoint.
pub(crate) fn read(plan: &NamePlan, id: &str) -> Option<Vec<(usize, Option<String>)>> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    let object: Map<String, Value> = serde_json::from_slice(&bytes).ok()?;
    let position = |(upstream, id): (String, Value)| {
        let id = match id {
            Value::String(id) if id.len() <= LONGEST => Some(id),
            Value::Null => None,
            _ => return None,
        };
        Some((plan.place(&upstream)?, id))
    };
    object.into_iter().map(position).collect::<Option<Vec<_>>>().filter(|positions| !positions.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::plan;

    #[test]
    fn an_id_names_the_last_event_of_each_upstream() {
        let plan = plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
        let positions = EventPositions::new(vec![(0, None), (2, None)]);
        let first = positions.pass(&plan, 2, Some("7".to_owned())).unwrap();
        assert_eq!(read(&plan, &first), Some(vec![(0, None), (2, Some("7".to_owned()))]));
        assert_eq!(positions.pass(&plan, 1, Some("8".to_owned())), None, "it has no part in the stream");
        let second = positions.pass(&plan, 0, Some("7".to_owned())).unwrap();
        assert_eq!(read(&plan, &second), Some(vec![(0, Some("7".to_owned())), (2, Some("7".to_owned()))]));
        assert_eq!(positions.pass(&plan, 0, Some("x".repeat(LONGEST + 1))), None);
    }

    #[test]
    fn a_forged_id_is_none() {
        let plan = plan(&[("a", &[]), ("b", &[])]);
        for text in ["", "{}", r#"{"d":"1"}"#, r#"{"a":1}"#, "[]"] {
            assert_eq!(read(&plan, &URL_SAFE_NO_PAD.encode(text)), None, "{text}");
        }
        assert_eq!(read(&plan, "?"), None);
    }
}
