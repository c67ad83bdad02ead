//! Has a small schema of its settings, each part of which asks for the next one twice: whoever goes through it
//! does so for ever.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

/// 2 to the power of this.
const PARTS: u32 = 60;

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        let parts: Vec<String> = (0..PARTS)
            .map(|part| {
                let next = format!("{{\"$ref\": \"#/$defs/{}\"}}", part + 1);
                format!("\"{part}\": {{\"allOf\": [{next}, {next}]}}")
            })
            .collect();
        description(&format!(
            "{{\"$defs\": {{{}, \"{PARTS}\": {{}}}}, \"$ref\": \"#/$defs/0\"}}",
            parts.join(", ")
        ))
    }
}

authorizer!(Guest);
