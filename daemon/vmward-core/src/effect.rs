//! What a tool call does, and to which VM.
//!
//! Limits and leases speak of effects, so that another tool's name for the same
//! thing buys nothing.

use serde::{Deserialize, Serialize};

/// What a call does to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Ask the guest to power off.
    Stop,
    /// Cut the power.
    ForceStop,
    /// Ask the guest to reboot.
    Reboot,
    /// Pull the reset line.
    Reset,
    /// Stop the virtual CPUs; the VM keeps its memory.
    Pause,
    /// Write the VM's memory to disk and end the process.
    Save,
    /// Move the VM to another host.
    Migrate,
    /// Remove the VM for good.
    Delete,
    /// Restart, halt or replace the host's kernel at once, and end every VM with
    /// it. Of the host, not of a VM.
    HostReboot,
}

impl Effect {
    /// Every effect, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::Stop,
        Self::ForceStop,
        Self::Reboot,
        Self::Reset,
        Self::Pause,
        Self::Save,
        Self::Migrate,
        Self::Delete,
        Self::HostReboot,
    ];

    /// The effect's bit in a lease's mask in the kernel.
    pub fn bit(self) -> u32 {
        match self {
            Self::Stop => 1,
            Self::ForceStop => 1 << 1,
            Self::Reboot => 1 << 2,
            Self::Reset => 1 << 3,
            Self::Pause => 1 << 4,
            Self::Save => 1 << 5,
            Self::Migrate => 1 << 6,
            Self::Delete => 1 << 7,
            Self::HostReboot => 1 << 8,
        }
    }

    /// The effect of a bit in a lease's mask; `None` for none or several.
    #[must_use]
    pub fn from_bit(bit: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.bit() == bit)
    }

    /// How long a lease for it may wait for its first use, in milliseconds. A
    /// guest may take its time over a graceful stop; a power cut needs none.
    pub fn ttl_ms(self) -> u32 {
        match self {
            Self::ForceStop => 30_000,
            Self::Stop => 120_000,
            Self::Reboot
            | Self::Reset
            | Self::Pause
            | Self::Save
            | Self::Migrate
            | Self::Delete
            | Self::HostReboot => 60_000,
        }
    }

    /// The tool whose rule governs the effect when a caller names no tool.
    pub fn tool(self) -> &'static str {
        match self {
            Self::Stop | Self::ForceStop => "vm_stop",
            Self::Reboot => "vm_reboot",
            Self::Reset => "vm_reset",
            Self::Pause => "vm_pause",
            Self::Save => "vm_save",
            Self::Migrate => "vm_migrate",
            Self::Delete => "vm_delete",
            Self::HostReboot => "host_reboot",
        }
    }

    /// The word used on the wire and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ForceStop => "force_stop",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Pause => "pause",
            Self::Save => "save",
            Self::Migrate => "migrate",
            Self::Delete => "delete",
            Self::HostReboot => "host_reboot",
        }
    }

    /// Is it done to the host as a whole?
    pub fn is_of_host(self) -> bool {
        self == Self::HostReboot
    }

    /// Is all that a lease for it ever covers one step, which the kernel lets happen
    /// once? Nothing that follows could need the lease then. Other operations have
    /// several steps, or parts of others among them, and libvirt may take the later
    /// ones when its client has ended.
    pub fn is_one_step(self) -> bool {
        self == Self::Reset
    }

    /// Does a QEMU process (or host) that still runs at the deadline prove that the effect
    /// did not happen? A reboot, a reset and a pause leave it running, and a
    /// save or a migration may be under way.
    pub fn is_refuted_by_survival(self) -> bool {
        matches!(self, Self::Stop | Self::ForceStop | Self::HostReboot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::map::effects_of;

    #[test]
    fn every_effect_has_its_own_bit_and_its_canonical_tool_has_it() {
        let mask = Effect::ALL
            .iter()
            .fold(0, |mask, effect| mask | effect.bit());
        assert_eq!(mask, 0x1ff);
        for effect in Effect::ALL {
            assert!(effects_of(&[], effect.tool()).contains(&effect));
            let word = serde_json::to_value(effect).expect("JSON");
            assert_eq!(word, effect.name());
        }
    }
}
