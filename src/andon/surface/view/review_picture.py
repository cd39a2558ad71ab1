"""A case's picture, made to fit a screen; what no browser shows is shown as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.errors import NotFound
from andon.surface.page import Content, Raw
from andon.surface.view.data_image import recorded, thumbnail

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["RAW", "PictureParams", "picture"]

_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


class PictureParams(msgspec.Struct, frozen=True):
    """Which input of which case, and the side of the square that it must fit, in pixels."""

    id: Annotated[str, msgspec.Meta(max_length=256)]
    input: Annotated[str, msgspec.Meta(max_length=256)]
    size: Annotated[int, msgspec.Meta(ge=16, le=4000)] = 1200


def picture(visit: Visit, params: PictureParams) -> Content:
    """The picture. Raises ``NotFound``, and ``ContractError`` where the value is no image that decodes."""
    from andon.data.image import open_image

    workspace = visit.project.workspace
    item = workspace.items.get(params.id)
    value = item.x.get(params.input) if item is not None else None
    if not isinstance(value, str):
        raise NotFound(f"case {params.id!r} has no picture called {params.input!r}")
    data = recorded(workspace.blobs, value)
    image = open_image(data)
    if image.format in _SHOWN and max(image.size) <= params.size:
        return Content(data, _SHOWN[image.format])
    return Content(thumbnail(image, params.size), "image/png")


RAW = Raw("review.picture", "/review/picture", picture, PictureParams, may="review")
