"""Who may do what, for all roles and organisations: nobody has more than was granted, nor gives it."""

from itertools import product
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from observatory import Grant
from observatory.access import RIGHTS, ROLES, Caller, Right, beyond, operator, scopes
from observatory.records import Role

ORGANISATIONS = (1, 2, 3)
PLACES = (None, *ORGANISATIONS)
GRANTS = st.builds(Grant, st.sampled_from(get_args(Role)), st.sampled_from(PLACES))
SOME = st.lists(GRANTS, max_size=6)
WHERE = st.sampled_from(PLACES)
RIGHT = st.sampled_from(RIGHTS)


def caller(grants: list[Grant], right: Right = "read") -> Caller:
    return Caller("ann", 1, scopes(grants), right)


def held(grants: list[Grant]) -> set[tuple[Right, int | None]]:
    """Returns what may be done where, each pair for itself; None is everywhere."""
    who = caller(grants)
    return {(right, where) for right, where in product(RIGHTS, PLACES) if who.may(right, where)}


def test_the_rights_of_each_role_are_these() -> None:
    # Written out once more, so that none comes to have another right by chance.
    read, change = {"read"}, {"read", "record"}
    assert {
        "reader": read,
        "writer": change,
        "maintainer": change | {"maintain"},
        "auditor": read | {"audit"},
        "admin": change | {"maintain", "audit", "administer"},
        "address:read": {"address:read"},
        "address:write": {"address:write"},
    } == ROLES
    assert set(ROLES) == set(get_args(Role))


def test_each_role_holds_where_it_is_granted_and_nowhere_else() -> None:
    for role, granted, right, asked in product(get_args(Role), PLACES, RIGHTS, PLACES):
        who = caller([Grant(role, granted)])
        expected = right in ROLES[role] and granted in (None, asked)
        assert who.may(right, asked) == expected, (role, granted, right, asked)


def test_without_grants_nothing_may_be_done() -> None:
    who = caller([])

    assert held([]) == set()
    assert not any(who.sees(place) for place in PLACES)
    assert who.within("read") == frozenset()


def test_addresses_are_no_part_of_any_role() -> None:
    roles = [Grant(role) for role in get_args(Role) if not role.startswith("address:")]

    assert not any(right.startswith("address:") for right, _ in held(roles))


@given(SOME, SOME)
def test_grants_add_up_to_what_each_gives(some: list[Grant], more: list[Grant]) -> None:
    assert held(some + more) == held(some) | held(more)


@given(SOME, st.data())
def test_nobody_gains_by_a_narrower_grant(grants: list[Grant], data: st.DataObject) -> None:
    """Neither by one organisation in the place of all, nor by one grant less."""
    if not grants:
        return
    place = data.draw(st.integers(0, len(grants) - 1))
    narrower = Grant(grants[place].role, grants[place].organisation_id or data.draw(WHERE))

    assert held([*grants[:place], narrower, *grants[place + 1 :]]) <= held(grants)
    assert held([*grants[:place], *grants[place + 1 :]]) <= held(grants)


@given(SOME, SOME, RIGHT)
def test_nobody_gives_what_they_lack(own: list[Grant], given: list[Grant], right: Right) -> None:
    who = caller(own, right)
    passed = [grant for grant in given if grant not in beyond(who, given)]

    assert held(passed) <= held(own)
    assert all(who.may("administer", grant.organisation_id) for grant in passed)


@given(SOME, SOME)
def test_an_administrator_gives_all_that_they_have_there(own: list[Grant], given: list[Grant]) -> None:
    # The other way round: what cannot be given is lacked, or is where the caller is no administrator.
    who = caller(own, "administer")
    for grant in beyond(who, given):
        where = grant.organisation_id
        lacks = not all(who.may(right, where) for right in ROLES[grant.role])
        assert lacks or not who.may("administer", where)


@given(SOME, SOME)
def test_what_one_gives_can_be_given_on_by_them_only(own: list[Grant], given: list[Grant]) -> None:
    """Through no chain of accounts does anybody come to more than the first one had."""
    first = caller(own, "administer")
    second = [grant for grant in given if not beyond(first, [grant])]
    third = [grant for grant in given if not beyond(caller(second, "administer"), [grant])]

    assert held(third) <= held(second) <= held(own)


@given(SOME, st.lists(RIGHT, min_size=1, max_size=3))
def test_lists_are_of_where_all_the_rights_hold(grants: list[Grant], rights: list[Right]) -> None:
    who = caller(grants)
    within = who.within(*rights)

    for place in ORGANISATIONS:
        listed = within is None or place in within
        assert listed == all(who.may(right, place) for right in rights)
    assert (within is None) == all(who.may(right, None) for right in rights)


@given(SOME)
def test_what_belongs_to_nobody_is_read_by_whoever_reads_anything(grants: list[Grant]) -> None:
    who = caller(grants)

    assert who.sees(None) == any(who.may("read", place) for place in PLACES)
    # But changed by those only whose right holds everywhere.
    changing = caller(grants, "maintain")
    assert changing.acts(None) == any(
        grant.organisation_id is None and "maintain" in ROLES[grant.role] for grant in grants
    )


def test_whoever_works_on_the_database_may_do_everything() -> None:
    assert all(operator().may(right, place) for right, place in product(RIGHTS, PLACES))
    assert beyond(operator(), [Grant(role, place) for role, place in product(get_args(Role), PLACES)]) == []
