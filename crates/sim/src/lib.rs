//! Deterministic simulation of a group of Multibee devices.
//!
//! Everything runs in one thread and in virtual time: the real database, merging, replication,
//! encryption and log of each device, on disks that forget what was not synced, over connections
//! that break, with clocks that are wrong. A [`Plan`] says what happens; a seed stands for a plan.
//! While a plan runs, and after all has calmed down, the rules of [`Rule`] are checked against a
//! model that is simple enough to be right.
//!
//! A plan that breaks a rule is cut down by [`minimise`], and kept as a file.
#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    reason = "devices and wires are numbered, and plans checked before they run"
)]

mod calm;
mod checks;
mod device;
mod disk;
mod draw;
mod focus;
mod fork;
mod intent;
mod keys;
mod lies;
mod lives;
mod members;
mod membership;
mod minimise;
mod model;
mod moves;
mod newcomers;
mod plan;
mod process;
mod reclaim;
mod report;
mod restart;
mod rot;
mod situations;
mod stores;
mod traffic;
mod typed;
mod wire;
mod world;
mod writes;

pub use focus::Focus;
pub use minimise::minimise;
pub use plan::{
    Action, Change, Character, Flaw, FlawKind, Lie, LieKind, Place, Plan, Role, Scope, Settling,
    Step, Stop, What, Within,
};
pub use report::{Report, Rule, Violation};
pub use situations::ALL as SITUATIONS;
pub use world::run;
