//! One thing that was looked at.

use glass_runtime::native;
use serde::Serialize;

use crate::render::Style;

/// How it stands with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Good,
    /// Worth knowing; nothing fails for it.
    Note,
    Bad,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    name: String,
    standing: Standing,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    pub(super) fn new(name: &str, standing: Standing, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            standing,
            detail: detail.into(),
            remedy: None,
        }
    }

    pub(super) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into()).filter(|remedy: &String| !remedy.is_empty());
        self
    }

    pub(super) fn is_bad(&self) -> bool {
        self.standing == Standing::Bad
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn lines(&self, style: Style) -> Vec<String> {
        let mark = match self.standing {
            Standing::Good => style.green("✓"),
            Standing::Note => style.yellow("!"),
            Standing::Bad => style.red("✗"),
        };
        let mut lines = vec![format!("{mark} {:<18} {}", self.name, self.detail)];
        if self.standing != Standing::Good
            && let Some(remedy) = &self.remedy
        {
            lines.extend(
                remedy
                    .lines()
                    .map(|line| format!("{:21}{}", "", style.cyan(line))),
            );
        }
        lines
    }
}

impl From<native::Check> for Check {
    fn from(check: native::Check) -> Self {
        let standing = if check.ok {
            Standing::Good
        } else if check.needed {
            Standing::Bad
        } else {
            Standing::Note
        };
        Self::new(check.name, standing, check.detail).with_remedy(check.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_shows_only_where_it_is_needed() {
        let good = Check::new("port", Standing::Good, "free").with_remedy("free it");
        assert_eq!(good.lines(Style::PLAIN), ["✓ port               free"]);
        let bad = Check::new("port", Standing::Bad, "taken").with_remedy("free it");
        assert_eq!(
            bad.lines(Style::PLAIN),
            ["✗ port               taken", "                     free it"]
        );
        assert!(bad.is_bad() && !good.is_bad());
    }
}
