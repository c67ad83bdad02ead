//! The credentials of child processes, whose environment cannot change: APIs that they call through Witgate, and files
//! with current tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::apis::{ApiListener, ApiRoute};
use crate::http::SetUpError;
use witgate_config::credentials::{ChildCredentials, CredentialSettings};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::token_files::TokenFiles;
use witgate_credentials::upstream_credential::{InvalidCredential, UpstreamCredential};
use witgate_runtime::metrics::api_meter::ApiMeter;

/// The credentials of the processes of one upstream.
#[derive(Debug, Default)]
pub(crate) struct ProcessCredentials {
    apis: Option<ApiListener>,
    files: Option<TokenFiles>,
}

impl ProcessCredentials {
    /// Those of the configuration. An API has to begin its answer within `timeout`. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If a secret is invalid, or there is no port or no directory.
    pub(crate) fn of(
        written: &ChildCredentials,
        all: &OutboundCredentials,
        timeout: Duration,
    ) -> Result<Self, SetUpError> {
        let mut routes = Vec::new();
        for (variable, api) in &written.apis {
            let credential = all.with(&api.credential)?;
            routes.push(Arc::new(ApiRoute::new(variable, api, credential, all.ways(), timeout)?));
        }
        let apis = (!routes.is_empty()).then(|| ApiListener::start(routes)).transpose()?;
        let of_files = in_use(&written.token_files, all)?;
        let files = (!of_files.is_empty()).then(|| TokenFiles::new(&written.folder, of_files)).transpose()?;
        Ok(Self { apis, files })
    }

    /// The variables for a new process. It waits a short time for tokens that are being issued.
    pub(crate) async fn variables(&self) -> Vec<(String, SecretString)> {
        let mut variables = self.apis.as_ref().map(ApiListener::variables).unwrap_or_default();
        if let Some(files) = &self.files {
            files.begin().await;
            let path = |(variable, path): (&str, &std::path::Path)| {
                Some((variable.to_owned(), SecretString::from(path.to_str()?)))
            };
            variables.extend(files.variables().filter_map(path));
        }
        variables
    }

    /// Uses the credentials of a changed configuration from now on.
    ///
    /// # Errors
    /// If a secret is invalid. Then the former ones stay.
    pub(crate) fn replace(
        &self,
        written: &ChildCredentials,
        all: &OutboundCredentials,
    ) -> Result<(), InvalidCredential> {
        let of_apis =
            written.apis.iter().map(|(variable, api)| (variable.clone(), Arc::clone(&api.credential)));
        let (of_apis, of_files) = (in_use(&of_apis.collect(), all)?, in_use(&written.token_files, all)?);
        if let Some(apis) = &self.apis {
            apis.replace(|route| {
                of_apis.get(route.variable()).map(|credential| route.with_credential(Arc::clone(credential)))
            });
        }
        if let Some(files) = &self.files {
            files.replace(of_files);
        }
        Ok(())
    }

    /// Checks that processes have `credential`, if it is one of theirs.
    ///
    /// # Errors
    /// As long as its token is not in its file.
    pub(crate) fn check(&self, credential: &UpstreamCredential) -> Result<(), OutboundFault> {
        self.files.as_ref().map_or(Ok(()), |files| files.check(credential))
    }

    /// Counts the requests to APIs in this meter.
    pub(crate) fn count_in(&self, meter: ApiMeter) {
        if let Some(apis) = &self.apis {
            apis.count_in(meter);
        }
    }

    /// Closes the port, and removes the files, as soon as no process needs them.
    pub(crate) fn end(&self) {
        self.apis.iter().for_each(ApiListener::end);
        self.files.iter().for_each(TokenFiles::end);
    }
}

fn in_use(
    written: &BTreeMap<String, Arc<CredentialSettings>>,
    all: &OutboundCredentials,
) -> Result<BTreeMap<String, Arc<UpstreamCredential>>, InvalidCredential> {
    written.iter().map(|(variable, settings)| Ok((variable.clone(), all.with(settings)?))).collect()
}
