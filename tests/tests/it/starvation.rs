//! Changes during a shortage are in force once it is over: `cargo xtask soak --starve`, for less than a
//! minute and always in the same order.

use std::process::Command;

use witgate_tests::gateway::{program, workspace};

#[test]
fn a_change_during_a_lack_of_resources_takes_effect_afterwards() {
    let witgate = program("witgate");
    let mut soak = Command::new(program("xtask"));
    // The bound is five seconds on an idle machine; here other tests run as well.
    soak.args(["soak", "--starve", "--seconds", "40", "--seed", "7", "--within", "20", "--programs"]);
    let output = soak.arg(witgate.parent().unwrap()).current_dir(workspace()).output().unwrap();
    let (report, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{report}\n{log}");
    assert!(report.contains("wrong answers: 0"), "{report}");
}
