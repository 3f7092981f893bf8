//! Orders behind another one, in the same write, by who passes for libvirt's daemon:
//! libvirt itself sends one at a time.

use std::process::Output;

use super::super::{Attack, Harm, Refusal};
use super::connect::as_libvirt;
use crate::guest::Guest;

const fn row(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "monitor-command",
        hook: "socket_sendmsg",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run,
    }
}

/// See the module's text.
pub const TOGETHER: &[Attack] = &[
    row("monitor/orders-in-one-write", |g| {
        as_libvirt(g, "orders in-one-write")
    }),
    row("monitor/orders-run-together", |g| {
        as_libvirt(g, "orders run-together")
    }),
    row("monitor/orders-for-people", |g| {
        as_libvirt(g, "orders for-people")
    }),
    row("monitor/orders-behind-an-error", |g| {
        as_libvirt(g, "orders behind-an-error")
    }),
    row("monitor/orders-behind-a-number", |g| {
        as_libvirt(g, "orders behind-a-number")
    }),
    row("monitor/orders-behind-a-bracket", |g| {
        as_libvirt(g, "orders behind-a-bracket")
    }),
    row("monitor/orders-behind-a-string", |g| {
        as_libvirt(g, "orders behind-a-string")
    }),
    row("monitor/orders-behind-a-long-one", |g| {
        as_libvirt(g, "orders behind-a-long-one")
    }),
    row("monitor/orders-in-parts", |g| {
        as_libvirt(g, "orders in-parts")
    }),
];
