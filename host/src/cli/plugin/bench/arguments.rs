//! The options of `witgate plugin bench`.

use crate::cli::plugin::plugin_argument::PluginArgument;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(super) of: PluginArgument,
    /// Target of the call as in patterns: `get_sum`, `resource:file:///a` [default: that of the case, or
    /// `echo`]
    #[arg(long, value_name = "NAME")]
    pub(super) call: Option<String>,
}
