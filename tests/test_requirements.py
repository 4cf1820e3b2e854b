"""The requirement registry: what the loader refuses, and what the registry must hold."""

import re
from collections import Counter
from pathlib import Path

import pytest

from protocol import requirements
from protocol.channels import CHANNELS
from protocol.messages import REGISTRY
from protocol.requirements import FAMILIES, RequirementError, get, load, load_from, parse

GOOD = {
    "slug": '"wire.delimiter-present"',
    "level": '"MUST"',
    "basis": '"documented"',
    "text": '"One frame separates the identities from the message."',
    "source": '["a public document, section Frames"]',
    "roles": '["hub"]',
    "dialects": '["documented"]',
    "vantage": '"peer"',
    "observed": '"send a message without it"',
}


def text(**changes: str | None) -> str:
    """A good requirement as TOML, with keys replaced, added, or (None) left out."""
    keys = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return "[[requirement]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def test_a_good_requirement_is_read_with_its_defaults() -> None:
    (found,) = parse(text(), "wire")
    assert found.slug == "wire.delimiter-present"
    assert found.family == "wire"
    assert (found.messages, found.channels, found.revision, found.unobservable) == ((), (), 1, None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"slug": '"wire.Delimiter"'}, "kebab-case"),
        ({"slug": '"wire.delimiter_present"'}, "kebab-case"),
        ({"slug": '"wire"'}, "kebab-case"),
        ({"slug": '"query.delimiter-present"'}, "does not begin with 'wire'"),
        ({"slug": "7"}, r"Expected `str`, got `int` - at `\$\.slug`"),
        ({"slug": None}, "slug"),
        ({"level": '"SHALL"'}, "SHALL"),
        ({"basis": '"believed"'}, "believed"),
        ({"vantage": '"outside"'}, "outside"),
        ({"roles": '["boss"]'}, "boss"),
        ({"roles": "[]"}, "roles is empty"),
        ({"roles": '["hub", "hub"]'}, "roles names something twice"),
        ({"dialects": '["klingon"]'}, "klingon"),
        ({"dialects": None}, "dialects"),
        ({"source": "[]"}, "source is empty"),
        ({"text": '"  "'}, "text is empty"),
        ({"observed": None}, "exactly one of observed and unobservable"),
        ({"unobservable": '"nobody looks"'}, "exactly one of observed and unobservable"),
        ({"level": '"MAY"', "observed": None, "unobservable": '"needs two hosts"'}, "vantage is 'none'"),
        ({"vantage": '"none"'}, "vantage is 'none'"),
        ({"observed": None, "unobservable": '"needs two hosts"', "vantage": '"none"'}, "a MUST has to be observable"),
        ({"revision": "0"}, "revisions count from 1"),
        ({"sauce": '"tomato"'}, "sauce"),
    ],
)
def test_a_mistake_in_one_key_is_refused_by_name(changes: dict[str, str | None], complaint: str) -> None:
    with pytest.raises(RequirementError, match=complaint):
        parse(text(**changes), "wire")


def test_an_error_names_family_and_slug() -> None:
    with pytest.raises(RequirementError, match=r"^wire: wire\.delimiter-present: "):
        parse(text(level='"SHALL"'), "wire")


def test_a_slug_used_twice_is_refused() -> None:
    with pytest.raises(RequirementError, match="used twice"):
        parse(text() + text(), "wire")


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(RequirementError, match=r"unknown family 'cooking'.*wire, connection"):
        parse(text(slug='"cooking.salt"'), "cooking")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("[[requirement", "not TOML"),
        ("[[requirements]]\n", "unknown key 'requirements'"),
        ("requirement = 3\n", "array of tables"),
        ("requirement = [3]\n", "requirement 1"),
    ],
)
def test_a_file_of_another_shape_is_refused(document: str, complaint: str) -> None:
    with pytest.raises(RequirementError, match=complaint):
        parse(document, "wire")


def test_a_file_of_no_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wire.toml").write_text(text())
    (tmp_path / "cooking.toml").write_text("")
    with pytest.raises(RequirementError, match=r"cooking\.toml is no family's file"):
        load_from(tmp_path)


def test_files_are_read_in_the_order_of_the_families(tmp_path: Path) -> None:
    (tmp_path / "heart_device.toml").write_text(text(slug='"heart-device.echo"'))
    (tmp_path / "wire.toml").write_text(text())
    assert list(load_from(tmp_path)) == ["wire.delimiter-present", "heart-device.echo"]


def test_an_unknown_slug_comes_with_the_nearest() -> None:
    with pytest.raises(KeyError, match=r"did you mean .*wire\.delimiter-present"):
        get("wire.delimiter-presents")
    with pytest.raises(KeyError) as caught:
        get("zzzz")
    assert "did you mean" not in str(caught.value)


def test_get_gives_what_load_holds() -> None:
    assert get("wire.delimiter-present") is load()["wire.delimiter-present"]


def test_there_are_well_over_150_requirements_and_every_family_has_some() -> None:
    counts = Counter(requirement.family for requirement in load().values())
    assert list(counts) == list(FAMILIES)
    assert sum(counts.values()) > 230
    assert min(counts.values()) >= 10


def test_each_level_basis_and_dialect_is_in_use() -> None:
    registry = load().values()
    assert {each.level for each in registry} == {"MUST", "SHOULD", "MAY"}
    assert {each.basis for each in registry} == {"documented", "measured", "derived"}
    assert {name for each in registry for name in each.dialects} == {"ipython-0.1x", "documented", "ipyparallel-9"}


def test_requirements_point_at_channels_and_messages_that_exist() -> None:
    channels = {channel.name for channel in CHANNELS}
    messages = {name for row in REGISTRY for name in (row.name, *row.names.values())}
    for slug, requirement in load().items():
        assert set(requirement.channels) <= channels, slug
        assert set(requirement.messages) <= messages, slug


def test_a_derived_requirement_says_why_and_only_it() -> None:
    for slug, requirement in load().items():
        reasons = [source for source in requirement.source if source.startswith("derived: ")]
        assert bool(reasons) == (requirement.basis == "derived"), slug


def test_a_documented_requirement_has_a_document() -> None:
    document = re.compile(
        r"IPython |ipython-dev mail|jupyter_client (messaging|kernels)\.rst, section|ipyparallel messages\.md"
    )
    for slug, requirement in load().items():
        if requirement.basis == "documented":
            assert any(document.match(source) for source in requirement.source), slug


def test_a_measured_requirement_names_what_was_measured_or_read() -> None:
    evidence = re.compile(r"measured on (ipyparallel|ipykernel) [0-9.]+$|IPython 0\.1.* source|.* [0-9.]+ source$")
    for slug, requirement in load().items():
        if requirement.basis == "measured":
            assert any(evidence.match(source) for source in requirement.source), slug


def test_texts_are_sentences_that_differ() -> None:
    texts = Counter(requirement.text for requirement in load().values())
    assert max(texts.values()) == 1
    assert all(sentence.endswith(".") and len(sentence) > 20 for sentence in texts)


def test_the_package_offers_what_it_says() -> None:
    assert all(hasattr(requirements, name) for name in requirements.__all__)
