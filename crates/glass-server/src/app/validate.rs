//! What a new sandbox and a new task may look like. All wrong fields are named at once.

use std::collections::BTreeMap;
use std::str::FromStr;

use glass_api::{CreateParams, EgressParams, FieldError, LimitsParams, PROMPT_LIMIT, Problem};
use glass_types::{EgressPolicy, EgressRule, Isolation, Limits, RootMode, Visibility};

const LABELS: usize = 64;
const ENV_BYTES: usize = 128 << 10;
const EGRESS_RULES: usize = 256;

/// Collects wrong fields.
#[derive(Default)]
struct Fields(Vec<FieldError>);

impl Fields {
    fn wrong(
        &mut self,
        field: impl Into<String>,
        value: impl ToString,
        message: impl Into<String>,
    ) {
        let value = value.to_string().chars().take(128).collect();
        self.0.push(FieldError {
            field: field.into(),
            value,
            message: message.into(),
        });
    }

    fn at_least<T: Copy + PartialOrd + ToString>(
        &mut self,
        field: &str,
        given: Option<T>,
        least: T,
        most: T,
        default: T,
    ) -> T {
        let value = given.unwrap_or(default);
        if value < least || value > most {
            self.wrong(
                field,
                value.to_string(),
                format!("give {} to {}", least.to_string(), most.to_string()),
            );
        }
        value
    }

    /// One of a few words; the usual one when none is given.
    fn word<T: FromStr<Err = String> + Default>(&mut self, field: &str, given: Option<&str>) -> T {
        match given.map(str::parse) {
            None => T::default(),
            Some(Ok(word)) => word,
            Some(Err(message)) => {
                self.wrong(field, given.unwrap_or_default(), message);
                T::default()
            }
        }
    }

    fn env(&mut self, given: &BTreeMap<String, String>) {
        for (name, value) in given {
            if !is_variable(name) {
                self.wrong(
                    "env",
                    name,
                    "a name is letters, digits and _, and does not begin with a digit",
                );
            } else if value.contains('\0') {
                self.wrong(format!("env.{name}"), value, "a value has no NUL byte");
            }
        }
        let env_bytes: usize = given
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if env_bytes > ENV_BYTES {
            self.wrong(
                "env",
                format!("{env_bytes} bytes"),
                format!("at most {ENV_BYTES} bytes altogether"),
            );
        }
    }

    fn labels(&mut self, given: &BTreeMap<String, String>) {
        if given.len() > LABELS {
            self.wrong("labels", given.len(), format!("at most {LABELS} labels"));
        }
        for (name, value) in given {
            if name.is_empty()
                || name.len() > 63
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
            {
                self.wrong("labels", name, "a name is 1 to 63 letters, digits and -_./");
            }
            if value.len() > 255 {
                self.wrong(
                    format!("labels.{name}"),
                    value,
                    "a value has at most 255 bytes",
                );
            }
        }
    }

    fn limits(&mut self, wanted: &LimitsParams, default: Limits) -> Limits {
        Limits {
            memory_bytes: self.at_least(
                "limits.memory_bytes",
                wanted.memory_bytes,
                64 << 20,
                1 << 40,
                default.memory_bytes,
            ),
            cpu_millis: self.at_least(
                "limits.cpu_millis",
                wanted.cpu_millis,
                50,
                1_000_000,
                default.cpu_millis,
            ),
            pids: self.at_least("limits.pids", wanted.pids, 16, 1 << 20, default.pids),
            disk_bytes: self.at_least(
                "limits.disk_bytes",
                wanted.disk_bytes,
                64 << 20,
                1 << 44,
                default.disk_bytes,
            ),
            cpu_weight: self.at_least(
                "limits.cpu_weight",
                wanted.cpu_weight,
                1,
                10_000,
                default.cpu_weight,
            ),
            open_files: self.at_least(
                "limits.open_files",
                wanted.open_files,
                256,
                1 << 20,
                default.open_files,
            ),
            network_bytes_per_second: self.at_least(
                "limits.network_bytes_per_second",
                wanted.network_bytes_per_second,
                1 << 10,
                1 << 40,
                default.network_bytes_per_second,
            ),
        }
    }

    /// As a row has it; nothing for the server's policy.
    fn egress(&mut self, prefix: &str, given: &EgressParams) -> Option<String> {
        if given.rules.len() > EGRESS_RULES {
            let message = format!("at most {EGRESS_RULES} rules");
            self.wrong(format!("{prefix}rules"), given.rules.len(), message);
            return None;
        }
        let rules: Vec<EgressRule> = given
            .rules
            .iter()
            .filter_map(|text| match text.parse::<EgressRule>() {
                Ok(rule) => Some(rule),
                Err(error) => {
                    self.wrong(format!("{prefix}rules"), text, error.to_string());
                    None
                }
            })
            .collect();
        let policy = match given.mode.as_str() {
            "open" => EgressPolicy::Open,
            "none" => EgressPolicy::None,
            "allowlist" => EgressPolicy::Allowlist { rules },
            "default" if rules.is_empty() => return None,
            "default" => EgressPolicy::Open,
            other => {
                let message = "give open, allowlist, none or default";
                self.wrong(format!("{prefix}mode"), other, message);
                return None;
            }
        };
        if given.mode != "allowlist" && !given.rules.is_empty() {
            let message = "only the mode allowlist has rules";
            self.wrong(format!("{prefix}rules"), given.rules.len(), message);
        }
        Some(serde_json::to_string(&policy).expect("a policy is words and lists of them"))
    }

