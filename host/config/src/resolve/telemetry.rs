//! `[telemetry]`, and the variables of OpenTelemetry that have the same meaning.

use std::time::Duration;

use url::Url;

use super::resolver::Resolver;
use super::server::check_url;
use crate::environment::Environment;
use crate::{Telemetry, raw};

/// The path of traces below the endpoint of a collector (OTLP, "OTLP/HTTP Request").
const TRACES: &str = "v1/traces";

/// The path of log records below it.
const LOGS: &str = "v1/logs";

const HELP: &str = "write the URL of a collector, such as `http://127.0.0.1:4318`";

impl Resolver<'_> {
    /// Resolves `[telemetry]`. The file precedes the environment.
    pub(super) fn telemetry(&mut self, written: &raw::Telemetry) -> Option<Telemetry> {
        let (others, faults) = of_environment(self.environment);
        faults.into_iter().for_each(|fault| self.warning(&["telemetry"], fault, "the variable is ignored"));
        let endpoint = written.otlp_endpoint.as_deref().and_then(|text| self.collector(text));
        let share = written.sample.filter(|share| self.is_share(*share));
        if is_off(self.environment) {
            return None;
        }
        let traces_url = match (endpoint, others.traces_url) {
            (Some(endpoint), _) => endpoint,
            (None, Some(url)) => url,
            (None, None) => {
                self.without_effect(written);
                return None;
            }
        };
        let service_name = written.service_name.clone().or(others.service_name);
        let share = share.or(others.share).unwrap_or(1.0);
        Some(Telemetry { traces_url, share, service_name, timeout: others.timeout })
    }

    fn collector(&mut self, text: &str) -> Option<Url> {
        match check_url(text) {
            Ok(url) => Some(below(&url, TRACES)),
            Err(message) => {
                self.error(&["telemetry", "otlp_endpoint"], message, HELP);
                None
            }
        }
    }

    /// The URL of the collector that takes log records. The file precedes the environment.
    pub(super) fn logs_url(&self, written: &raw::Telemetry) -> Option<Url> {
        let variable = |name| self.environment.get(name).and_then(|text| check_url(text).ok());
        let endpoint = written.otlp_endpoint.as_deref().and_then(|text| check_url(text).ok());
        let url = endpoint.map(|url| below(&url, LOGS));
        let url = url.or_else(|| variable("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"));
        let url = url.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|url| below(&url, LOGS)));
        url.filter(|_| !is_disabled(self.environment))
    }

    fn is_share(&mut self, share: f64) -> bool {
        let is_share = (0.0..=1.0).contains(&share);
        if !is_share {
            let help = "write a number from 0 to 1, such as `0.01` for one trace in a hundred";
            self.error(&["telemetry", "sample"], format!("{share} is not a share"), help);
        }
        is_share
    }

    fn without_effect(&mut self, written: &raw::Telemetry) {
        let settings =
            [("sample", written.sample.is_some()), ("service_name", written.service_name.is_some())];
        for (setting, _) in
            settings.into_iter().filter(|(_, is_set)| *is_set && written.otlp_endpoint.is_none())
        {
            let message = "this has no effect without an `otlp_endpoint`";
            self.warning(&["telemetry", setting], message, "add `otlp_endpoint`, or leave it out");
        }
    }
}

/// The settings of the environment alone.
pub(super) fn without_file(environment: &Environment) -> (Option<Telemetry>, Vec<String>) {
    let (OtelVariables { traces_url, share, service_name, timeout }, faults) = of_environment(environment);
    let traces_url = traces_url.filter(|_| !is_off(environment));
    let telemetry = traces_url.map(|traces_url| Telemetry {
        traces_url,
        share: share.unwrap_or(1.0),
        service_name,
        timeout,
    });
    (telemetry, faults)
}

/// The variables of OpenTelemetry ("Environment Variable Specification").
#[derive(Default)]
struct OtelVariables {
    traces_url: Option<Url>,
    share: Option<f64>,
    service_name: Option<String>,
    timeout: Option<Duration>,
}

fn is_off(environment: &Environment) -> bool {
    is_disabled(environment) || has(environment, "OTEL_TRACES_EXPORTER", "none")
}

/// True if the environment permits nothing to be sent.
fn is_disabled(environment: &Environment) -> bool {
    has(environment, "OTEL_SDK_DISABLED", "true")
}

fn has(environment: &Environment, name: &str, value: &str) -> bool {
    environment.get(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(value))
}

/// Reads the variables. The specification wants invalid ones to be reported and ignored.
fn of_environment(environment: &Environment) -> (OtelVariables, Vec<String>) {
    let mut faults = Vec::new();
    let mut url = |name: &str| {
        let checked = environment.get(name).map(check_url)?;
        checked.map_err(|fault| faults.push(format!("{name}: {fault}"))).ok()
    };
    let own = url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let common = url("OTEL_EXPORTER_OTLP_ENDPOINT");
    let traces_url = own.or_else(|| common.as_ref().map(|url| below(url, TRACES)));
    let share = sampler(environment).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    faults.extend(other_protocol(environment));
    let timeout = timeout(environment).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    let service_name = environment.get("OTEL_SERVICE_NAME").map(str::to_owned);
    (OtelVariables { traces_url, share, service_name, timeout }, faults)
}

