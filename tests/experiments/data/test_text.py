"""Words, ids, the file they are kept in, and corpora, against a plain loop over counters."""

import stat
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config.cli import UserError
from experiments.data.text import FIRST_WORD, PADDING, START, UNKNOWN, Vocabulary, index, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good.<br /><br />Bad", ["good", "bad"]),
        ("one<BR/>two<br>three", ["one", "two", "three"]),
        ("I don't like this movie's 'end'!", ["i", "don't", "like", "this", "movie's", "end"]),
        ("I don\u2019t, don\u00b4t, don`t, don\x92t", ["i", *["don't"] * 4]),
        ("the actors' rock'n'roll '90s", ["the", "actors", "rock'n'roll", "90s"]),
        ("a well-made film: 7/10, U.S.", ["a", "well", "made", "film", "7", "10", "u", "s"]),
        ("_really_ *bad*...BAD", ["really", "bad", "bad"]),
        ("Cliché NAÏVE", ["cliché", "naïve"]),
        ("nice\tline\nbreaks\u00a0here", ["nice", "line", "breaks", "here"]),
        ("don''t", ["don", "t"]),
        ("brisk", ["brisk"]),
        ("?! ''", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_composed_and_decomposed_letters_are_the_same_word() -> None:
    assert words(unicodedata.normalize("NFD", "cliché")) == words("cliché") == ["cliché"]
    # Only the small letter has a composed form: j with caron.
    assert words("J\u030ca") == words("\u01f0a") == ["\u01f0a"]


@given(st.text() | st.text("aB'\u2019<br/> .İßΣ\u0301\u0307"))
def test_words_of_words_are_the_words(text: str) -> None:
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(word and not any(letter.isspace() for letter in word) for word in found)


def test_ids_are_those_of_keras() -> None:
    vocabulary = Vocabulary(("the", "film", "bad"))
    assert (PADDING, START, UNKNOWN, FIRST_WORD) == (0, 1, 2, 3)
    assert vocabulary.size == 6
    ids = vocabulary.encode("The bad, BAD sequel")
    np.testing.assert_array_equal(ids, [1, 3, 5, 5, 2])
    assert ids.dtype == np.int32
    assert vocabulary.decode([*ids, 0, 0]) == "<start> the bad bad <unknown>"


def test_a_text_without_words_is_a_start() -> None:
    assert Vocabulary(("the",)).encode("...").tolist() == [START]
    assert Vocabulary(()).encode("the").tolist() == [START, UNKNOWN]


@given(st.lists(st.sampled_from(["a", "bad", "don't", "film", "7"])))
def test_decode_inverts_encode_on_known_words(known: list[str]) -> None:
    vocabulary = Vocabulary(("film", "a", "don't", "7", "bad"))
    text = " ".join(known)
    decoded = vocabulary.decode(vocabulary.encode(text))
    assert decoded.removeprefix("<start>").strip() == text


@given(st.lists(st.integers(FIRST_WORD, 7)))
def test_encode_inverts_decode(ids: list[int]) -> None:
    vocabulary = Vocabulary(("film", "a", "don't", "7", "bad"))
    assert vocabulary.encode(vocabulary.decode(ids)).tolist() == [START, *ids]


@pytest.mark.parametrize("outside", [-1, 5])
def test_decode_names_an_id_outside(outside: int) -> None:
    with pytest.raises(ValueError, match=f"id is {outside}; the vocabulary has the ids 0 to 4"):
        Vocabulary(("a", "b")).decode([outside])


def test_first_counts_the_special_ids() -> None:
    vocabulary = Vocabulary(tuple("abcde"))
    assert vocabulary.first(5).words == ("a", "b")
    assert vocabulary.first(5).size == 5
    assert vocabulary.first(100) == vocabulary
    with pytest.raises(ValueError, match="vocabulary is 3; give at least 4"):
        vocabulary.first(3)


def test_save_and_load(tmp_path) -> None:
    path = tmp_path / "vocabulary.txt"
    for vocabulary in (Vocabulary(("the", "don't", "cliché")), Vocabulary(())):
        vocabulary.save(path)
        assert Vocabulary.load(path) == vocabulary
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-5],
        lambda text: text[: text.index(b"film")],
        lambda text: text.replace(b"film", b"fimm"),
        lambda text: text + b"more\n",
        lambda text: text + b"more",
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"film\nbad", b"bad\nfilm"),
        lambda text: b"",
        lambda text: b"\xff\xfe" + text,
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, damage) -> None:
    path = tmp_path / "vocabulary.txt"
    Vocabulary(("the", "film", "bad")).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"vocabulary\.txt is damaged") as caught:
        Vocabulary.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_directory_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match=r"vocabulary\.txt cannot be read"):
        Vocabulary.load(tmp_path / "vocabulary.txt")
    with pytest.raises(UserError, match="cannot be read"):
        Vocabulary.load(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        Vocabulary(()).save(tmp_path / "none" / "vocabulary.txt")


texts = st.lists(st.text("abcd' .", max_size=12), max_size=8)


@given(texts, texts, st.integers(FIRST_WORD + 1, 9))
def test_index_is_a_plain_loop(train: list[str], test: list[str], size: int) -> None:
    labels = [i % 2 for i in range(max(len(train), len(test)))]
    got_train, got_test, vocabulary = index(
        (train, labels[: len(train)]), (test, labels[: len(test)])
    )
    counts = Counter(word for text in train for word in words(text))
    assert vocabulary.words == tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    for corpus, split in ((got_train, train), (got_test, test)):
        assert [field.dtype for field in corpus] == [np.int32, np.int64, np.int32]
        assert corpus.labels.tolist() == labels[: len(split)]
        for numbers in (vocabulary, vocabulary.first(size)):
            limited = corpus.limit(numbers.size)
            assert limited.tokens.dtype == np.int32
            for i, text in enumerate(split):
                np.testing.assert_array_equal(limited.example(i), numbers.encode(text))
        assert corpus.lengths.tolist() == [1 + len(words(text)) for text in split]


def test_words_are_counted_in_training_only() -> None:
    train, test, vocabulary = index((["a b b"], [0]), (["c c c a b", ""], [1, 0]))
    assert vocabulary == Vocabulary(("b", "a"))
    assert train.tokens.tolist() == [START, 4, 3, 3]
    assert test.tokens.tolist() == [START, UNKNOWN, UNKNOWN, UNKNOWN, 4, 3, START]
    assert test.offsets.tolist() == [0, 6, 7]


def test_labels_are_counted() -> None:
    with pytest.raises(ValueError, match="there are 1 texts and 2 labels"):
        index((["a"], [0, 1]), (["a"], [0]))
