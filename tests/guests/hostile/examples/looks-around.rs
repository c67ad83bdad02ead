//! Looks for an environment, arguments, a directory and files, and says what it finds.

use witgate_guest_hostile::wasi::cli::environment::{get_arguments, get_environment, initial_cwd};
use witgate_guest_hostile::wasi::filesystem::preopens::get_directories;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let found = [
            (!get_environment().is_empty(), "found-an-environment"),
            (!get_arguments().is_empty(), "found-arguments"),
            (initial_cwd().is_some(), "found-a-directory"),
            (!get_directories().is_empty(), "found-files"),
        ];
        match found.iter().find(|(is_there, _)| *is_there) {
            Some((_, reason)) => Decision::deny(reason, "it is there"),
            None => Decision::Allow,
        }
    }
}

authorizer!(Guest);
