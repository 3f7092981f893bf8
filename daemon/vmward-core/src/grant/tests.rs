use super::*;

const ALICE: Credentials<'static> = Credentials {
    uid: 1000,
    gids: &[1000, 27],
    unit: Some("agent@7.service"),
};
const NOBODY: Credentials<'static> = Credentials {
    uid: 65534,
    gids: &[65534],
    unit: None,
};

fn grant(name: &str) -> Grant {
    Grant {
        name: name.to_owned(),
        uid: None,
        gid: None,
        unit: None,
        token: None,
        approvals_max: None,
    }
}

fn for_uid(name: &str, uid: u32) -> Grant {
    Grant {
        uid: Some(uid),
        ..grant(name)
    }
}

fn for_token(name: &str, token: &str) -> Grant {
    Grant {
        token: Some(TokenHash::of(token)),
        ..grant(name)
    }
}

fn grants(list: Vec<Grant>) -> Grants {
    Grants::new(list).expect("good grants")
}

fn named(grant: &str) -> Claim<'_> {
    Claim {
        grant: Some(grant),
        token: None,
    }
}

fn with_token(token: &str) -> Claim<'_> {
    Claim {
        grant: None,
        token: Some(token),
    }
}

#[test]
fn without_grants_a_caller_is_charged_to_its_user() {
    let none = Grants::default();
    assert_eq!(none.choose(&ALICE, &Claim::default()).unwrap(), "uid:1000");
    assert_eq!(none.choose(&ALICE, &named("uid:1000")).unwrap(), "uid:1000");
    let error = none.choose(&ALICE, &named("uid:0")).unwrap_err();
    assert!(error.to_string().contains("not yours"), "{error}");
}

#[test]
fn the_first_entry_that_fits_counts_unless_the_caller_names_another_that_fits() {
    let all = grants(vec![
        for_uid("bob", 1001),
        for_token("ci", "secret"),
        Grant {
            gid: Some(27),
            ..grant("admins")
        },
        for_uid("alice", 1000),
    ]);
    assert_eq!(all.choose(&ALICE, &Claim::default()).unwrap(), "admins");
    assert_eq!(all.choose(&ALICE, &named("alice")).unwrap(), "alice");
    for other in ["bob", "ci", "nobody", "uid:1000", "uid:0", ""] {
        let error = all.choose(&ALICE, &named(other)).unwrap_err();
        assert!(matches!(error, GrantError::NotYours { .. }), "{other}");
    }
    assert_eq!(all.choose(&NOBODY, &Claim::default()).unwrap(), "uid:65534");
}

#[test]
fn every_credential_of_an_entry_must_hold() {
    let all = grants(vec![Grant {
        uid: Some(1000),
        gid: Some(27),
        unit: Some("agent@*.service".to_owned()),
        token: Some(TokenHash::of("secret")),
        ..grant("agent")
    }]);
    assert_eq!(all.choose(&ALICE, &with_token("secret")).unwrap(), "agent");
    for (who, why) in [
        (Credentials { uid: 1001, ..ALICE }, "another user"),
        (
            Credentials {
                gids: &[1000],
                ..ALICE
            },
            "not in the group",
        ),
        (
            Credentials {
                unit: Some("agent.service"),
                ..ALICE
            },
            "another unit",
        ),
        (
            Credentials {
                unit: None,
                ..ALICE
            },
            "no unit",
        ),
    ] {
        let refused = all.choose(&who, &with_token("secret"));
        assert_eq!(refused, Err(GrantError::TokenRefused), "{why}");
    }
    let without = all.choose(&ALICE, &Claim::default()).unwrap();
    assert_eq!(without, "uid:1000", "the token is missing");
    assert!(all.choose(&ALICE, &named("agent")).is_err());
}

#[test]
fn a_token_is_for_whoever_presents_it_and_for_nothing_else() {
    let all = grants(vec![
        for_uid("nobody", 65534),
        for_token("ci", "secret"),
        for_token("cd", "other"),
    ]);
    assert_eq!(all.choose(&NOBODY, &with_token("secret")).unwrap(), "ci");
    let both = |grant| Claim {
        grant: Some(grant),
        token: Some("secret"),
    };
    assert_eq!(all.choose(&NOBODY, &both("ci")).unwrap(), "ci");
    for other in ["cd", "nobody"] {
        let error = all.choose(&NOBODY, &both(other)).unwrap_err();
        assert!(matches!(error, GrantError::NotYours { .. }), "{other}");
    }
    for wrong in [
        "",
        "secre",
        "secret ",
        "Secret",
        TokenHash::of("secret").to_string().as_str(),
    ] {
        let error = all.choose(&NOBODY, &with_token(wrong)).unwrap_err();
        assert_eq!(error, GrantError::TokenRefused, "{wrong:?}");
    }
}

#[test]
fn no_message_shows_a_token() {
    let all = grants(vec![for_token("ci", "secret")]);
    let wrong = all
        .choose(&NOBODY, &with_token("guessed-token"))
        .unwrap_err();
    let claim = format!("{:?}", with_token("guessed-token"));
    assert!(!format!("{wrong} {wrong:?} {claim}").contains("guessed"));
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    for name in ["", "uid:0", "a b", "ü", &"x".repeat(65)] {
        let error = Grants::new(vec![for_uid(name, 0)]).unwrap_err();
        assert_eq!(error, GrantError::Name(name.to_owned()));
    }
    check_name(&"x".repeat(64)).expect("the longest name");
    assert_eq!(
        Grants::new(vec![grant("open")]).unwrap_err(),
        GrantError::ForEverybody("open".to_owned())
    );
    assert_eq!(
        Grants::new(vec![for_uid("a", 1), for_uid("a", 2)]).unwrap_err(),
        GrantError::SameName("a".to_owned())
    );
    assert_eq!(
        Grants::new(vec![for_token("a", "t"), for_token("b", "t")]).unwrap_err(),
        GrantError::SameToken("a".to_owned(), "b".to_owned())
    );
}

#[test]
fn a_hash_is_read_as_it_is_written() {
    let hash = TokenHash::of(&token(&[7; TOKEN_BYTES]));
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
    for wrong in [
        "",
        "ab",
        "vmwt_00",
        &"g".repeat(64),
        &"+1".repeat(32),
        &"é".repeat(32),
    ] {
        assert_eq!(wrong.parse::<TokenHash>(), Err(GrantError::Hash), "{wrong}");
    }
}
