//! `[lockout]`.

use std::time::Duration;

use super::resolver::Resolver;
use crate::limits::Lockout;
use crate::raw;

impl Resolver<'_> {
    pub(super) fn lockout(&mut self, file: &raw::File) -> Option<Lockout> {
        let written = file.lockout.as_ref()?;
        if matches!(file.server.transport, Some(raw::Transport::Stdio)) {
            let help = "leave it out: the client has started Witgate itself";
            self.warning(&["lockout"], "over stdio there is nobody to lock out", help);
        }
        let default = Lockout::default();
        let pause = written.pause_s.unwrap_or(default.pause.as_secs());
        let max_pause = written.max_pause_s.unwrap_or(default.max_pause.as_secs().max(pause));
        if max_pause < pause {
            let message = "`max_pause_s` is less than the first pause, `pause_s`";
            self.error(&["lockout", "max_pause_s"], message, format!("write {pause} or more"));
        }
        let forget = written.forget_s.unwrap_or(default.forget.as_secs().max(max_pause));
        if forget < max_pause {
            let message =
                "failures would be forgotten during a pause: `forget_s` is less than the longest pause";
            self.error(&["lockout", "forget_s"], message, format!("write {max_pause} or more"));
        }
        Some(Lockout {
            failures: written.failures.unwrap_or(default.failures),
            pause: Duration::from_secs(pause),
            max_pause: Duration::from_secs(max_pause),
            forget: Duration::from_secs(forget),
        })
    }
}
