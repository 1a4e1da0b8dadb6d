"""The search page: typing, hits, reasons, pages, collections, and the order of answers."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from page_notes import RELATED
from page_server import PageServer
from page_visits import Visits, focused, ids, parameters, until, wait_for_hits, wait_for_search

pytestmark = pytest.mark.browser


def test_results_come_while_typing(visit: Visits, server: PageServer) -> None:
    page = visit("?c=cranfield")
    page.get_by_role("heading", name="Search 1,400 documents").wait_for()
    assert focused(page) == "query"
    page.keyboard.type("hypersonic", delay=20)
    wait_for_search(page, server, "cranfield", "hypersonic")
    assert page.locator(".hit").first.locator(".snippet mark").first.inner_text().lower() == "hypersonic"
    page.keyboard.type(" heat transfer", delay=20)
    wait_for_search(page, server, "cranfield", "hypersonic heat transfer")
    assert parameters(page) == {"c": "cranfield", "q": "hypersonic heat transfer"}
    scores = [float(text.split()[-1]) for text in page.locator(".hit .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.get_by_role("status").get_by_text(re.compile(r"^First 10 of \d[\d,]* results")).wait_for(state="attached")


def test_results_are_those_of_the_service(visit: Visits, server: PageServer) -> None:
    query = "structural and aeroelastic problems of high speed aircraft"
    page = visit(f"?c=cranfield&q={quote(query)}")
    answer = server.post("v1/collections/cranfield/search", {"query": query, "k": 10, "explain": True})
    assert wait_for_hits(page, 10) == [hit["id"] for hit in answer["hits"]]
    for place in (0, 9):
        hit, told = page.locator(".hit").nth(place), answer["hits"][place]
        assert hit.locator(".snippet").inner_text() == told["snippet"]["text"]
        points = told["snippet"]["text"]
        assert hit.locator(".snippet mark").all_inner_texts() == [points[a:b] for a, b in told["snippet"]["marks"]]
        hit.get_by_role("button", name="Why it matched").click()
        terms = hit.locator(".terms tbody tr .term").all_inner_texts()
        assert terms == [part["term"] for part in told["contributions"]]
        widths = hit.locator(".terms .bar").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
        given = [part["score"] for part in told["contributions"]]
        assert widths == pytest.approx([100 * score / given[0] for score in given], abs=0.51)


def test_a_query_that_is_cut_says_so(visit: Visits) -> None:
    page = visit(f"?c=notes&q={quote('heat ' * 300)}")
    wait_for_hits(page)
    status = page.locator("#status")
    assert "for the beginning of the query, which is longer than the model reads" in status.inner_text()
    page.get_by_role("searchbox").fill("heat")
    status.get_by_text("results in").or_(status.get_by_text("result in")).wait_for()
    assert "beginning" not in status.inner_text()


def test_an_emoji_before_a_mark_does_not_shift_it(visit: Visits) -> None:
    page = visit("?c=notes")
    pieces = page.evaluate(
        """async () => {
          const { marked } = await import(new URL('page/dom.js', document.baseURI));
          return marked('🐕‍🦺 a hound', [[6, 11]]).map(piece => piece.textContent ?? piece);
        }"""
    )
    text = "🐕‍🦺 a hound"
    assert pieces == [text[:6], text[6:11]]


def test_expansion_terms_are_told_apart_from_typed_words(visit: Visits) -> None:
    page = visit("?c=notes&q=doctor")
    wait_for_hits(page)
    hit = page.locator(".hit[data-id=heart]")
    hit.get_by_role("button", name="Why it matched").click()
    rows = hit.locator(".terms tbody tr")
    kinds = dict(
        zip(
            rows.locator(".term").all_inner_texts(),
            rows.evaluate_all("rows => rows.map(r => r.className)"),
            strict=True,
        )
    )
    assert kinds["doctor"] == "typed"
    assert kinds["physician"] == kinds["patient"] == "added"
    assert {term for term, kind in kinds.items() if kind == "added"} <= set(RELATED["doctor"])
    assert hit.locator(".legend").inner_text().split("\n")[-1] == "added by the model (expansion)"
    typed, added = rows.filter(has_text="doctor").first, rows.filter(has_text="physician").first
    assert typed.locator("th").inner_text().strip() != ""
    assert "(expansion of the query)" in added.locator("th").evaluate("cell => cell.textContent")
    look = """sign => {
      const { backgroundColor, backgroundImage, borderRadius, transform } = getComputedStyle(sign);
      return [backgroundColor + backgroundImage, borderRadius + transform];
    }"""
    colours_and_shapes = [row.locator(".sign").evaluate(look) for row in (typed, added)]
    assert colours_and_shapes[0][0] != colours_and_shapes[1][0], "colours differ"
    assert colours_and_shapes[0][1] != colours_and_shapes[1][1], "shapes differ, for those who see no colours"


def test_a_lexical_collection_needs_no_legend(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat")
    wait_for_hits(page)
    page.get_by_role("button", name="Explain all").click()
    assert page.locator(".hit .terms").count() == len(ids(page))
    assert page.locator(".legend").count() == 0


def test_more_results_follow_without_repeating(visit: Visits, server: PageServer) -> None:
    page = visit("?c=cranfield&q=boundary+layer")
    wait_for_hits(page, 10)
    page.get_by_role("button", name="Show more").click()
    shown = wait_for_hits(page, 20)
    answer = server.post("v1/collections/cranfield/search", {"query": "boundary layer", "k": 20})
    assert shown == [hit["id"] for hit in answer["hits"]]
    assert focused(page) == page.locator(".hit h2").nth(10).inner_text().strip()
    assert parameters(page)["n"] == "20"
    again = visit(urlsplit(page.url).path.lstrip("/") + "?" + urlsplit(page.url).query)
    assert wait_for_hits(again, 20) == shown


def test_the_last_page_says_so(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat")
    found = wait_for_hits(page)
    assert len(found) < 10
    assert page.locator("#status").inner_text().startswith(f"{len(found)} results in ")
    assert not page.get_by_role("button", name="Show more").is_visible()


def test_nothing_found_says_what_to_do(visit: Visits) -> None:
    page = visit("?c=attacked&q=zzzz&filter=lang+%3D+%22en%22")
    page.get_by_role("heading", name="No document matches").wait_for()
    page.locator("#query").fill("zzzz heat")
    wait_for_hits(page)
    page.locator("#query").fill("القهوة")
    page.get_by_role("button", name="Search without the filter").click()
    assert wait_for_hits(page, 1) == ["ar-coffee"]
    page.locator("#query").fill("hypersonic vehicles buckling")
    page.get_by_role("button", name="Search in cranfield").or_(page.locator(".hit").first).first.wait_for()


def test_collections_switch(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat")
    wait_for_hits(page)
    assert page.locator("#collection option").all_inner_texts() == ["attacked", "cranfield", "notes"]
    page.locator("#collection").select_option("cranfield")
    wait_for_hits(page, 10)
    assert parameters(page) == {"c": "cranfield", "q": "heat"}
    assert not page.get_by_role("complementary", name="Filters").is_visible(), "its documents have no metadata"
    page.goto(page.url.split("?")[0])
    page.locator("#collection").wait_for()
    assert page.locator("#collection").input_value() == "cranfield", "the next visit begins where the last one was"


def test_modes_are_only_offered_where_there_is_a_choice(visit: Visits) -> None:
    page = visit("?c=notes&q=heat")
    wait_for_hits(page)
    assert not page.locator("#modes").is_visible()


def test_a_mode_is_chosen_where_there_are_several(visit: Visits, server: PageServer) -> None:
    """No collection has two kinds of index yet: the list is given a second name for the mode that there is."""
    page = visit()

    def widened(route: Any) -> None:
        answer = route.fetch()
        told = answer.json()
        for collection in told["collections"]:
            collection["modes"] = ["auto", "lexical"]
        route.fulfill(response=answer, json=told)

    page.route("**/v1/collections", widened)
    page.goto(f"{server.base}/?c=attacked&q=heat")
    found = wait_for_search(page, server, "attacked", "heat")
    assert page.get_by_role("radio", name="auto").is_checked()
    with page.expect_request("**/search") as asked:
        page.get_by_role("radio", name="auto").press("ArrowRight")
    assert asked.value.post_data_json["mode"] == "lexical"
    assert wait_for_search(page, server, "attacked", "heat") == found
    assert parameters(page)["mode"] == "lexical"


def test_an_unknown_collection_offers_the_others(visit: Visits) -> None:
    page = visit("?c=gone&q=heat")
    page.get_by_role("heading", name="No such collection").wait_for()
    page.get_by_role("button", name="Open notes").click()
    wait_for_hits(page)


def test_an_older_answer_never_replaces_a_newer_one(visit: Visits, server: PageServer) -> None:
    """Requests cannot be aborted here, so the older answer does arrive, after the newer one."""
    page = visit("?c=cranfield", scripts=("AbortController.prototype.abort = () => {}",))
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.post_data_json["query"] == "wing":
            held.append(route)
        else:
            route.continue_()

    page.route("**/search", hold)
    page.locator("#query").fill("wing")
    until(page, "query => location.search.includes(query)", "q=wing")
    page.locator("#query").fill("buckling of shells")
    newer = wait_for_search(page, server, "cranfield", "buckling of shells")
    assert len(held) == 1
    with page.expect_response(lambda response: response.request == held[0].request):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert ids(page) == newer
    assert page.locator("#query").input_value() == "buckling of shells"


def test_a_request_that_nobody_waits_for_is_aborted(visit: Visits, server: PageServer) -> None:
    visit.expected.append("net::ERR_ABORTED")
    page = visit("?c=cranfield")
    held: list[Any] = []
    given_up: list[str] = []

    def hold(route: Any) -> None:
        if route.request.post_data_json["query"] == "wing":
            held.append(route)
        else:
            route.continue_()

    page.on("requestfailed", lambda request: given_up.append(request.post_data_json["query"]))
    page.route("**/search", hold)
    page.locator("#query").fill("wing")
    while not held:
        page.wait_for_timeout(20)
    page.locator("#query").fill("buckling of shells")
    wait_for_search(page, server, "cranfield", "buckling of shells")
    assert given_up == ["wing"]


def test_what_is_typed_in_one_go_is_asked_once(visit: Visits, server: PageServer) -> None:
    page = visit("?c=cranfield")
    page.get_by_role("heading", name="Search 1,400 documents").wait_for()
    asked: list[str] = []

    def note(request: Any) -> None:
        if request.url.endswith("/search"):
            asked.append(request.post_data_json["query"])

    page.on("request", note)
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # from here on the page's time stands still
    page.keyboard.type("shock wave")
    page.wait_for_timeout(100)
    assert asked == []
    page.clock.run_for(100)
    wait_for_search(page, server, "cranfield", "shock wave")
    assert asked == ["shock wave"]


def test_the_last_word_is_completed_and_a_misspelt_one_put_right(visit: Visits, server: PageServer) -> None:
    page = visit("?c=cranfield")
    page.get_by_role("heading", name="Search 1,400 documents").wait_for()
    page.keyboard.type("heat trans")
    completions = page.get_by_label("Completions").get_by_role("button")
    completions.get_by_text("heat transfer", exact=True).wait_for()
    told = page.evaluate("fetch('v1/collections/cranfield/suggest?q=heat+trans').then((answer) => answer.json())")
    assert completions.all_inner_texts() == told["completions"][:5]
    page.keyboard.press("ArrowRight")
    wait_for_search(page, server, "cranfield", "heat transfer")
    assert page.locator("#query").input_value() == "heat transfer"
    assert focused(page) == "query"
    page.locator("#query").fill("hypersnic flow ")
    page.get_by_role("button", name="hypersonic flow").click()
    until(page, "() => new URL(location).searchParams.get('q') === 'hypersonic flow '")
    page.locator("#meant").wait_for(state="hidden")
    assert not page.locator("#completions").is_visible()
