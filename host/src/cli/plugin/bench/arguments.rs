//! The options of `witgate plugin bench`.

use crate::cli::plugin::asked::Whom;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(super) of: Whom,
    /// Target of the call as in patterns: `get_sum`, `resource:file:///a` [default: that of the case, or
    /// `echo`]
    #[arg(long, value_name = "NAME")]
    pub(super) call: Option<String>,
}
