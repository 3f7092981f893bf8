//! The real `vmward` binary against a policy socket that is a fake: a listener
//! in the test that speaks the wire types and answers as the test says.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod approvals;
mod audit;
mod cli;
mod fake;
mod gateway_defects;
mod identity;
mod mcp;
mod policy;
mod protection;
mod wrap;
