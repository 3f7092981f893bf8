//! What `vmward policy` does.

#[allow(
    dead_code,
    reason = "`vmward policy import` comes with the other commands for policies"
)]
pub(crate) mod import;
