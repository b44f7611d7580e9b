use proptest::prelude::*;

use super::*;

/// What a sandbox really has, told from the arrows of the diagram alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct World {
    has_processes: bool,
    is_going: bool,
}

impl World {
    /// What each arrow does to the world, whatever the state is called.
    fn after(self, transition: Transition) -> Self {
        match transition {
            Transition::Destroy => Self {
                has_processes: false,
                is_going: true,
            },
            Transition::Stop
            | Transition::Fail
            | Transition::Die
            | Transition::Archive
            | Transition::Unarchive => Self {
                has_processes: false,
                ..self
            },
            Transition::Start | Transition::Ready => Self {
                has_processes: true,
                ..self
            },
            Transition::Freeze => self,
        }
    }

    fn fits(self, state: SandboxState) -> bool {
        match state {
            SandboxState::Destroying => self.is_going,
            SandboxState::Running | SandboxState::Frozen => self.has_processes && !self.is_going,
            SandboxState::Stopped | SandboxState::Archived | SandboxState::Failed => {
                !self.has_processes && !self.is_going
            }
            // On the way up: there may be some already.
            SandboxState::Creating => !self.is_going,
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_changes_leaves_the_machine(
        steps in prop::collection::vec(prop::sample::select(&Transition::ALL[..]), 0..64),
    ) {
        let mut state = SandboxState::Creating;
        let mut world = World { has_processes: false, is_going: false };
        for transition in steps {
            match state.after(transition) {
                Ok(next) => {
                    world = world.after(transition);
                    prop_assert!(world.fits(next), "{state} --{transition}--> {next}: {world:?}");
                    // Who asks again gets the same: every change may be repeated.
                    prop_assert_eq!(next.after(transition), Ok(next));
                    state = next;
                }
                Err(denied) => {
                    prop_assert_eq!(denied, Denied { state, transition });
                    // Nothing is refused that brings a sandbox up or away, unless it is going.
                    prop_assert_ne!(transition, Transition::Destroy);
                    prop_assert!(transition != Transition::Start || world.is_going);
                }
            }
            // What is going never comes back, and nobody else is going.
            prop_assert_eq!(world.is_going, state == SandboxState::Destroying);
        }
    }

    #[test]
    fn words_that_are_no_state_are_refused(text in "[a-z]{0,12}") {
        let known = SandboxState::ALL.iter().any(|state| state.as_str() == text);
        prop_assert_eq!(text.parse::<SandboxState>().is_ok(), known);
    }
}

#[test]
fn words_read_back() {
    for state in SandboxState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    for state in TaskState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

#[test]
fn every_state_can_be_destroyed_and_none_comes_back() {
    for state in SandboxState::ALL {
        assert_eq!(
            state.after(Transition::Destroy),
            Ok(SandboxState::Destroying)
        );
    }
    for transition in Transition::ALL {
        assert_eq!(
            SandboxState::Destroying.after(transition).is_ok(),
            transition == Transition::Destroy
        );
    }
}

#[test]
fn one_start_brings_every_resting_state_to_running() {
    for state in SandboxState::ALL {
        if state == SandboxState::Destroying {
            continue;
        }
        let started = state.after(Transition::Start).unwrap();
        assert_eq!(
            started.after(Transition::Ready),
            Ok(SandboxState::Running),
            "{state}"
        );
    }
}

#[test]
fn only_what_has_no_process_is_archived() {
    for state in SandboxState::ALL {
        let rests = matches!(state, SandboxState::Stopped | SandboxState::Archived);
        assert_eq!(state.after(Transition::Archive).is_ok(), rests, "{state}");
    }
}

#[test]
fn a_failed_sandbox_is_started_again() {
    assert_eq!(
        SandboxState::Failed.after(Transition::Start),
        Ok(SandboxState::Creating)
    );
    assert!(SandboxState::Stopped.after(Transition::Freeze).is_err());
}
