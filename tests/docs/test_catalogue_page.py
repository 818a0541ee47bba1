from __future__ import annotations

from tests.catalogue_page import PAGE, expected_page


def test_the_catalogues_page_is_that_of_its_rows() -> None:
    assert PAGE.read_text(encoding="utf-8") == expected_page(), (
        "run: python -m tests.catalogue_page"
    )
