"""What a run knows of its store: listed once, but for what the tables show, which is asked again after a group has planned."""

from __future__ import annotations

import time

from flows.known import Known
from storage.store import Store
from tests.tasks.stores import key, make, record, show


def test_artifacts_are_listed_once_a_run(any_root: str) -> None:
    store = Store(any_root)
    make(store, "track", "begun", is_closed=False)
    make(store, "track", "whole")
    known = Known(store)
    assert (known.begun("track"), known.closed("track")) == ({key("begun")}, {key("whole")})
    make(store, "track", "later")
    assert known.closed("track") == {key("whole")}
    assert Known(store).closed("track") == {key("whole"), key("later")}


def test_what_the_tables_show_is_never_older_than_what_is_asked_for(any_root: str) -> None:
    store = Store(any_root)
    show(store, "one", record(store, {}), "before")
    known = Known(store)
    planned = time.monotonic()
    assert known.published(planned).keys == {"one": "before"}
    show(store, "one", record(store, {}), "after")
    assert known.published(planned).keys == {"one": "before"}
    assert known.published(time.monotonic()).keys == {"one": "after"}
