//! What an attempt is.

/// Who must not succeed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The user of a sandbox in which nothing can be root.
    NoRoot,
    /// The user of any sandbox.
    User,
    /// Root of a sandbox neither.
    Everybody,
}

/// What it is, how it is tried by a shell, what is expected to be said of it, and to whom it is refused. Several possible
/// refusals are divided by `|`; an empty one is said by the exit code alone.
pub(super) type Row = (&'static str, &'static str, &'static str, Who);

/// One way out to try.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) what: String,
    pub(super) how: String,
    pub(super) refusal: String,
    pub(super) who: Who,
}

impl Attempt {
    pub(super) fn of((what, how, refusal, who): &Row) -> Self {
        Self {
            what: (*what).to_owned(),
            how: (*how).to_owned(),
            refusal: (*refusal).to_owned(),
            who: *who,
        }
    }

    pub(super) fn is_refused(&self, code: i64, printed: &str) -> bool {
        let mistakes = [
            "SyntaxError",
            "NameError",
            "command not found",
            "syntax error",
        ];
        code != 0
            && !mistakes.iter().any(|mistake| printed.contains(mistake))
            && self
                .refusal
                .split('|')
                .any(|refusal| printed.contains(refusal))
    }
}
