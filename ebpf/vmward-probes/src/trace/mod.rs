//! The witnesses: they see what no hook can refuse. One of them, of clones, ends who
//! does it.

mod clones;
mod files;
mod lifecycle;
mod modules;
mod moves;