/// The value of the variable for traces, or of that for all signals, with its name.
fn for_traces<'e>(environment: &'e Environment, setting: &str) -> Option<(String, &'e str)> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{setting}"), format!("OTEL_EXPORTER_OTLP_{setting}")];
    names.into_iter().find_map(|name| environment.get(&name).map(|value| (name.clone(), value.trim())))
}

/// The fault that the environment wants a protocol that Witgate does not have.
fn other_protocol(environment: &Environment) -> Option<String> {
    let (name, protocol) =
        for_traces(environment, "PROTOCOL").filter(|(_, value)| *value != "http/protobuf")?;
    Some(format!("{name}: Witgate sends traces by `http/protobuf` only, and not by `{protocol}`"))
}

/// The time limit of a request to the collector.
fn timeout(environment: &Environment) -> Result<Option<Duration>, String> {
    let Some((name, text)) = for_traces(environment, "TIMEOUT") else { return Ok(None) };
    let milliseconds = text.parse().ok().filter(|milliseconds| *milliseconds > 0);
    let milliseconds =
        milliseconds.ok_or_else(|| format!("{name}: `{text}` is no number of milliseconds"))?;
    Ok(Some(Duration::from_millis(milliseconds)))
}

fn sampler(environment: &Environment) -> Result<Option<f64>, String> {
    let Some(name) = environment.get("OTEL_TRACES_SAMPLER") else { return Ok(None) };
    match name.trim().trim_start_matches("parentbased_") {
        "always_on" => Ok(Some(1.0)),
        "always_off" => Ok(Some(0.0)),
        "traceidratio" => {
            let argument = environment.get("OTEL_TRACES_SAMPLER_ARG").unwrap_or("1");
            let share = argument.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share
                .map(Some)
                .ok_or_else(|| format!("OTEL_TRACES_SAMPLER_ARG: `{argument}` is not a number from 0 to 1"))
        }
        _ => Err(format!("OTEL_TRACES_SAMPLER: Witgate does not know the sampler `{name}`")),
    }
}

fn below(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{path}", endpoint.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Telemetry>, Vec<String>) {
        without_file(&variables.iter().copied().collect())
    }

    #[test]
    fn the_variables_of_opentelemetry_have_their_usual_meaning() {
        let url = |variables: &[(&str, &str)]| read(variables).0.map(|read| read.traces_url.to_string());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/");
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[endpoint]).unwrap(), "http://collector:4318/base/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/own");
        assert_eq!(url(&[endpoint, own]).unwrap(), "https://other/own");
        assert_eq!(url(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(url(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), None);
        for (sampler, argument, share) in [
            ("always_off", None, 0.0),
            ("parentbased_always_on", None, 1.0),
            ("parentbased_traceidratio", Some("0.25"), 0.25),
            ("traceidratio", None, 1.0),
        ] {
            let mut variables = vec![endpoint, ("OTEL_TRACES_SAMPLER", sampler)];
            variables.extend(argument.map(|argument| ("OTEL_TRACES_SAMPLER_ARG", argument)));
            assert_eq!(read(&variables).0.unwrap().share, share, "{sampler}");
        }
        let (read, faults) = read(&[
            endpoint,
            ("OTEL_TRACES_SAMPLER", "jaeger"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nix"),
        ]);
        assert_eq!(read.unwrap().share, 1.0);
        assert!(faults.len() == 2 && faults[1].contains("`jaeger`"), "{faults:?}");
    }

    #[test]
    fn another_protocol_and_a_wrong_time_limit_are_reported() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let of = |variables: &[(&str, &str)]| {
            let (telemetry, faults) = read(&[&[endpoint], variables].concat());
            (telemetry.unwrap().timeout, faults)
        };
        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        assert_eq!(of(&[(protocol, "http/protobuf")]), (None, Vec::new()));
        for other in ["grpc", "http/json"] {
            let (_, faults) = of(&[(protocol, other)]);
            assert!(
                faults.len() == 1 && faults[0].contains(protocol) && faults[0].contains(other),
                "{faults:?}"
            );
        }
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(of(&[(protocol, "grpc"), own]).1, [""; 0], "that for traces counts");
        let (all, traces) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
        assert_eq!(of(&[(all, "2500")]), (Some(Duration::from_millis(2500)), Vec::new()));
        assert_eq!(of(&[(all, "2500"), (traces, "100")]).0, Some(Duration::from_millis(100)));
        for wrong in ["0", "-1", "10s"] {
            let (timeout, faults) = of(&[(all, wrong)]);
            assert!(timeout.is_none() && faults[0].contains(all), "{wrong}: {faults:?}");
        }
    }
}
