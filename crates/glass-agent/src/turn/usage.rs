//! Tokens and cost of a turn, as the agent counts them.

use glass_types::Event;
use serde_json::Value;

/// Tokens and cost of a turn, as the agent counts them. What it does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TurnUsage {
    /// Tokens of the context window in use.
    pub used_tokens: Option<u64>,
    /// Size of the context window in tokens.
    pub context_tokens: Option<u64>,
    /// Tokens sent, those read from the provider's cache included.
    pub input_tokens: Option<u64>,
    /// Tokens received.
    pub output_tokens: Option<u64>,
    /// Cost in US dollars at list price.
    pub cost_usd: Option<f64>,
}

impl TurnUsage {
    /// As an event.
    #[must_use]
    pub const fn event(&self) -> Event {
        Event::Usage {
            used_tokens: self.used_tokens,
            context_tokens: self.context_tokens,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost_usd: self.cost_usd,
        }
    }

    /// Takes a `usage_update`. Agents count the cost over the whole session, so what came before is taken off. `None`
    /// when the model has no price, whatever the agent thinks.
    pub(super) fn take_update(&mut self, update: &Value, cost_before: Option<f64>) -> bool {
        let before = *self;
        self.used_tokens = number(update, "used").or(self.used_tokens);
        self.context_tokens = number(update, "size").or(self.context_tokens);
        if let (Some(cost), Some(cost_before)) = (cost(update), cost_before) {
            let turn = (cost - cost_before).max(0.0);
            // A millionth of a dollar is fine enough, and hides the noise of the subtraction.
            self.cost_usd = Some((turn * 1e6).round() / 1e6);
        }
        *self != before
    }

    /// Takes the `usage` of the answer to a prompt.
    pub(super) fn take_total(&mut self, usage: &Value) -> bool {
        let before = *self;
        let sent = ["inputTokens", "cachedReadTokens", "cachedWriteTokens"];
        let sent = sent.iter().filter_map(|field| number(usage, field));
        self.input_tokens = sent.reduce(u64::saturating_add).or(self.input_tokens);
        self.output_tokens = number(usage, "outputTokens").or(self.output_tokens);
        *self != before
    }
}

/// The cumulative cost in a `usage_update`.
pub(super) fn cost(update: &Value) -> Option<f64> {
    let cost = update.get("cost")?;
    let in_dollars = cost.get("currency").and_then(Value::as_str) == Some("USD");
    let amount = cost.get("amount")?.as_f64()?;
    (in_dollars && amount.is_finite() && amount >= 0.0).then_some(amount)
}

fn number(value: &Value, field: &str) -> Option<u64> {
    value.get(field)?.as_u64()
}
