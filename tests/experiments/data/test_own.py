"""Texts of the user's own: every form gives the same arrays, and every mistake one line."""

import json
import re

import numpy as np
import own_texts
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_texts import directory, examples, lines, parts, table, write

from experiments.config.cli import UserError
from experiments.config.imdb import Text
from experiments.data.own import load_own
from experiments.data.own_files import read
from experiments.data.shuffling import split_test

ROWS = parts(examples())


def loaded(path, seed=0, said=None, **changes):
    text = Text(data=str(path), vocabulary=50, **changes)
    return load_own(text, seed, (said if said is not None else []).append)


def forms(path):
    """The same texts in every form."""
    # A directory's texts come by class; the others have the same order here.
    rows = sorted(ROWS, key=lambda row: row[1])
    bom = "\ufeff" + table(rows, ";").replace("\r\n", "\n")
    shuffled = [("label", "split", "id", "TEXT "), *((b, c, 7, a) for a, b, c in rows)]
    return {
        "csv": write(path / "a.csv", table(rows)),
        "columns": write(path / "b.CSV", table(shuffled[1:], names=shuffled[0])),
        "semicolons": write(path / "c.csv", bom),
        "tsv": write(path / "d.tsv", table(rows, "\t")),
        "lines": write(path / "e.jsonl", lines(rows)),
        "crlf": write(path / "f.ndjson", lines(rows).replace("\n", "\r\n\r\n")),
        "directory": directory(path / "g", rows),
    }


def test_every_form_gives_the_same_arrays(tmp_path):
    said, found = [], {}
    for name, path in forms(tmp_path).items():
        found[name] = loaded(path, said=said)
    first = found.pop("csv")
    assert first.dataset == "a.csv"
    assert first.classes == ("cooking", "politics", "sports")
    assert (len(first.train.labels), len(first.test.labels)) == (90, 30)
    assert np.bincount(first.train.labels).tolist() == [30, 30, 30]
    # The first text, by hand: what the vocabulary numbers are its words in their order.
    text = next(text for text, label, part in sorted(ROWS, key=lambda r: r[1]) if part == "train")
    words = re.findall(r"\w+", text.lower())
    assert first.vocabulary.decode(first.train.example(0)).split() == ["<start>", *words]
    for name, data in found.items():
        for part, expected in zip(data[1:3], first[1:3], strict=True):
            for array, other in zip(part, expected, strict=True):
                np.testing.assert_array_equal(array, other, err_msg=name)
        assert data[3:5] == first[3:5], name
    assert found["directory"].dataset == "g/"
    assert said[0] == (
        f"{tmp_path}/a.csv: 90 texts to train on (cooking 30, politics 30, sports 30) and 30 to "
        "test on"
    )


def test_a_test_file_is_as_good_as_a_column(tmp_path):
    one = loaded(write(tmp_path / "all.csv", table(ROWS)))
    train, test = ([row[:2] for row in ROWS if row[2] == part] for part in ("train", "test"))
    write(tmp_path / "train.tsv", table(train, "\t", ("text", "label")))
    tests = write(tmp_path / "test.csv", table(test, names=("text", "label")))
    two = loaded(tmp_path / "train.tsv", test_data=str(tests))
    for part in (1, 2):
        for array, other in zip(one[part], two[part], strict=True):
            np.testing.assert_array_equal(array, other)
    assert one.digests.keys() == {"source"}
    assert two.digests.keys() == {"source", "test source"}


def test_the_seed_divides_each_class_alike(tmp_path):
    path = write(tmp_path / "a.csv", table([row[:2] for row in ROWS], names=("text", "label")))
    for seed in (0, 1):
        data = loaded(path, seed)
        assert np.bincount(data.test.labels).tolist() == [8, 8, 8]
        assert np.bincount(data.train.labels).tolist() == [32, 32, 32]
        again = loaded(path, seed)
        np.testing.assert_array_equal(data.test.tokens, again.test.tokens)
    assert loaded(path, 0).test.tokens.tolist() != loaded(path, 1).test.tokens.tolist()
    assert np.bincount(loaded(path, test_fraction=0.5).test.labels).tolist() == [20, 20, 20]


def test_a_rare_class_is_trained_on():
    labels = np.array([0] * 10 + [1] + [2] * 2)
    train, test = split_test(labels, 0.4, 0)
    assert sorted([*train, *test]) == list(range(13))
    assert np.bincount(labels[test], minlength=3).tolist() == [4, 0, 1]
    for seed in range(20):
        train, test = split_test(labels, 0.99, seed)
        assert np.bincount(labels[train]).tolist() == [1, 1, 1]


def test_names_are_classes_by_name(tmp_path):
    rows = [("one", "b"), ("two", "a"), ("three", "10"), ("four", "b"), ("five", "9")]
    data = loaded(
        write(tmp_path / "a.csv", table([(*row, "train") for row in rows] + [("six", "a", "test")]))
    )
    assert data.classes == ("10", "9", "a", "b")
    assert data.train.labels.tolist() == [3, 2, 0, 3, 1]


