//! Has a schema of its settings that the host would have to get from elsewhere.

use witgate_guest_hostile::{Description, Hostile, authorizer, description};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        description("{\"allOf\": [{\"$ref\": \"file:///etc/passwd\"}, {\"$ref\": \"http://127.0.0.1:1/\"}]}")
    }
}

authorizer!(Guest);
