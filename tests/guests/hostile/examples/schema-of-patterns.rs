//! Has a schema of its settings with a thousand short patterns, each of which takes megabytes when it is compiled.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        let properties: Vec<String> = (0..1000)
            .map(|number| format!("\"{number}\": {{\"pattern\": \"^\\\\p{{L}}{{200}}x{number}\"}}"))
            .collect();
        description(&format!("{{\"properties\": {{{}}}}}", properties.join(", ")))
    }
}

authorizer!(Guest);
