//! The real daemon over its real socket, with `--policy-only`: no kernel side,
//! and libvirt's in-process test driver, whose one domain is named `test`.
#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod approvals;
mod audit_end;
mod check;
#[cfg(feature = "crash-points")]
mod crash;
mod disarm;
mod events;
mod gateway_defects;
mod grants;
mod harness;
mod host_end;
mod inventory;
mod journal;
mod protocol;
mod questions;
mod reload;
mod repair;
mod status;
mod strict;