def test_numbers_are_classes_in_their_order(tmp_path):
    rows = [(f"text {n}", n) for n in (10, 9, 10, 9, 1, 1)]
    path = write(tmp_path / "a.csv", table(rows, names=("text", "label")))
    assert loaded(path).classes == ("1", "9", "10")
    write(
        tmp_path / "a.jsonl", "".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows)
    )
    assert loaded(tmp_path / "a.jsonl").classes == ("1", "9", "10")


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [("10 -1 2", "-1 2 10"), ("10.0 1.5 2", "1.5 2 10.0"), ("10 2 b", "10 2 b")],
)
def test_any_numbers_are_in_their_order(tmp_path, labels, ordered):
    rows = [(f"text {n}", label) for label in labels.split() for n in range(5)]
    data = loaded(write(tmp_path / "n.csv", table(rows, names=("text", "label"))))
    assert data.classes == tuple(ordered.split())


def test_tabs_are_found_whatever_the_file_is_called(tmp_path):
    first, second = (
        loaded(write(tmp_path / name, table(ROWS, "\t"))) for name in ("a.tsv", "a.csv")
    )
    np.testing.assert_array_equal(first.train.tokens, second.train.tokens)


def test_what_makes_a_result_doubtful_is_said(tmp_path):
    rows = [
        ("a ball", "sport", "train"), ("a ball", "Sport", "train"), ("soup", "food", "train"),
        ("?!", "food", "train"), ("a ball", "sport", "test"), ("soup", "food", "test"),
        ("bread", "food", "test"),
    ]  # fmt: skip
    said: list[str] = []
    file = write(tmp_path / "t.csv", table(rows))
    loaded(file, said=said)
    assert said[1:] == [
        "2 of the 3 texts to test on are trained on, too: the test accuracy is too good",
        "1 text is to train on with more than one label: 'a ball'",
        f"1 text is without a word: {file}, row 5",
        "there is no text to test on of 'Sport'",
        "the labels 'sport' and 'Sport' differ in their capitals alone",
    ]


def test_texts_without_fault_are_not_doubted(tmp_path):
    said: list[str] = []
    rows = [(f"text {n}", label, part) for n, label in enumerate("abab") for part in ("train",)]
    rows += [("other", "a", "test"), ("another", "b", "test")]
    loaded(write(tmp_path / "t.csv", table(rows)), said=said)
    assert len(said) == 1


def test_what_lies_beside_both_parts_is_named(tmp_path):
    place = directory(tmp_path / "g", ROWS)
    (place / "unsup").mkdir()
    with pytest.raises(UserError, match="has train and test, and unsup beside them; move that"):
        loaded(place)


def test_the_words_are_those_of_the_training_part(tmp_path):
    rows = [("good", "a", "train"), ("bad", "b", "train"), ("unheard good", "a", "test")]
    data = loaded(write(tmp_path / "a.csv", table(rows)))
    assert data.vocabulary.words == ("bad", "good")
    assert data.test.tokens.tolist() == [1, 2, 4]


def test_a_long_text_and_blank_lines_are_no_mistakes(tmp_path):
    long = "word " * 40_000  # more than csv takes without being asked to
    path = write(tmp_path / "a.csv", f"text,label\n\n{long},a\n\nshort,b\nx,a\ny,b\n")
    assert [len(row.text) for row in read(path)] == [200_000, 5, 1, 1]


GOOD = "text,label\none,a\ntwo,b\nthree,a\nfour,b\n"

