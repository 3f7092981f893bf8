//! Version 1 as it stands on the wire. These files are kept for ever: a
//! change that breaks one breaks a client somewhere, and needs a version 2.

use serde::{Serialize, de::DeserializeOwned};
use vmward_wire::v1::{
    AuthorizeParams, AuthorizeResult, CompleteParams, Done, HelloParams, HelloResult,
    LeaseReleaseParams, StatusResult, approval, disarm, events, explain, tools,
};

#[track_caller]
fn check<T: DeserializeOwned + Serialize>(golden: &str) {
    let golden = golden.trim_end();
    let value: T = serde_json::from_str(golden).expect("the golden file is read");
    let written = serde_json::to_string(&value).expect("the value is written");
    assert_eq!(written, golden);
}

#[test]
fn version_1_is_read_and_written_as_the_golden_files_say() {
    check::<HelloParams>(include_str!("golden/v1/hello.params.json"));
    check::<HelloResult>(include_str!("golden/v1/hello.result.json"));
    check::<AuthorizeParams>(include_str!("golden/v1/authorize-tool.params.json"));
    check::<AuthorizeParams>(include_str!("golden/v1/authorize-effect.params.json"));
    check::<AuthorizeResult>(include_str!("golden/v1/authorize-allow.result.json"));
    check::<AuthorizeResult>(include_str!("golden/v1/authorize-deny.result.json"));
    check::<CompleteParams>(include_str!("golden/v1/complete.params.json"));
    check::<LeaseReleaseParams>(include_str!("golden/v1/lease-release.params.json"));
    check::<Done>(include_str!("golden/v1/done.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status.result.json"));
}

#[test]
fn what_came_with_the_whole_policy_language_is_read_and_written_as_the_golden_files_say() {
    check::<HelloParams>(include_str!("golden/v1/hello-grant.params.json"));
    check::<AuthorizeParams>(include_str!("golden/v1/authorize-server.params.json"));
    check::<AuthorizeResult>(include_str!("golden/v1/authorize-pending.result.json"));
    check::<AuthorizeResult>(include_str!("golden/v1/authorize-shadow.result.json"));
    check::<tools::ToolsFilterParams>(include_str!("golden/v1/tools-filter.params.json"));
    check::<tools::ToolsFilterResult>(include_str!("golden/v1/tools-filter.result.json"));
    check::<explain::ExplainResult>(include_str!("golden/v1/explain.result.json"));
    check::<approval::WaitParams>(include_str!("golden/v1/approval-wait.params.json"));
    check::<approval::WaitResult>(include_str!("golden/v1/approval-wait.result.json"));
    check::<approval::ListResult>(include_str!("golden/v1/approval-list.result.json"));
    check::<approval::ShowParams>(include_str!("golden/v1/approval-show.params.json"));
    check::<approval::Approval>(include_str!("golden/v1/approval-show.result.json"));
    check::<approval::DecideParams>(include_str!("golden/v1/approval-decide.params.json"));
    check::<StatusResult>(include_str!("golden/v1/status-approvals.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-host-rules.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-inventory.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-runs.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-others.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-left-out.result.json"));
    check::<events::SubscribeParams>(include_str!("golden/v1/events-subscribe.params.json"));
    check::<events::Notification>(include_str!("golden/v1/event-record.notification.json"));
    check::<events::Notification>(include_str!("golden/v1/event-missed.notification.json"));
}

#[test]
fn what_came_with_disarming_is_read_and_written_as_the_golden_files_say() {
    check::<disarm::DisarmParams>(include_str!("golden/v1/disarm-vm.params.json"));
    check::<disarm::DisarmParams>(include_str!("golden/v1/disarm-all.params.json"));
    check::<disarm::Disarmed>(include_str!("golden/v1/disarm.result.json"));
    check::<disarm::ArmParams>(include_str!("golden/v1/arm.params.json"));
    check::<disarm::ArmResult>(include_str!("golden/v1/arm.result.json"));
    check::<StatusResult>(include_str!("golden/v1/status-disarmed.result.json"));
}

#[test]
fn nothing_is_disarmed_without_a_reason() {
    let error = serde_json::from_str::<disarm::DisarmParams>(r#"{"all":true}"#)
        .expect_err("must be refused");
    assert!(error.to_string().contains("missing field `reason`"));
}

#[test]
fn the_least_that_a_caller_must_send_is_enough() {
    let params: AuthorizeParams =
        serde_json::from_str(r#"{"tool":"vm_stop"}"#).expect("the rest has defaults");
    assert!(params.arguments.is_empty());
}

#[test]
fn a_parameter_that_version_1_does_not_know_is_refused() {
    let error = serde_json::from_str::<AuthorizeParams>(r#"{"tool":"vm_stop","forse":true}"#)
        .expect_err("must be refused");
    assert!(error.to_string().contains("unknown field `forse`"));
}

#[test]
fn a_result_field_that_an_older_client_does_not_know_is_no_error() {
    let done: Done = serde_json::from_str(r#"{"ok":true,"new":1}"#).expect("must be read");
    assert!(done.ok);
}
