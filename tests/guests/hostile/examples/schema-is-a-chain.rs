//! Has a schema of its settings that leads through thousands of parts, one after the other.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        let parts: Vec<String> = (0..4000)
            .map(|part| format!("\"{part}\": {{\"items\": {{\"$ref\": \"#/$defs/{}\"}}}}", part + 1))
            .collect();
        description(&format!(
            "{{\"$defs\": {{{}, \"4000\": {{}}}}, \"$ref\": \"#/$defs/0\"}}",
            parts.join(", ")
        ))
    }
}

authorizer!(Guest);
