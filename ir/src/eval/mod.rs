//! The one partial evaluator: folds at publish, specialises in the server, finishes on the agent.

mod absence;
mod compare;
mod machine;
mod template;
mod traits;

use crate::builtin::Builtin;
use crate::expr::Expr;
use crate::facts::Facts;
use crate::value::Value;
use machine::Machine;

pub use crate::builtin::text::render;

/// What became of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Everything was known.
    Known(Value),
    /// What a later stage has to finish; mentions only facts that were not yet known.
    Residual(Expr),
}

/// How much an evaluation may still do. Shared by all evaluations of one variant.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Evaluation steps left.
    pub steps: u64,
    /// Bytes of rendered text left.
    pub text: u64,
}

impl Default for Budget {
    /// The limits of the language: 10 million steps, 16 MiB of text.
    fn default() -> Self {
        Budget { steps: 10_000_000, text: 16 << 20 }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct EvalError {
    /// What happened.
    pub kind: EvalErrorKind,
    /// Child numbers from the outermost expression to the failing one; see [`Expr`] for how children
    /// are counted.
    pub trail: Vec<u32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalErrorKind {
    /// A fact that does not exist was read without `default` or `has_trait`.
    #[error("`{0}` is not there")]
    Absent(String),
    /// A function could not take the value it was given.
    #[error("{}: {message}", function.name())]
    Call {
        /// The function.
        function: Builtin,
        /// Why.
        message: String,
    },
    /// A value of another type than the expression needs; well-typed expressions never give this.
    #[error("expected {expected}, found {found}")]
    Type {
        /// Wanted.
        expected: &'static str,
        /// Met.
        found: &'static str,
    },
    /// An invalid regular expression on the right of `matches`.
    #[error("invalid regular expression: {0}")]
    Regex(String),
    /// A slot that nothing set.
    #[error("template variable {0} is not set")]
    UnsetLocal(u32),
    /// [`finish`] met what only a later stage knows.
    #[error("`{0}` is not known yet")]
    NotYet(String),
    /// More than the budget's steps.
    #[error("evaluation takes too many steps")]
    TooManySteps,
    /// More than the budget's text.
    #[error("the rendered text is too large")]
    TooMuchText,
}

/// Evaluates as far as `facts` reach.
///
/// Laws (property tests): two stages give what one gives with both stages' facts; a residual mentions only
/// facts that were [`crate::Fact::NotYet`]; a well-typed expression fails only for an absent fact, a
/// function's complaint about a value, or the budget.
///
/// An error in a part that may never be reached (the right side of an undecided `&&`, a branch of an undecided
/// `if`) is no error yet: the failing part stays in the residual as it is and fails when it is reached. So a
/// residual may also mention facts that are certain to be absent, but only in such parts.
pub fn eval(expr: &Expr, facts: &dyn Facts, budget: &mut Budget) -> Result<Outcome, EvalError> {
    Machine::new(facts, budget).run(expr)
}

/// Evaluates on the agent, where every fact has an answer: whatever is still open is an error.
pub fn finish(expr: &Expr, facts: &dyn Facts, budget: &mut Budget) -> Result<Value, EvalError> {
    let mut machine = Machine::new(facts, budget);
    match machine.run(expr)? {
        Outcome::Known(value) if !value.holds_secret() => Ok(value),
        _ => Err(EvalErrorKind::NotYet(machine.first_open()).into()),
    }
}

impl From<EvalErrorKind> for EvalError {
    fn from(kind: EvalErrorKind) -> Self {
        EvalError { kind, trail: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
