//! The names of the service, which are no passwords.

use url::Url;

use crate::raw;

/// The shortest part of a host name that counts. Shorter ones, such as `www`, occur in words.
const SHORTEST_PART: usize = 4;

/// The host of the public URL with its parts, and the names of the server and its upstreams.
pub(super) fn service_names(file: &raw::File) -> Vec<String> {
    let public =
        [&file.server.resource, &file.accounts.as_ref().and_then(|accounts| accounts.issuer.clone())];
    let hosts =
        public.into_iter().flatten().filter_map(|url| Url::parse(url).ok()?.host_str().map(str::to_owned));
    let mut names: Vec<_> = hosts.flat_map(|host| host_names(&host)).collect();
    names.extend(file.server.resource_name.clone());
    for (name, upstream) in &file.upstreams {
        names.push(name.clone());
        names.extend(upstream.resource_name.clone());
    }
    names.sort();
    names.dedup();
    names
}

/// A host, and the parts of its name except for the last one.
fn host_names(host: &str) -> Vec<String> {
    let parts: Vec<_> = host.split('.').collect();
    let parts = parts.split_last().map_or(&[][..], |(_, parts)| parts);
    let long =
        parts.iter().filter(|part| part.chars().count() >= SHORTEST_PART).map(|part| (*part).to_owned());
    long.chain([host.to_owned()]).collect()
}
