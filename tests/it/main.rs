//! The real daemon and the real command line over a real socket, without the
//! kernel side: what any machine can run.
//!
//! libvirt is its own in-process test driver here, which has one running
//! domain called `test` and no QEMU; or there is none.

mod crash;
mod host;
mod limits;
mod wrap;
