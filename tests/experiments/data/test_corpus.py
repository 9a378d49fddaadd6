"""Numbering the words of two splits, against a plain loop over counters."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.data.text import FIRST_WORD, START, UNKNOWN, Vocabulary, index, words

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
        assert [corpus.tokens.dtype, corpus.offsets.dtype, corpus.labels.dtype] == [
            np.int32,
            np.int64,
            np.int32,
        ]
        assert corpus.labels.tolist() == labels[: len(split)]
        for words_of in (vocabulary, vocabulary.first(size)):
            limited = corpus.limit(words_of.size)
            assert limited.tokens.dtype == np.int32
            for i, text in enumerate(split):
                np.testing.assert_array_equal(limited.example(i), words_of.encode(text))
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
