//! Giving back what nobody needs: what is remembered of deletes, and blocks that were merged.

use multibee::{Error, HoldReason, ReclaimOptions};

use crate::model::Clocks;
use crate::plan::Role;
use crate::report::{Rule, Violation};
use crate::world::World;
use crate::writes::Pending;

impl World<'_> {
    /// A device gives back what nobody needs, or even what others may need.
    pub(crate) fn reclaim(&mut self, device: usize, for_others: bool) -> Result<(), Violation> {
        let Some(running) = self.running(device) else { return Ok(()) };
        if self.fork.is_some() {
            return Ok(());
        }
        let mut options = ReclaimOptions::default();
        options.even_for_others = for_others;
        let digest = running.hand.digest();
        self.report.operations += 1;
        self.devices[device].tick(self.now);
        let Some(running) = self.running(device) else { return Ok(()) };
        let report = match running.db.reclaim(&options) {
            Ok(report) => report,
            Err(Error::StaleRestore { .. }) => return self.refused(device),
            Err(_) if self.devices[device].disk.is_failing() => {
                let seen = Clocks::default();
                self.devices[device].pending = Some(Pending { intents: Vec::new(), seen });
                return self.fail(device, true);
            }
            Err(error) => return Err(self.unsound(device, &format!("reclaiming: {error}"))),
        };
        if self.running(device).map(|running| running.hand.digest()) != Some(digest) {
            let what = format!("device {device} has another digest, having given something back");
            return Err(self.broken(Rule::S1, what));
        }
        let is_mirror = self.devices[device].character.role == Role::Mirror;
        if is_mirror && report.replica_blocks.count > 0 && self.knows_to_be_mirror(device)? {
            let what = format!("device {device} is a mirror, and gave blocks back");
            return Err(self.broken(Rule::T3, what));
        }
        let held = |reason| report.tombstones.held_back.iter().any(|one| one.reason == reason);
        let happened = [
            (report.tombstones.count > 0, "deletes are forgotten on request"),
            (report.replica_blocks.count > 0, "blocks that were merged are given back"),
            (held(HoldReason::NotSeen), "a delete is kept, as somebody has not seen it"),
            (held(HoldReason::Conflict), "a delete is kept, as it is part of a conflict"),
            (
                held(HoldReason::Unsettled) || held(HoldReason::NotReached),
                "a delete is kept because of a removed device",
            ),
        ];
        happened.iter().filter(|(is_so, _)| *is_so).for_each(|(_, name)| self.met(name));
        self.settle(device)
    }

    fn knows_to_be_mirror(&self, device: usize) -> Result<bool, Violation> {
        let is_it =
            |one: &multibee::Device| one.is_self && one.role == multibee::DeviceRole::Mirror;
        Ok(self.listed(device)?.iter().any(is_it))
    }

    /// Whether deletes may be forgotten in this run.
    pub(crate) const fn forgets_deletes(&self) -> bool {
        self.plan.forget_deletes
    }
}
