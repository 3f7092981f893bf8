//! Time-of-day windows.

/// Some hours of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Seven bits, Monday is bit 0.
    pub days: u8,
    /// Minute of the day at which it begins.
    pub from_min: u16,
    /// Minute of the day before which it ends; not later than the beginning
    /// means on the next day.
    pub to_min: u16,
    /// Whose clock.
    pub zone: Zone,
}

/// Whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Universal time.
    Utc,
    /// The host's.
    Local,
    /// East of Greenwich, in minutes.
    Offset(i16),
}

impl Hours {
    /// Does an instant fall into it? `local_offset_s`: what the host's zone adds
    /// to universal time at that instant.
    pub fn contain(&self, _wall_ns: i64, _local_offset_s: i32) -> bool {
        false
    }
}