    fn finish(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let mut problem = Problem::field(&first.field, &first.value, first.message.clone());
        problem.errors = self.0;
        Err(problem)
    }
}

/// What a new sandbox gets.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) limits: Limits,
    pub(super) root: RootMode,
    pub(super) isolation: Isolation,
    pub(super) visibility: Visibility,
    /// As its row has it.
    pub(super) egress: Option<String>,
}

/// What a new sandbox gets, where all that was asked for can be had.
pub(super) fn sandbox(params: &CreateParams) -> Result<Wishes, Problem> {
    let mut fields = Fields::default();
    let root = fields.word("root", params.root.as_deref());
    let isolation = fields.word("isolation", params.isolation.as_deref());
    let visibility = fields.word("visibility", params.visibility.as_deref());
    let egress = params
        .egress
        .as_ref()
        .and_then(|egress| fields.egress("egress.", egress));
    fields.env(&params.env);
    for (name, value) in &params.env {
        if name.starts_with("GLASSHOUSE_") {
            fields.wrong(
                format!("env.{name}"),
                value,
                "names that begin with GLASSHOUSE_ are taken",
            );
        }
    }
    fields.labels(&params.labels);
    if params.ports.len() > 32 {
        fields.wrong("ports", params.ports.len(), "at most 32 ports");
    }
    if params.ports.contains(&0) {
        fields.wrong("ports", 0, "a port is 1 to 65535");
    }
    let limits = fields.limits(&params.limits, Limits::default());
    fields.finish()?;
    Ok(Wishes {
        limits,
        root,
        isolation,
        visibility,
        egress,
    })
}

/// The policy as a row has it, where it can be one; nothing for the server's.
pub(super) fn egress(params: &EgressParams) -> Result<Option<String>, Problem> {
    let mut fields = Fields::default();
    let json = fields.egress("", params);
    fields.finish()?;
    Ok(json)
}

/// The limits that a sandbox gets which has these.
pub(super) fn limits(wanted: &LimitsParams, present: Limits) -> Result<Limits, Problem> {
    let mut fields = Fields::default();
    let limits = fields.limits(wanted, present);
    fields.finish()?;
    Ok(limits)
}

/// Whether a sandbox can have these labels.
pub(super) fn labels(given: &BTreeMap<String, String>) -> Result<(), Problem> {
    let mut fields = Fields::default();
    fields.labels(given);
    fields.finish()
}

/// Whether a program can be given this environment.
pub(crate) fn env(given: &BTreeMap<String, String>) -> Result<(), Problem> {
    let mut fields = Fields::default();
    fields.env(given);
    fields.finish()
}

/// Whether people can read these as name and description.
pub(super) fn words(name: Option<&str>, description: Option<&str>) -> Result<(), Problem> {
    let mut fields = Fields::default();
    for (field, text, most) in [("name", name, 100), ("description", description, 2000)] {
        let Some(text) = text else { continue };
        if text.chars().count() > most {
            fields.wrong(field, text, format!("at most {most} characters"));
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            fields.wrong(field, text, "no control characters");
        }
    }
    fields.finish()
}

/// Whether a prompt can be given to an agent.
pub(super) fn prompt(prompt: &str) -> Result<(), Problem> {
    if prompt.trim().is_empty() {
        return Err(Problem::field(
            "prompt",
            prompt,
            "say what the agent is to do",
        ));
    }
    if prompt.len() > PROMPT_LIMIT {
        let mut problem = Problem::field(
            "prompt",
            format!("{} bytes", prompt.len()),
            format!(
                "at most {PROMPT_LIMIT} bytes; put long texts into a file of the sandbox and name it in the prompt"
            ),
        );
        problem.code = glass_api::Code::TooLarge;
        problem.status = problem.code.status();
        problem.title = problem.code.title().to_owned();
        problem.kind = format!("/errors/{}", problem.code.as_str());
        return Err(problem);
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let params = CreateParams {
            env: BTreeMap::from([("1A".into(), String::new()), ("OK".into(), "\0".into())]),
            labels: BTreeMap::from([("a b".into(), String::new())]),
            limits: glass_api::LimitsParams {
                memory_bytes: Some(1),
                pids: Some(0),
                cpu_weight: Some(10_001),
                open_files: Some(255),
                network_bytes_per_second: Some(0),
                ..Default::default()
            },
            ports: vec![0],
            root: Some("golden".into()),
            ..CreateParams::default()
        };
        let problem = sandbox(&params).unwrap_err();
        let fields: Vec<&str> = problem.errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "root",
                "env",
                "env.OK",
                "labels",
                "ports",
                "limits.memory_bytes",
                "limits.pids",
                "limits.cpu_weight",
                "limits.open_files",
                "limits.network_bytes_per_second"
            ]
        );
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(
            sandbox(&CreateParams::default()).unwrap().limits,
            Limits::default()
        );
    }

    #[test]
    fn long_and_empty_prompts_are_refused() {
        assert_eq!(prompt(" \n").unwrap_err().status, 422);
        assert_eq!(prompt(&"x".repeat(2 << 20)).unwrap_err().status, 413);
        assert!(prompt("make it").is_ok());
    }
}
