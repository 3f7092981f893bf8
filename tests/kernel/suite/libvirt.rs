//! What libvirt says of a domain, by its library: a virsh for each look at each
//! row would be most of the suite's time.

use virt::connect::Connect;
use virt::domain::{Domain, DomainState};
use virt::enumutil::Enum;
use virt_sys::{
    VIR_DOMAIN_CONTROL_OK, VIR_DOMAIN_START_FORCE_BOOT, virDomainControlInfo,
    virDomainGetControlInfo,
};

/// libvirt calls the domain running, and reaches its monitor.
pub(super) fn in_order(name: &str) -> Result<(), String> {
    let look = |domain: &Domain| Ok((domain.state()?.0, control(domain)));
    let (state, control) = with(name, look)?;
    if !matches!(state, Enum::Known(DomainState::Running)) {
        return Err(format!("libvirt says {state:?}"));
    }
    match control {
        Some(VIR_DOMAIN_CONTROL_OK) => Ok(()),
        state => Err(format!("libvirt's control of it is {state:?}")),
    }
}

/// libvirt has nothing to do with a process of the domain any more.
pub(super) fn is_off(name: &str) -> bool {
    with(name, |domain| Ok(!domain.is_active()?)).unwrap_or(false)
}

/// libvirt calls the domain paused.
pub(super) fn is_paused(name: &str) -> bool {
    let state = with(name, |domain| Ok(domain.state()?.0));
    matches!(state, Ok(Enum::Known(DomainState::Paused)))
}

/// Starts the domain as it is defined: what an attack has saved of it is dropped.
pub(super) fn start(name: &str) -> Result<(), String> {
    let start = |domain: &Domain| domain.create_with_flags(VIR_DOMAIN_START_FORCE_BOOT);
    with(name, start).map(drop)
}

fn with<T>(
    name: &str,
    work: impl FnOnce(&Domain) -> Result<T, virt::error::Error>,
) -> Result<T, String> {
    let said = |error: virt::error::Error| format!("libvirt says {error}");
    let connection = Connect::open(Some("qemu:///system")).map_err(said)?;
    let domain = connection.lookup_domain_by_name(name).map_err(said)?;
    work(&domain).map_err(said)
}

#[expect(unsafe_code, reason = "a call that the crate does not wrap")]
fn control(domain: &Domain) -> Option<u32> {
    let mut info = virDomainControlInfo {
        state: 0,
        details: 0,
        stateTime: 0,
    };
    // SAFETY: it is used no longer than `domain` lives.
    let domain = unsafe { domain.as_ptr() };
    // SAFETY: a live domain, and room for the answer.
    let done = unsafe { virDomainGetControlInfo(domain, &raw mut info, 0) };
    (done == 0).then_some(info.state)
}
