use std::path::Path;

use vmward_core::grant::{Claim, Credentials, TokenHash};

use super::super::Config;
use super::super::tests::message;
use super::*;

fn grants(text: &str) -> Result<Grants, String> {
    Config::parse(text, Path::new("vmward.toml"))
        .map(|config| config.grants)
        .map_err(|error| message(&error))
}

#[track_caller]
fn refused(text: &str, line: usize, why: &str) {
    let error = grants(text).expect_err("must be refused");
    assert!(error.contains(why), "{error}");
    assert!(error.contains(&format!("line {line},")), "{error}");
}

#[test]
fn a_grant_is_read_with_its_user_and_group_as_numbers() {
    let hash = TokenHash::of("secret");
    let read = grants(&format!(
        "[[grants]]\nname = \"ops\"\nuser = \"root\"\ngroup = \"root\"\n\
         unit = \"agent@*.service\"\ntoken-sha256 = \"{hash}\"\napprovals-max = 5\n\
         [[grants]]\nname = \"uid-only\"\nuid = 4711\n"
    ))
    .unwrap();
    let expected = Grant {
        name: "ops".to_owned(),
        uid: Some(0),
        gid: Some(0),
        unit: Some("agent@*.service".to_owned()),
        token: Some(hash),
        approvals_max: Some(5),
    };
    assert_eq!(read.iter().next(), Some(&expected));
    let who = Credentials {
        uid: 4711,
        gids: &[],
        unit: None,
    };
    let chosen = read.choose(&who, &Claim::default()).unwrap();
    assert_eq!(chosen, "uid-only");
}

#[test]
fn a_mistake_in_a_grant_is_refused_with_its_line() {
    let two = "[[grants]]\nname = \"a\"\nuid = 1\n\n[[grants]]\nname = \"b\"\n";
    refused(two, 5, "\"b\" does not say who may use it");
    refused(&format!("{two}uid = -1\n"), 7, "u32");
    refused(
        &format!("{two}uid = 2\nuser = \"root\"\n"),
        5,
        "\"b\" has both",
    );
    refused(
        &format!("{two}user = \"no-such-user\"\n"),
        7,
        "no user \"no-such-user\"",
    );
    refused(
        &format!("{two}group = \"no-such-group\"\n"),
        7,
        "groupadd --system no-such-group",
    );
    refused(&format!("{two}token-sha256 = \"vmwt_12\"\n"), 7, "64 hex");
    refused(
        &format!("{two}uid = 2\napprovals-max = 0\n"),
        8,
        "1 to 1000",
    );
    refused(
        &format!("{two}uid = 2\ntoken = \"x\"\n"),
        8,
        "unknown field `token`",
    );
    refused(
        "[[grants]]\nname = \"uid:0\"\nuid = 1\n",
        2,
        "no name for a grant",
    );
    let same = two.replace("\"b\"", "\"a\"");
    refused(&format!("{same}uid = 2\n"), 5, "two grants are named \"a\"");
    let nameless = two.replace("name = \"b\"", "uid = 2");
    refused(&nameless, 5, "missing field `name`");
    let token = format!("token-sha256 = \"{}\"\n", TokenHash::of("secret"));
    let twice = two.replace("uid = 1\n", &token);
    refused(&format!("{twice}{token}"), 5, "have the same token");
    let many = (0..=GRANTS_MAX).map(|n| format!("[[grants]]\nname = \"g{n}\"\nuid = {n}\n"));
    let many = many.collect::<Vec<_>>().concat();
    refused(&many, GRANTS_MAX * 3 + 1, "1024 is the most");
}
