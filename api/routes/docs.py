"""`/docs`: the API to read and try, by Swagger UI, whose files come from here and not from a host of others."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from domain.errors import NotFound

router = APIRouter(include_in_schema=False)
_FILES = Path(str(files("fastapi_offline"))) / "static"
_SCRIPT, _STYLE, _ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
_KEPT = {"Cache-Control": "public, max-age=86400"}


@router.get("/docs")
def get_docs(request: Request) -> HTMLResponse:
    """The page."""
    root = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{root}/docs/{_SCRIPT}",
        swagger_css_url=f"{root}/docs/{_STYLE}",
        swagger_favicon_url=f"{root}/docs/{_ICON}",
    )


@router.get("/docs/{name}")
def get_docs_file(name: str) -> FileResponse:
    """What the page is made of."""
    if name not in {_SCRIPT, _STYLE, _ICON}:
        raise NotFound("The page has no such file.")
    return FileResponse(_FILES / name, headers=_KEPT)
