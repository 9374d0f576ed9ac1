"""The page's own files: complete, consistent, and silent towards everything but their server."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from pages import Page

from colipri_core.remote.web.page_files import page_files

CONTENT = {name: data.decode() for name, data in page_files(b"").items()}
SCRIPTS = [name for name in CONTENT if name.endswith(".js") and name != "niivue.js"]


def test_every_file_is_there_and_says_what_it_is():
    folder = files("colipri_core.remote.web") / "page"
    assert {item.name for item in folder.iterdir()} == set(CONTENT) - {"niivue.js"}
    for name in SCRIPTS:
        assert CONTENT[name].startswith("// "), name


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_lead_to_files_of_the_page(name: str):
    imported = re.findall(r'from "\./([^"]+)"', CONTENT[name])
    assert set(imported) <= set(CONTENT)


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_nothing_elsewhere_is_named(name: str):
    assert not re.search(r"https?://|//cdn|@import", CONTENT[name])
    assert not re.search(r"innerHTML|document\.write|\beval\(|localStorage", CONTENT[name])


def test_elements_that_scripts_ask_for_exist():
    ids = re.findall(r'\bid="([^"]+)"', CONTENT["index.html"])
    assert len(ids) == len(set(ids))
    asked = {found for name in SCRIPTS for found in re.findall(r'byId\("([^"]+)"\)', CONTENT[name])}
    assert asked
    assert asked <= set(ids)


def test_every_control_has_a_name():
    html = CONTENT["index.html"]
    labelled = set(re.findall(r'<label for="([^"]+)"', html)) | set(re.findall(r'<label[^>]*\bfor="([^"]+)"', html))
    for tag in re.findall(r"<(?:input|select|canvas|progress)\b[^>]*>", html):
        known = re.search(r'\bid="([^"]+)"', tag)
        inside = re.search(r"<label[^>]*>" + re.escape(tag), html)
        assert "aria-label" in tag or inside or (known and known.group(1) in labelled), tag


def test_what_must_stay_in_sight_stands_in_the_footer():
    footer = CONTENT["index.html"].partition("<footer>")[2].partition("</footer>")[0]
    assert "Research use only, not for diagnosis" in footer
    assert 'id="model"' in footer
    assert "DRAFT" in CONTENT["index.html"]


def test_the_policy_lets_nothing_foreign_in(page: Page):
    answer = page.get("/web/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'self'"
    assert policy.pop("img-src") == "'self' data:"
    assert set(policy.values()) == {"'none'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    assert page.get("/").headers["location"] == "/web/"


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_each_file_is_served_with_its_type_and_the_policy(page: Page, name: str):
    answer = page.get(f"/web/{name}")
    assert answer.status_code == 200
    assert "content-security-policy" in answer.headers
    kind = {"html": "text/html", "js": "text/javascript", "css": "text/css"}[name.rpartition(".")[2]]
    assert answer.headers["content-type"].startswith(kind)
    plain = page.get(f"/web/{name}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content


def test_other_files_are_not_served(page: Page):
    for path in ("/web/routes.py", "/web/../routes.py", "/web/%2e%2e/routes.py", "/web/page/app.js"):
        assert page.get(path).status_code == 404, path