MISTAKES = {
    "no label column": (
        "x.csv", "text,class\none,a\n",
        "x.csv, row 1: there is no column 'label' among 'text, class'; name the columns",
    ),
    "no text column": ("x.tsv", "body\tlabel\none\ta\n", "row 1: there is no column 'text' among"),
    "two text columns": ("x.csv", "text,text,label\n", "row 1: there is more than one column"),
    "empty file": ("x.csv", "", "x.csv has no texts; give at least two"),
    "only names": ("x.csv", "text,label\n", "x.csv has no texts; give at least two"),
    "empty text": ("x.csv", GOOD + ",b\n", "x.csv, row 6: the text is empty; fill it in"),
    "blank text": ("x.csv", GOOD + '"\n  ",b\n', "x.csv, row 6: the text is empty"),
    "empty label": ("x.csv", GOOD + "five,\n", "x.csv, row 6: the label is empty"),
    "single class": ("x.csv", "text,label\none,a\ntwo,a\n", "x.csv has a single label, 'a'; two"),
    "label in the test part only": (
        "x.csv", "text,label,split\none,a,train\ntwo,b,train\nthree,c,test\n",
        "x.csv, row 4: the label 'c' occurs in the test part only",
    ),
    "nothing to train on": ("x.csv", "text,label,split\none,a,test\n", "no text to train on"),
    "another part": (
        "x.csv", "text,label,split\none,a,dev\n", "x.csv, row 2: the split is 'dev'; give train or",
    ),
    "one of each": ("x.csv", "text,label\none,a\ntwo,b\n", "one text of each label and none is"),
    "a field too many": ("x.csv", GOOD + "five, six,b\n", "row 6: there are 3 fields, and 2 colu"),
    "an open quotation mark": ("x.csv", GOOD + '"five,b\n', "row 6: its quotation marks are not"),
    "a quotation mark inside": ("x.tsv", 'text\tlabel\n"a" b\tc\n', "row 2: its quotation marks"),
    "Latin-1": ("x.csv", (GOOD + "schön,b\n").encode("latin-1"), "row 6: this is not UTF-8"),
    "Latin-1 after a break": (
        "x.csv", ('text,label\n"a\nb",c\nschön,b\n').encode("latin-1"), "row 3: this is not UTF-8",
    ),
    "UTF-16": ("x.csv", GOOD.encode("utf-16"), "x.csv, row 1: this is not UTF-8; save the file"),
    "Latin-1 in JSON": (
        "x.jsonl", '{"text": "a", "label": 1}\n{"text": "ö", "label": 2}\n'.encode("latin-1"),
        "x.jsonl, row 2: this is not UTF-8",
    ),
    "broken JSON": ("x.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "x.jsonl, row 2: this is"),
    "deep JSON": ("x.jsonl", "[" * 100_000, "x.jsonl, row 1: this is no JSON"),
    "a JSON array": ("x.jsonl", '[{"text": "a"}]\n', "row 1: this is no object with text and lab"),
    "no label in JSON": ("x.jsonl", '{"text": "a"}\n', "x.jsonl, row 1: there is no 'label' among"),
    "a number for a text": ("x.jsonl", '{"text": 3, "label": 1}\n', "row 1: the text is 3 and"),
    "a fraction for a label": ("x.jsonl", '{"text": "a", "label": 1.5}\n', "the label is 1.5;"),
    "an escaped half": ("x.jsonl", '{"text": "\\ud800", "label": 1}\n', "row 1: this is not UTF-8"),
    "a text for a label": ("x.csv", f"label,text\na,b\n{'t' * 101},a\n", "row 3: the label has 1"),
    "a label that rings": ("x.csv", GOOD + "five,b\x07\n", "row 6: the label 'b\\x07' cannot be p"),
    "exchanged columns": (
        "x.csv", "label,text\n" + "".join(f"t{n},a\n" for n in range(1500)), "are the columns te",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_the_row(tmp_path, name):
    file, content, message = MISTAKES[name]
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["x.csv", "x.tsv", "x.jsonl"]), st.binary(max_size=60), st.booleans())
def test_any_bytes_are_texts_or_one_line(tmp_path_factory, file, content, with_names):
    path = tmp_path_factory.getbasetemp() / file
    path.write_bytes((b"text,label\n" if with_names else b"") + content)
    rows, said = [], ""
    try:
        rows = read(path)
    except UserError as mistake:
        said = str(mistake)
    assert all(row.text.strip() and row.label for row in rows)
    assert bool(rows) != said.startswith(f"{path}"), "texts, or a line that names the file"
    assert "\n" not in said


def test_a_label_is_one_line(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\none," a\n  b "\ntwo,b\n')
    assert [row.label for row in read(path)] == ["a b", "b"]


def test_a_directory_names_the_file(tmp_path):
    def message(path):
        with pytest.raises(UserError) as caught:
            loaded(path)
        return str(caught.value)

    assert "does not exist; give a file or a directory" in message(tmp_path / "none")
    assert "has no subdirectory; give one of .txt files for each" in message(tmp_path)
    path = directory(tmp_path / "x", ROWS)
    bad = next((path / "train" / "sports").iterdir())
    bad.write_bytes("schön".encode("latin-1"))
    assert message(path) == f"{bad}: this is not UTF-8; save the file in UTF-8"
    bad.write_text("")
    assert message(path).startswith(f"{bad}: the text is empty")
    bad.write_text("goal")
    (path / "train" / "none").mkdir()
    assert "none holds no .txt file; put texts in it, or delete it" in message(path)


def test_two_parts_to_test_on_are_one_too_many(tmp_path):
    path = write(tmp_path / "a.csv", table(ROWS))
    other = write(tmp_path / "b.csv", table([row[:2] for row in ROWS], names=("text", "label")))
    with pytest.raises(
        UserError, match=r"--test-data is given, and .*a.csv, row 5 is to be tested"
    ):
        loaded(path, test_data=str(other))
    with pytest.raises(UserError, match=r"--test-data: .*a.csv, row 2 is to be trained on"):
        loaded(other, test_data=str(path))
    with pytest.raises(UserError, match=r"--test-fraction is given, and .* row 5 is to be tested"):
        loaded(path, test_fraction=0.1)


def test_the_digest_is_that_of_the_file(tmp_path):
    import hashlib

    path = write(tmp_path / "a.csv", table(ROWS))
    assert loaded(path).digests == {"source": hashlib.sha256(path.read_bytes()).hexdigest()}
    one = loaded(own_texts.directory(tmp_path / "d", ROWS)).digests["source"]
    file = next((tmp_path / "d" / "train" / "sports").iterdir())
    file.rename(file.with_name("other.txt"))
    assert loaded(tmp_path / "d").digests["source"] != one
