//! The witnesses: they see what no hook can refuse.

mod lifecycle;
mod moves;
