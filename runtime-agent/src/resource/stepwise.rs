//! Types whose difference is a list of steps: the probe says them, the apply takes them.
//!
//! Both come from the same look, so what a dry run shows is what a real run does. A type says what it looks at, which steps
//! lead from there to what is declared, what each is called, and how it is taken.

use super::{Applied, Context, Desired, Diff, Executor, Probe, ResourceError};
use std::marker::PhantomData;

/// One type.
pub trait Stepwise: Sync {
    /// The attribute that says what a resource is about.
    const KEY: &'static str;
    /// Whether a look mostly waits; see [`Executor::waits`].
    const WAITS: bool = false;
    /// What is declared.
    type Want;
    /// What the machine says.
    type Found;
    /// One change.
    type Step: Copy;

    /// Reads the attributes.
    fn want(desired: &Desired) -> Result<Self::Want, ResourceError>;

    /// Looks at the machine.
    fn look(context: &Context<'_>, want: &Self::Want) -> Result<Self::Found, ResourceError>;

    /// What a probe takes the machine for that has not got the program to ask: an earlier resource may yet have to install
    /// it. Without it the missing program is what the probe fails with, as an apply always does.
    fn unseen(_want: &Self::Want) -> Option<Self::Found> {
        None
    }

    /// What leads from there to what is declared, in order.
    fn steps(want: &Self::Want, found: &Self::Found) -> Result<Vec<Self::Step>, ResourceError>;

    /// A step in words; nothing where it only prepares another one.
    fn said(want: &Self::Want, step: Self::Step) -> Option<&'static str>;

    /// How content differs that the steps would write.
    fn diff(
        _context: &Context<'_>,
        _want: &Self::Want,
        _found: &Self::Found,
        _steps: &[Self::Step],
    ) -> Option<Diff> {
        None
    }

    /// Takes one.
    fn take(context: &Context<'_>, want: &Self::Want, step: Self::Step) -> Result<(), ResourceError>;
}

/// Makes an executor of it, for a type that acts on the machine.
pub struct StepwiseType<T>(PhantomData<T>);

impl<T: Stepwise> StepwiseType<T> {
    pub const fn new() -> Self {
        StepwiseType(PhantomData)
    }
}

impl<T: Stepwise> Executor for StepwiseType<T> {
    fn key(&self) -> &'static str {
        T::KEY
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn waits(&self) -> bool {
        T::WAITS
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = T::want(desired)?;
        let found = match T::look(context, &want) {
            Err(missing @ ResourceError::NoProgram(_)) => T::unseen(&want).ok_or(missing)?,
            looked => looked?,
        };
        let steps = T::steps(&want, &found)?;
        let said = steps.iter().filter_map(|step| T::said(&want, *step));
        Ok(Probe {
            changes: said.map(str::to_owned).collect(),
            diff: T::diff(context, &want, &found, &steps),
        })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = T::want(desired)?;
        let found = T::look(context, &want)?;
        for step in T::steps(&want, &found)? {
            T::take(context, &want, step)?;
        }
        Ok(Applied::default())
    }
}
