"""The search page: texts in other scripts, texts that attack, documents, and addresses that can be shared."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from page_notes import ATTACK, ATTACKS, NOTES
from page_server import PageServer
from page_visits import Visits, ids, parameters, until, wait_for_hits

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("query", "identifier", "word", "direction"), [
    ("الحرارة", "ar-heat", "الحرارة", "rtl"),
    ("القهوة", "ar-coffee", "القهوة", "rtl"),
    ("辐射", "zh-heat", "辐射", "ltr"),
    ("绿茶", "zh-tea", "绿茶", "ltr"),
])  # fmt: skip
def test_arabic_and_chinese(visit: Visits, query: str, identifier: str, word: str, direction: str) -> None:
    page = visit("?c=attacked")
    page.locator("#query").fill(query)
    assert wait_for_hits(page)[0] == identifier
    hit = page.locator(".hit").first
    assert word in "".join(hit.locator("mark").all_inner_texts())
    for part in (hit.locator("h2"), hit.locator(".snippet"), page.locator("#query")):
        assert part.evaluate("element => getComputedStyle(element).direction") == direction
    hit.get_by_role("link").click()
    text = page.get_by_role("dialog").locator(".text")
    text.wait_for()
    assert text.inner_text() == next(note["text"] for note in NOTES if note["_id"] == identifier)
    assert text.evaluate("element => getComputedStyle(element).direction") == direction
    assert parameters(page)["q"] == query


def test_composing_a_character_does_not_search_for_its_parts(visit: Visits) -> None:
    page = visit("?c=attacked")
    asked: list[str] = []
    page.on(
        "request", lambda request: request.url.endswith("/search") and asked.append(request.post_data_json["query"])
    )
    session = page.context.new_cdp_session(page)
    for part in ("c", "ch", "cha"):
        session.send("Input.imeSetComposition", {"text": part, "selectionStart": len(part), "selectionEnd": len(part)})
        page.wait_for_timeout(120)  # longer than the pause after which it asks
    session.send("Input.insertText", {"text": "绿茶"})
    assert wait_for_hits(page)[0] == "zh-tea"
    assert asked == ["绿茶"]


def test_markup_in_documents_is_text(visit: Visits) -> None:
    attack = ATTACKS[0]
    page = visit("?c=attacked&q=attack")
    assert wait_for_hits(page) == [attack["_id"]]
    hit = page.locator(".hit").first
    assert hit.locator("h2").inner_text() == attack["title"]
    assert ATTACK in hit.locator(".snippet").inner_text()
    assert attack["note"] in hit.locator(".facts").inner_text()
    page.locator("#facets").get_by_text(ATTACK).wait_for()
    page.get_by_role("checkbox", name=ATTACK).check()
    assert page.locator("#filter").input_value() == f'topic = "{ATTACK}"'
    wait_for_hits(page, 1)
    hit.get_by_role("button", name="Why it matched").click()
    hit.get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(attack["text"]).wait_for()
    assert dialog.locator(".metadata dt").filter(has_text='odd "name" <i>').count() == 1
    assert parameters(page)["doc"] == attack["_id"]
    page.reload()
    dialog.get_by_text(attack["text"]).wait_for()
    assert page.locator("body script, main img, main svg, dialog img, dialog svg, i, b").count() == 0
    page.keyboard.press("Escape")
    page.locator("#query").fill(ATTACK)
    page.locator(".hit, .notice.empty").first.wait_for()
    assert page.locator("body script").count() == 0


def test_scripts_cannot_be_smuggled_in(visits: Callable[[str], Visits], server: PageServer) -> None:
    visit = visits(server.base)
    visit.expected += ["CSP", "Content Security Policy", "TrustedHTML", "TrustedScript", "leak.png"]
    page = visit("?c=notes")
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          try {
            script.textContent = 'globalThis.smuggled = 1';
            document.body.append(script);
          } catch { /* trusted types */ }
          const image = document.createElement('img');
          image.src = 'https://example.org/leak.png';
          document.body.append(image);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("globalThis.smuggled") is None
    parse = "() => { try { document.body.innerHTML = '<b>x</b>'; } catch (error) { return error.name; } }"
    assert page.evaluate(parse) == "TypeError"

    assert any(text.startswith("CSP img-src") for text in visit.troubles)
    assert any(text.startswith("CSP require-trusted-types-for") for text in visit.troubles)


def test_a_search_can_be_shared(visit: Visits) -> None:
    page = visit("?c=attacked")
    page.locator("#query").fill("heat")
    wait_for_hits(page)
    page.get_by_role("checkbox", name="physics").check()
    until(page, "location.search.includes('filter')")
    until(page, "[...document.querySelectorAll('.facts')].every(facts => facts.textContent.includes('physics'))")
    shown = ids(page)
    page.locator(".hit a").first.click()
    page.get_by_role("dialog").locator(".text").wait_for()
    other = visit("?" + urlsplit(page.url).query)
    other.get_by_role("dialog").locator(".text").wait_for()
    assert wait_for_hits(other) == shown
    other.get_by_role("dialog").locator(".terms").wait_for()
    assert other.get_by_role("dialog").locator(".text mark").count() > 0, "the text came before the hits did, or after"
    assert other.locator("#query").input_value() == "heat"
    assert other.get_by_role("checkbox", name="physics", include_hidden=True).is_checked()
    assert (
        other.get_by_role("dialog").get_by_role("heading", level=2).inner_text()
        == page.locator(".hit h2").first.inner_text()
    )
    other.keyboard.press("Escape")
    until(other, "!location.search.includes('doc=')")


def test_back_closes_the_document(visit: Visits) -> None:
    page = visit("?c=notes&q=heat")
    shown = wait_for_hits(page)
    page.locator(".hit a").nth(2).click()
    page.get_by_role("dialog").locator(".text").wait_for()
    page.go_back()
    page.get_by_role("dialog").wait_for(state="hidden")
    assert ids(page) == shown
    page.go_forward()
    page.get_by_role("dialog").locator(".text").wait_for()
    page.get_by_role("button", name="Close").click()
    until(page, "!location.search.includes('doc=')")
    assert ids(page) == shown


def test_a_document_that_is_gone_says_so(visit: Visits) -> None:
    visit.expected.append("404")
    page = visit("?c=notes&q=heat&doc=gone")
    page.get_by_role("dialog").get_by_role("alert").wait_for()
    page.keyboard.press("Escape")
    wait_for_hits(page)
