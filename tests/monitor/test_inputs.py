from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import polars as pl
from PIL import Image

from andon.core.record import Field
from andon.monitor.inputs import measured, measured_names

PHOTO, NOTE, AGE = Field("photo", "image"), Field("note", "text"), Field("age", "int")


def png(grey: int) -> bytes:
    out = BytesIO()
    Image.new("L", (4, 2), grey).save(out, "PNG")
    return out.getvalue()


def test_images_are_measured_as_bytes_or_base64() -> None:
    frame = pl.DataFrame({"photo": [b64encode(png(255)).decode(), b64encode(png(0)).decode(), None, "broken"]})
    found = measured(frame, [PHOTO, AGE])
    assert found["brightness"].to_list() == found["photo_brightness"].to_list() == [1.0, 0.0, None, None]
    assert found["width"].to_list() == [4.0, 4.0, None, None]
    raw = measured(pl.DataFrame({"photo": [png(255), b"nothing"]}), [PHOTO])
    assert raw["brightness"].to_list() == [1.0, None]


def test_only_what_is_wanted_is_measured() -> None:
    frame = pl.DataFrame({"photo": [png(255)], "note": ["abc"]})
    assert measured(frame, [PHOTO, NOTE], frozenset({"length"})).columns == ["photo", "note", "length"]
    assert measured(frame, [PHOTO, NOTE], frozenset()).columns == frame.columns
    assert measured(frame.drop("photo"), [PHOTO, NOTE]).columns == ["note", "note_length", "length"]


def test_two_texts_have_only_their_full_names() -> None:
    fields = [NOTE, Field("title", "text")]
    assert measured_names(fields) == ["note_length", "title_length"]
    found = measured(pl.DataFrame({"note": ["é", "ab"], "title": [None, ""]}), fields)
    assert found["note_length"].to_list() == [1, 2] and found["title_length"].to_list() == [None, 0]


def test_an_input_of_that_name_is_left_alone() -> None:
    fields = [NOTE, Field("length", "float")]
    assert measured_names(fields) == ["note_length"]
    assert measured(pl.DataFrame({"note": ["ab"], "length": [9.0]}), fields)["length"].to_list() == [9.0]


def test_no_rows_are_measured_too() -> None:
    frame = pl.DataFrame(schema={"photo": pl.String, "note": pl.String})
    assert measured(frame, [PHOTO, NOTE]).height == 0
