use super::*;

#[test]
fn two_people_are_told_apart_by_their_logins_where_both_have_one() {
    let person = |uid, loginuid| Person { uid, loginuid };
    for (one, other, differ) in [
        (person(0, Some(1000)), person(1000, Some(1000)), false),
        (person(0, Some(1000)), person(0, Some(1001)), true),
        (person(0, None), person(0, Some(1001)), false),
        (person(0, None), person(7, None), true),
        // Asked by a service of user 1000 without a login, answered with sudo.
        (person(1000, None), person(0, Some(1000)), false),
        (person(1000, None), person(0, Some(1001)), true),
    ] {
        assert_eq!(one.differs_from(&other), differ, "{one:?} {other:?}");
        assert_eq!(other.differs_from(&one), differ, "{other:?} {one:?}");
    }
}

#[test]
fn an_error_says_what_to_do() {
    let id = DecisionId(3);
    let own = ApprovalError::OwnRequest { id, uid: 1000 };
    assert_eq!(
        own.to_string(),
        "request 3 comes from user 1000, and it is not certain that you are somebody else; it \
         takes another person, logged in under another account"
    );
    let state = ApprovalState::Used;
    let late = ApprovalError::NotPending { id, state };
    assert_eq!(
        late.to_string(),
        "request 3 is used already; a request is decided once"
    );
}
