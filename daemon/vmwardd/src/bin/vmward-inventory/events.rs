//! libvirt's event loop and the two callbacks that the safe binding lacks:
//! domain lifecycle and connection closed. Both only say "look again"; what
//! is true is then read from libvirt, so a lost event costs time, not truth.

#![expect(
    unsafe_code,
    reason = "the virt crate has no lifecycle events; this file is the whole bridge"
)]

use std::os::raw::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;

use virt::connect::Connect;
use virt::error::Error;

/// Wakes the inventory thread. Its channel holds one wake-up: more say no more.
pub(super) type Waker = SyncSender<()>;

/// Starts libvirt's event loop in its own thread, once a process. Must come
/// before the first connection is opened, or that connection has no events.
pub(super) fn start_loop() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            silence_library();
            virt::event::event_register_default_impl()?;
            let spawned = std::thread::Builder::new()
                .name("libvirt-events".to_owned())
                .spawn(run_loop);
            if let Err(error) = spawned {
                tracing::error!(%error, "cannot start the libvirt event thread; polling only");
            }
            Ok(())
        })
        .clone()
}

fn run_loop() {
    let mut throttle = vmwardd::log::Throttle::new(10);
    loop {
        // Without any descriptor to wait for this returns when the next
        // registration wakes it, so it does not spin.
        if let Err(error) = virt::event::event_run_default_impl()
            && throttle.pass(vmwardd::clock::boot_ns()).is_some()
        {
            tracing::warn!(%error, "the libvirt event loop failed once");
        }
    }
}

/// The callbacks of one connection. Each holds a reference to the connection,
/// so it must be taken back before the connection can close.
pub(super) struct Callbacks {
    lifecycle: c_int,
}

/// Registers both callbacks.
pub(super) fn register(connection: &Connect, waker: &Waker) -> Result<Callbacks, Error> {
    register_close(connection, waker)?;
    let lifecycle = register_lifecycle(connection, waker)?;
    Ok(Callbacks { lifecycle })
}

/// Takes both callbacks back. On a connection that broke libvirt may say no;
/// then there is nothing to take back.
pub(super) fn unregister(connection: &Connect, callbacks: &Callbacks) {
    let raw = raw(connection);
    // SAFETY: the connection is open and the number came from registration.
    let events = unsafe { virt_sys::virConnectDomainEventDeregisterAny(raw, callbacks.lifecycle) };
    // SAFETY: the connection is open and this callback was registered on it.
    let close = unsafe { virt_sys::virConnectUnregisterCloseCallback(raw, Some(on_close)) };
    tracing::debug!(events, close, "libvirt callbacks taken back");
}

/// libvirt prints each error to standard error by itself; every one is
/// returned to the caller as well, who logs it with its context.
fn silence_library() {
    unsafe extern "C" fn ignore(_data: *mut c_void, _error: virt_sys::virErrorPtr) {}
    // SAFETY: the handler is a plain function that touches neither argument.
    unsafe { virt_sys::virSetErrorFunc(std::ptr::null_mut(), Some(ignore)) };
}

fn register_lifecycle(connection: &Connect, waker: &Waker) -> Result<c_int, Error> {
    let callback: unsafe extern "C" fn(_, _, _, _, _) -> c_int = on_lifecycle;
    // SAFETY: libvirt's API takes every event callback as the generic type and
    // calls one registered for LIFECYCLE with the five arguments that
    // `virConnectDomainEventCallback` has; both are plain function pointers.
    let generic = unsafe {
        std::mem::transmute::<
            virt_sys::virConnectDomainEventCallback,
            virt_sys::virConnectDomainEventGenericCallback,
        >(Some(callback))
    };
    let opaque = into_opaque(waker);
    let raw = raw(connection);
    // SAFETY: the connection is open, a null domain means all of them, and
    // `opaque` stays valid until libvirt hands it to `free_waker`.
    let id = unsafe {
        virt_sys::virConnectDomainEventRegisterAny(
            raw,
            std::ptr::null_mut(),
            // The constant is 0 in every version of the library.
            0,
            generic,
            opaque,
            Some(free_waker),
        )
    };
    finish(id, opaque)
}

fn register_close(connection: &Connect, waker: &Waker) -> Result<(), Error> {
    let opaque = into_opaque(waker);
    let raw = raw(connection);
    // SAFETY: the connection is open and `opaque` stays valid until libvirt
    // hands it to `free_waker`.
    let outcome = unsafe {
        virt_sys::virConnectRegisterCloseCallback(raw, Some(on_close), opaque, Some(free_waker))
    };
    finish(outcome, opaque).map(drop)
}

/// libvirt does not take the pointer when it refuses the callback.
fn finish(outcome: c_int, opaque: *mut c_void) -> Result<c_int, Error> {
    if outcome >= 0 {
        return Ok(outcome);
    }
    let error = Error::last_error();
    // SAFETY: libvirt refused the callback, so the pointer is still ours and
    // came from `into_opaque`.
    unsafe { free_waker(opaque) };
    Err(error)
}

fn raw(connection: &Connect) -> virt_sys::virConnectPtr {
    // SAFETY: the pointer is used only while `connection` is borrowed.
    unsafe { connection.as_ptr() }
}

fn into_opaque(waker: &Waker) -> *mut c_void {
    Box::into_raw(Box::new(waker.clone())).cast()
}

unsafe extern "C" fn free_waker(opaque: *mut c_void) {
    // SAFETY: every caller passes a pointer from `into_opaque`, once.
    drop(unsafe { Box::from_raw(opaque.cast::<Waker>()) });
}

unsafe extern "C" fn on_lifecycle(
    _connection: virt_sys::virConnectPtr,
    _domain: virt_sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt passes the pointer given at registration, which is freed
    // only after the last call.
    wake(unsafe { &*opaque.cast::<Waker>() });
    0
}

unsafe extern "C" fn on_close(
    _connection: virt_sys::virConnectPtr,
    _reason: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_lifecycle`.
    wake(unsafe { &*opaque.cast::<Waker>() });
}

/// A full channel holds a wake-up already; a closed one has nobody to wake.
fn wake(waker: &Waker) {
    let _awake = waker.try_send(());
}
