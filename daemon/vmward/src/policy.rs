//! What `vmward policy` does.

#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "`vmward policy import` comes with the other commands for policies"
    )
)]
pub(crate) mod import;
